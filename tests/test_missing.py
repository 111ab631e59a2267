"What stands where a sample lacks a modality plays no part: in trainings, in weights, in votes, in figures."
from dataclasses import replace

import numpy as np, pytest, torch

import small_net # noqa: F401, it enters a network
from irm_nb import world
from irm_nb.batches import Batches, channel_stats
from irm_nb.clouds import CloudSpec
from irm_nb.core import *
from irm_nb.distill import soft_labels
from irm_nb.export import * # noqa: F403, it gives predictors their export
from irm_nb.figures import pictures
from irm_nb.inspect import choose, ensemble, sample_table
from irm_nb.irm import Opinions, REGULATIONS, RegulatedLoss, regulate, weigh
from irm_nb.methods import reliable
from irm_nb.methods.all import METHODS
from irm_nb.methods.fusion import late_fusion_start
from irm_nb.methods.reliable import opinion, pooled, rates_on_labels, voices
from irm_nb.methods.trust import trusted
from irm_nb.models import new_model
from irm_nb.scenes import SceneSet
from irm_nb.store import Store
from irm_nb.tasks import Task
from irm_nb.train import Batch, TrainConfig
from irm_nb.transfer import Config, Predictor, evaluate, opinions_of, teachers
from irm_nb.views import Views

CPU = Compute('cpu', 'float32')
ONE = TrainConfig(epochs=1, batch=8)
TINY = Config(pretrain=ONE, head=ONE, adapt=ONE, auxiliary=ONE, target=ONE, pairs=ONE, tau=0., monitor_every=1, visits=20, width=4,
              blocks=1, source_arch='small', auxiliary_arch='small', target_arch='small')
SOME = np.arange(24) % 2 == 0

def pairs(n=24, seed=0, **kw):
    s = world.target(n, seed, **kw)
    small = {k: replace(m, values=np.ascontiguousarray(m.values[:,:,::2,::2])) for k,m in s.modalities.items()}
    return replace(s, modalities=small, labels=np.arange(n) % 2, classes=('a','b'), report=None)

def source(bands=('R','G','B')):
    x = np.random.default_rng(0).integers(0, 255, (12,len(bands),32,32)).astype(np.uint8)
    return SceneSet(x, np.arange(12) % 3, tuple('xyz'), [f'src {i}' for i in range(12)], bands=bands)

def lacking(s, name, there=SOME): return s.with_modality(name, replace(s[name], present=np.asarray(there)))
def under(s): return s.with_clouds(CloudSpec())
def task(train, of=('R','G','B'), **kw): return Task(source(of), train, under(pairs(8, seed=1, **kw)), list(range(12)))
def numbers(p): return torch.cat([v.flatten().float() for v in p.state.values()])

@pytest.fixture(scope='module')
def store(tmp_path_factory): return Store(tmp_path_factory.mktemp('store'))

@pytest.mark.parametrize('row, name', [('Finetune (SAR only)','sar'), ('Finetune (Opt only)','opt'), ('f_S','opt'), ('KD-S','opt'),
                                       ('Pair encoders (SAR only)','sar')])
def test_labels_of_what_is_not_there(row, name, store):
    "A label of an image that a sample lacks teaches nothing"
    def trained(flip):
        y = under(pairs()).labels.copy()
        if flip: y[1] = 1 - y[1]
        return numbers(METHODS[row](task(replace(lacking(under(pairs()), name), labels=y)), TINY, store, CPU))
    assert torch.equal(trained(False), trained(True))

