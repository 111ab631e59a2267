"Any number of modalities: eq. (7) for two, its form for more, and samples that lack one."
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

from irm_nb import models, world
from irm_nb.batches import Batches, channel_slices, channel_stats, channels
from irm_nb.clouds import CloudSpec
from irm_nb.core import Compute, OptionError, PairError
from irm_nb.irm import REGULATIONS, SOURCE, Opinions, RegulatedLoss, discrepancy_ratio, regulate
from irm_nb.models import Backbone
from irm_nb.scenes import Modality, PairedScenes, Scenes, SceneSet, join
from irm_nb.store import Store
from irm_nb.tasks import Task
from irm_nb.train import Batch, TrainConfig
from irm_nb.transfer import Config, Predictor, cached_logits, has, irm_transfer

CPU = Compute('cpu', 'float32')

def few(f): return settings(max_examples=30, deadline=None, derandomize=True, database=None)(f)

# The ratio

def eq_7(s_opt, s_sar, level, normalize):
    "As printed, for two modalities: version 0.1, line by line"
    o,s = (s_opt.sum(), s_sar.sum()) if level == 'batch' else (s_opt, s_sar)
    rho = s/o,o/s
    return tuple(2*r/(rho[0] + rho[1]) for r in rho) if normalize else rho

def drawn(seed, *shape): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))

def contributions(seed, names, n, k=10): # in [1/K,1]
    return {m:drawn(seed + i, n, k).mul(3).softmax(-1).amax(-1) for i,m in enumerate(names)}

seeds = st.integers(0, 2**30)
levels = st.sampled_from(['batch','sample'])

@few
@given(seeds, st.integers(1, 200), levels, st.booleans())
def test_two_modalities_are_eq_7_bit_for_bit(seed, n, level, normalize):
    s = contributions(seed, ('opt','sar'), n)
    rho = discrepancy_ratio(s, level, normalize)
    assert list(rho) == ['opt','sar']
    for got,printed in zip(rho.values(), eq_7(*s.values(), level, normalize)): assert torch.equal(got, printed)

@few
@given(seeds, st.integers(1, 20), st.integers(3, 5), levels)
def test_more_modalities(seed, n, m, level):
    "Each against the mean of the others; alike they are all 1; the surer gets less; no order counts"
    s = contributions(seed, 'abcde'[:m], n)
    rho = discrepancy_ratio(s, level)
    total = {k:v.sum() if level == 'batch' else v for k,v in s.items()}
    for k in s:
        others = torch.stack([v for name,v in total.items() if name != k]).mean(0)
        torch.testing.assert_close(rho[k], others/total[k])
    back = discrepancy_ratio(dict(reversed(s.items())), level)
    for k in s: torch.testing.assert_close(back[k], rho[k])
    for r in discrepancy_ratio(dict.fromkeys(s, s['a']), level).values(): torch.testing.assert_close(r, torch.ones_like(r))
    order = sorted(s, key=lambda k: float(total[k].sum()))
    if level == 'batch': assert [float(rho[k]) for k in order] == sorted(map(float, rho.values()), reverse=True)
    normal = discrepancy_ratio(s, level, normalize=True)
    torch.testing.assert_close(sum(normal.values()), m*torch.ones_like(rho['a']))

def test_one_modality_is_held_back_against_nothing():
    for level in ('batch','sample'):
        rho, = discrepancy_ratio(contributions(0, ['opt'], 7), level).values()
        assert (rho == 1).all()

def taught(n=8, names=('opt','sar'), k=5):
    "Teachers' logits, the source network last, as a task has them"
    return {t:drawn(i, n, k).mul(2) for i,t in enumerate((*names, SOURCE))}

def whole_batch(loss, z): # (loss, logs) of all rows at once
    return loss.on('cpu')(z, Batch(torch.arange(len(z))))

def eq_8(z, y, weights):
    "As printed, for two modalities: version 0.1, line by line"
    logp = F.log_softmax(z.float(), dim=-1)
    ce_opt,ce_sar,ce_source = (-(y[t]*logp).sum(-1) for t in ('opt','sar',SOURCE))
    return (weights[0]*ce_opt + weights[1]*ce_sar + ce_source).mean()

@few
@given(seeds, st.sampled_from([('batch', False), ('batch', True), ('sample', False), ('sample', True), ('none', False)]))
def test_two_modalities_are_eq_8_bit_for_bit(seed, how):
    name,normalize = how
    teachers,z = taught(),drawn(seed, 8, 5)
    y = {t:v.softmax(-1) for t,v in teachers.items()}
    options = {} if name == 'none' else dict(normalize=normalize)
    loss,logs = whole_batch(RegulatedLoss(teachers, REGULATIONS[name], options), z)
    weights = (1., 1.) if name == 'none' else eq_7(*(y[m].amax(-1) for m in ('opt','sar')), name, normalize)
    assert torch.equal(loss, eq_8(z, y, weights))
    for m,w in zip(('opt','sar'), weights): assert torch.equal(logs[f'weight_{m}'], torch.as_tensor(w).mean())
    assert logs[f'weight_{SOURCE}'] == 1

def test_a_control_has_the_factor_and_no_mixing():
    teachers,z = taught(names=('opt','sar','dem')),drawn(9, 8, 5)
    loss,logs = whole_batch(RegulatedLoss(teachers, REGULATIONS['control']), z)
    plain,_ = whole_batch(RegulatedLoss(teachers), z)
    _,ours = whole_batch(RegulatedLoss(teachers, REGULATIONS['batch']), z)
    torch.testing.assert_close(loss, ours['loss_scale']*plain)
    torch.testing.assert_close(logs['loss_scale'], ours['loss_scale'])
    assert len({float(logs[f'weight_{t}']) for t in teachers}) == 1

# Samples that lack a modality

N = 12
LACKS = np.arange(N) % 3 != 1 # whether there are heights

@pytest.fixture(scope='module')
def three():
    "Optical, radar and heights at 16 pixels, heights of two in three samples"
    s = world.target(N, 2, height=True)
    def part(m): return replace(m, values=np.ascontiguousarray(m.values[:,:,::4,::4]))
    s = replace(s, modalities={k:part(m) for k,m in s.modalities.items()}, labels=np.arange(N) % 2, classes=('a','b'))
    return s.with_modality('dem', replace(s['dem'], present=LACKS))

def spoilt(s):
    "The same with other values where there is nothing"
    values = s.dem.copy()
    values[~LACKS] = 9000
    return replace(s, dem=values)

def test_has(three):
    assert has(three, three.names).tolist() == LACKS.tolist()
    assert has(three, ('dem',)).tolist() == LACKS.tolist()
    assert has(three, ('opt','sar')).all() and has(three, ()).all()
    radar = np.arange(N) > 3
    both = three.with_modality('sar', replace(three['sar'], present=radar))
    assert has(both, both.names).tolist() == (LACKS & radar).tolist()

def test_what_is_missing_follows_the_samples(three):
    part = three.subset([1,0,4])
    assert part['dem'].present.tolist() == [False,True,False]
    assert three.select('opt','dem')['dem'].present.tolist() == LACKS.tolist()
    whole = three.with_modality('dem', replace(three['dem'], present=None))
    again = join([whole, three], names=('x','y'))
    assert again['dem'].present.tolist() == [True]*N + LACKS.tolist()
    assert whole.fingerprint != three.fingerprint

def test_what_is_missing_is_on_disk(three, tmp_path):
    s = Scenes.load(three.save(tmp_path/'set')).verify()
    assert s['dem'].present.tolist() == LACKS.tolist() and s['opt'].present is None
    assert s.fingerprint == three.fingerprint

def test_what_is_missing_is_0_and_does_not_count(three):
    "Neither in the statistics nor in a batch, whatever the array holds there"
    stats = channel_stats(three)
    c = channel_slices(three.inputs)['dem']
    x = channels(three)[LACKS][:,c]
    np.testing.assert_allclose(stats['mean'][c], x.mean((0,2,3)), rtol=1e-4, atol=1e-4)
    other = spoilt(three)
    assert channel_stats(other) == stats
    for s in (three, other):
        b = Batches(s, stats, CPU)(range(N))
        assert (b[~LACKS][:,c] == 0).all() and (b[LACKS][:,c] != 0).any()
    assert torch.equal(Batches(three, stats, CPU)(range(N)), Batches(other, stats, CPU)(range(N)))

class Small(nn.Module):
    def __init__(self, n, c=3):
        super().__init__()
        self.conv1 = nn.Conv2d(c, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, n)
    def forward(self, x): return self.fc(self.bn(self.conv1(x)).relu().mean((2,3)))

@pytest.fixture
def small():
    entry = Backbone(Small, top=('fc',))
    with mock.patch.dict(models.BACKBONES, resnet50=entry, googlenet=entry): yield

def answering(s):
    m = models.new_model('googlenet', 2, 9, 'test')
    return Predictor('googlenet', s.inputs, s.classes, channel_stats(s), m.state_dict(), [], s.size)