@pytest.mark.parametrize('row, name', [('TTL','sar'), ('DSAN','sar'), ('CycIT','sar'), ('SPL','opt'), ('Ours','opt'), ('Ours','sar')])
def test_pixels_of_what_is_not_there(row, name, store):
    "Other pixels where nothing was measured make the same network"
    def trained(spoilt):
        train = under(pairs())
        m = train[name]
        def other(v): return None if v is None else np.where(SOME[:,None,None,None], v, v[:,:,::-1]//2 if v.dtype.kind == 'u' else v - 3)
        if spoilt: m = replace(m, values=other(m.values), clear=other(m.clear))
        return numbers(METHODS[row](task(lacking(train.with_modality(name, m), name)), TINY, store, CPU))
    assert torch.equal(trained(False), trained(True))

def test_live_teachers_are_silent_too(store):
    "A teacher asked live says nothing of what a sample lacks"
    seen = {}
    class Spy(Store):
        def __call__(self, f, *a, **kw):
            if a and a[0] == 'F2-live': seen.update(present=a[4].present, cover=a[4].cover)
            return super().__call__(f, *a, **kw)
    METHODS['live teachers'](task(lacking(under(pairs()), 'sar')), TINY, Spy(store.path), CPU)
    assert np.array_equal(seen['present']['sar'], SOME)

def logits(*names, seed=0, k=5):
    g = torch.Generator().manual_seed(seed)
    return {n: 2*torch.randn(8, k, generator=g) for n in names}

def loss_under(name, said, present):
    seen = Opinions(said, torch.full((8,), -1), present=present)
    z = torch.randn(8, 5, generator=torch.Generator().manual_seed(9))
    return float(regulate(z, seen, {n: soft_labels(v) for n,v in said.items()}, REGULATIONS[name], {})[0])

@pytest.mark.parametrize('name', [n for n,r in REGULATIONS.items() if not r.needs and r.weigh.__module__ == 'irm_nb.irm'])
def test_regulations_do_not_hear_who_sees_nothing(name):
    said = logits('opt','sar','source')
    nobody = dict(sar=torch.zeros(8, dtype=torch.bool))
    alone = loss_under(name, {k: v for k,v in said.items() if k != 'sar'}, {})
    assert loss_under(name, said, nobody) == pytest.approx(alone, rel=1e-6)
    assert loss_under(name, said | logits('sar', seed=3), nobody) == pytest.approx(alone, rel=1e-6)

@pytest.mark.parametrize('a, b', [('batch','control'), ('sample','control_sample')])
def test_controls_carry_the_factor_of_irm(a, b):
    "The sum of weights of each sample is the same with IRM and in its control"
    said = logits('opt','sar','source')
    seen = Opinions(said, torch.full((8,), -1), present=dict(sar=torch.arange(8) % 2 == 0))
    def total(name): return sum(torch.as_tensor(w, dtype=torch.float32).expand(8) for w in weigh(REGULATIONS[name], seen, {}).values())
    torch.testing.assert_close(total(a), total(b))

def test_trust_where_nobody_has_radar():
    "Held against nothing, optical weighs 1"
    said = {k: v[:6,:3] for k,v in logits('opt','sar','source').items()}
    loss = RegulatedLoss(said, REGULATIONS['sample'], present=dict(sar=np.zeros(6, bool)))
    logs = trusted(loss, dict(opt=np.full(6, .5), sar=np.full(6, .9))).on('cpu')(torch.randn(6, 3), Batch(torch.arange(6)))[1]
    assert float(logs['weight_opt']) == pytest.approx(1)

def test_rates_count_those_who_saw(store):
    t = task(under(pairs()))
    auxiliaries = {k: v for k,v in teachers(t, TINY, store, CPU).items() if k != 'source'}
    some = rates_on_labels(task(lacking(under(pairs()), 'sar')), auxiliaries, None, store, CPU)['sar']
    every = rates_on_labels(t, auxiliaries, None, store, CPU)['sar']
    assert sum(some.counts) == sum(every.counts)/2

def test_votes_of_who_sees_nothing(store, monkeypatch):
    "Dawid and Skene's voices abstain, in the opinion they are silent, and a pool leaves them out"
    t = task(lacking(under(pairs()), 'sar'))
    members = voices(t, TINY, store, CPU)
    votes = []
    def spy(v, *args): return votes.append(v) or of(v, *args)
    of = reliable.dawid_skene
    monkeypatch.setattr(reliable, 'dawid_skene', spy)
    METHODS['Dawid-Skene'](t, TINY, store, CPU)
    blind = votes[0][~torch.tensor(SOME)]
    assert (blind[:,1:] == -1).all() and (blind[:,0] >= 0).all() and (votes[0][torch.tensor(SOME)] >= 0).all()
    q = opinion(members, t.train, store, CPU)[~torch.tensor(SOME)]
    alone = opinions_of(members, t.train, store, CPU)['source'][~torch.tensor(SOME)].log_softmax(1)
    torch.testing.assert_close(q, alone)
    blank = lacking(t.test, 'sar', np.zeros(8, bool))
    two = {k: members[k] for k in ('source','sar')}
    pool = pooled(two, None, np.ones((2, reliable.KNOTS)), t.train)
    torch.testing.assert_close(pool.logits(blank, CPU, 'rest').softmax(1), two['source'].logits(blank, CPU, 'rest').softmax(1))

def test_a_pool_without_clouds_can_be_exported(tmp_path):
    s = pairs(8)
    stats = channel_stats(s)
    at = dict(opt=slice(0, 3), sar=slice(3, 6))
    def one(k):
        p = s.select(k)
        return Predictor('small', p.inputs, s.classes, {a: v[at[k]] for a,v in stats.items()}, new_model('small', 2, 3, k).state_dict(), [], s.size)
    p = pooled({k: one(k) for k in at}, None, np.ones((2, reliable.KNOTS)), s)
    p.export(tmp_path/'e', onnx=False)
    said = torch.export.load(tmp_path/'e'/'program.pt2').module()(*(torch.tensor(m.values.astype(np.float32)) for m in s.modalities.values()))
    torch.testing.assert_close(said, p.logits(s, CPU), atol=1e-5, rtol=1e-5)

def test_nobody_is_shown_nothing():
    "A sample that has one modality keeps it"
    s = lacking(pairs(), 'sar')
    views = Views(Batches(s, channel_stats(s), CPU), flips=False, left_out=1/2)
    blind = torch.tensor(np.flatnonzero(~SOME))
    for k in range(20): assert views(blind, torch.Generator().manual_seed(k)).flatten(1).abs().amax(1).min() > 0

def test_scales_are_of_what_was_measured():
    s = pairs(8, height=True)
    there = np.arange(8) % 2 == 0
    for fill in (0, -9999, np.nan):
        values = np.where(there[:,None,None,None], s.dem, np.float32(fill)).astype(np.float32)
        scale = pictures(s.with_modality('dem', replace(s['dem'], values=np.nan_to_num(values, nan=-9999), present=there)))[-1].scale
        assert scale.lo == pytest.approx(s.dem[there].min()) and scale.hi == pytest.approx(s.dem[there].max())

def test_old_results_are_not_taken_for_new():
    "What a set that lacks something means has changed once: the keys of what was made of it as well"
    assert lacking(pairs(), 'sar').__key__()[-2:] == ['lacking', 2] and 'lacking' not in pairs().__key__()

# Bands

def test_encoders_begin_by_the_names_of_bands():
    "The source's red filter looks at the target's red, wherever that stands"
    f = Predictor('small', source().inputs, tuple('xyz'), channel_stats(source()), new_model('small', 3, 3, 'f').state_dict(), [], (32,32))
    w = f.state['conv1.0.weight']
    s = pairs(8)
    turned = s.with_modality('opt', s['opt'].of_bands(('B','G','R')))
    m = late_fusion_start(f, Batches(turned, channel_stats(turned), CPU), 2, 0)
    torch.testing.assert_close(m.opt.conv1[0].weight, w[:,[2,1,0]])

@pytest.mark.parametrize('row', ['SPL','CycIT','DSAN','TTL','Product of experts'])
@pytest.mark.parametrize('bands', [('R','G','B'), ('R','G','B','NIR')])
def test_a_fourth_band_trains_or_is_refused(row, bands, store):
    t = task(under(pairs(bands=('R','G','B','NIR'))), bands, bands=('R','G','B','NIR'))
    try: METHODS[row](t, TINY, store, CPU)
    except PairError as e: assert e.expected and e.do

# What is known of clouds

def test_unknown_clouds_are_not_clear():
    "Scores of clear samples are those that somebody knows to be clear"
    s = pairs()
    p = Predictor('small', s.inputs, s.classes, channel_stats(s), new_model('small', 2, 6, 'x').state_dict(), [], s.size)
    assert set(evaluate(p, s, CPU)) == {'all'}
    covered = replace(s, cover=np.linspace(0, 1, 24).astype(np.float32))
    assert {k: r.n for k,r in evaluate(p, covered, CPU).items()} == dict(all=24, cloudy=23, clear=1)
    table = sample_table(ensemble(s, dict(target=p), comp=CPU))
    assert len(choose(table, clouds='clear')) == len(choose(table, clouds='cloudy')) == 0

def test_a_calibrated_network_is_inspected_as_it_answers():
    s = pairs(12)
    p = Predictor('small', s.inputs, s.classes, channel_stats(s), new_model('small', 2, 6, 'x').state_dict(), [], s.size).calibrated(8.)
    table = sample_table(ensemble(s, dict(target=p), comp=CPU))
    assert np.allclose(table.confidence, (p.logits(s, CPU)/8).softmax(1).amax(1), atol=1e-6)