def test_a_predictor_refuses_or_answers_by_the_rest(small, three, tmp_path):
    p,store = answering(three),Store(tmp_path)
    with pytest.raises(PairError, match=f'dem: found 4 samples without it, the first {three.ids[1]!r}'): p.logits(three, CPU)
    with pytest.raises(PairError, match="dem: found a set of opt, sar"): p.logits(three.select('opt','sar'), CPU)
    z = p.logits(three, CPU, missing='rest')
    assert torch.equal(z[LACKS], p.logits(three.subset(LACKS), CPU))
    assert torch.equal(z, p.logits(spoilt(three), CPU, missing='rest'))
    assert torch.equal(z, cached_logits(p, three, store, CPU, missing='rest'))
    none = p.logits(three.select('opt','sar'), CPU, missing='rest')
    torch.testing.assert_close(none[~LACKS], z[~LACKS])
    order = replace(three, modalities=dict(reversed(three.modalities.items())))
    assert torch.equal(p.logits(order, CPU, missing='rest'), z) # in the network's order, not the set's
    with pytest.raises(OptionError): p.logits(three, CPU, missing='zeros')

def test_a_teacher_says_nothing_of_what_it_can_not_see():
    "Where a modality is missing, the loss is that of the other teachers, whatever its network answered"
    teachers,z = taught(names=('opt','sar','dem')),drawn(5, 8, 5)
    there = np.arange(8) % 2 == 0
    rest = {t:v for t,v in teachers.items() if t != 'dem'}
    def loss(t, rows=slice(None), **present):
        return whole_batch(RegulatedLoss({k:v[rows] for k,v in t.items()}, present=present), z[rows])[0]
    lacking = loss(teachers, dem=there)
    torch.testing.assert_close(lacking, (loss(teachers, there) + loss(rest, ~there))/2)
    other = {t:torch.where(torch.tensor(there)[:,None] | (t != 'dem'), v, -v) for t,v in teachers.items()}
    assert torch.equal(loss(other, dem=there), lacking)
    seen = Opinions(teachers, torch.full((8,), -1), present={'dem':torch.tensor(there)})
    y = {t:v.softmax(-1) for t,v in teachers.items()}
    _,logs = regulate(z, seen, y, REGULATIONS['none'], {})
    assert logs['weight_dem'] == 0.5 and logs['weight_opt'] == 1

ONE = TrainConfig(epochs=1, batch=6)
TINY = Config(pretrain=ONE, head=ONE, adapt=ONE, auxiliary=ONE, target=ONE, tau=0., monitor_every=1)

def of_task(s):
    source = SceneSet(s.opt, np.arange(N) % 3, ('x','y','z'), [f'source {i}' for i in range(N)])
    other = replace(s, ids=[f'test {i}' for i in range(N)])
    return Task(source, s.with_clouds(CloudSpec()), other, [0,1,2,3])

@pytest.mark.parametrize('names', [('opt','sar'), ('opt',), ('opt','sar','dem')])
def test_the_whole_method_on_any_modalities(names, small, three, tmp_path):
    "An auxiliary and a weight for each; samples that lack one take part by the others"
    t = of_task(three.select(*names))
    p = irm_transfer(t, TINY, Store(tmp_path), CPU)
    assert p.names == names
    wanted = {f'{what}_{m}' for m in names for what in ('weight','contribution','ce','kl')} | {'loss_scale',f'weight_{SOURCE}'}
    assert wanted <= set(p.history[0])
    missing = 'rest' if 'dem' in names else 'error'
    assert p.logits(t.test, CPU, missing).isfinite().all()
    if names == ('opt',): assert p.history[0]['weight_opt'] == 1

def test_an_auxiliary_learns_from_what_it_can_see(small, three, tmp_path):
    "Heights that are not there change nothing of any network"
    keys = []
    for i,s in enumerate((three, spoilt(three))):
        p = irm_transfer(of_task(s), TINY, Store(tmp_path/str(i)), CPU)
        keys.append({k:v.clone() for k,v in p.state.items()})
    assert all(torch.equal(keys[0][k], keys[1][k]) for k in keys[0])

def test_modalities_are_of_one_grid(three):
    with pytest.raises(PairError): three.with_modality('more', Modality(np.zeros((N,1,8,8), np.float32), ('h',), 'm', 'height'))
    with pytest.raises(PairError): three.with_modality('more', Modality(np.zeros((2,1,16,16), np.float32), ('h',), 'm', 'height'))
    with pytest.raises(PairError): replace(three, modalities={})
    with pytest.raises(OptionError): three.with_modality('labels', three['dem'])
    with pytest.raises(OptionError): three.select('thermal')
    pairs = PairedScenes(three.opt, three.sar, three.labels, three.classes, three.ids, groups=three.groups)
    assert pairs.fingerprint == three.select('opt','sar').fingerprint
