"""Whatever goes into a stage moves its key: every argument of every stage, down to the fields of configurations."""
import importlib, inspect, pkgutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import irm_nb
from irm_nb import scenes, world
from irm_nb.clouds import CloudSpec
from irm_nb.core import Compute, IrmError
from irm_nb.distill import HardLabels, SoftLabels
from irm_nb.irm import REGULATIONS, SOURCE, ModalityMonitor, RegulatedLoss, Regulation
from irm_nb.methods.fusion import LiveTeachers, GDL, OGMGE
from irm_nb.methods.optical import Softened
from irm_nb.methods.translate import ImageTranslator
from irm_nb.methods.trust import CoverEstimator
from irm_nb.models import Architecture
from irm_nb.scenes import Input, Modality, Scenes, Unit
from irm_nb.store import LocalFile, Store, argument_key, call, stage
from irm_nb.train import ImageConfig, Student, TrainConfig
from irm_nb.transfer import Predictor, Weights, train_network

def stages():
    found = {}
    for m in pkgutil.walk_packages(irm_nb.__path__, 'irm_nb.'):
        for f in vars(importlib.import_module(m.name)).values():
            if inspect.isfunction(f) and hasattr(f, 'stage'):
                found[f'{f.__module__}.{f.__name__}'] = f
    return found

STAGES = stages()
PAIRS = world.target(6, seed=1).with_clouds(CloudSpec())
SCENES = world.source(6, seed=1)
STATE = {'fc.weight': torch.zeros(2, 3), 'fc.bias': torch.zeros(2)}
LOGITS = torch.arange(60.).reshape(6, 10)
FIRST = [dict(loss=1.)] # round of a history

def predictor():
    stats = dict(mean=[0.]*6, std=[1.]*6)
    return Predictor('googlenet', PAIRS.inputs, ('a', 'b'), stats, dict(STATE), FIRST, (64,64), dict(trained_on='x'))

def translator(): return ImageTranslator('restored', 8, 1, SCENES.inputs, [0.]*3, [1.]*3, dict(STATE), FIRST)

def estimator(): return CoverEstimator(PAIRS.select('opt').inputs, dict(mean=[0.]*3, std=[1.]*3), dict(STATE), FIRST)

def surer(factor):
    "A regulation of the user's own, one for each factor"
    def weigh(seen, scale=1.): return {t:factor*scale for t in seen.logits}
    return Regulation('mine', weigh)

def own_step(factor): # a class of the user's own, of one name
    class Mine(Student):
        def forward(self, batch): return factor*super().forward(batch)
    return Mine

def regulated():
    some = np.arange(6) % 2 == 0
    teachers = {'opt':LOGITS, 'sar':LOGITS + 1, SOURCE:LOGITS + 2}
    labels = np.array([0,1,-1,-1,-1,-1])
    options = dict(normalize=False)
    return RegulatedLoss(teachers, REGULATIONS['batch'], options, labels, False, np.linspace(0, 1, 6), {'sar':some},
                         {'opt':LOGITS[:,0], 'sar':LOGITS[:,1]})

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    f = tmp_path_factory.mktemp('weights')/'w.safetensors'
    f.write_bytes(b'one')
    return f

def value(name, parameter, weights):
    "Something that a parameter may be, by its name"
    sets = dict(source=SCENES, train=PAIRS, pairs=PAIRS, s=PAIRS, radar=PAIRS.select('sar'))
    networks = dict(t=translator(), teachers={'opt':predictor(), SOURCE:predictor()})
    choices = dict(cfg=TrainConfig(), head=TrainConfig(), body=TrainConfig(lr=3e-4), how=ImageConfig(),
                   clouds=CloudSpec(), comp=Compute('cpu', 'float32'), options={'weight': 4.})
    monitor = ModalityMonitor(dict(opt=LOGITS, sar=LOGITS + 1))
    taught = dict(loss=HardLabels(np.arange(6)), monitor=monitor, kind=Student)
    files = dict(arch=Architecture('googlenet'), weights=Weights(LocalFile(str(weights)), 'SENTINEL2_RGB_MOCO'))
    rows = dict(labelled=np.arange(3), rows=range(6), purpose=(0, 'F1'), lo=[0.]*3, hi=[1.]*3)
    words = dict(name='F1', mode='full', dtype='uint8', missing='error')
    numbers = dict(seed=0, width=8, blocks=2, monitor_every=1)
    if name.endswith('cover_of') and parameter == 'p': return estimator()
    if name.endswith('train_encoders') and parameter == 'loss': return 'infonce'
    if parameter.startswith('f_') or parameter == 'p': return predictor()
    if parameter == 'start': return dict(STATE) if name.endswith(('paired', 'learn_on_target')) else predictor()
    return (sets | networks | choices | taught | files | rows | words | numbers)[parameter]

WORDS = dict(
    infonce='vicreg', googlenet='resnet50', adam='sgd', cosine='constant', full='top', error='rest', uint8='uint16')

def of_a_set(s):
    "The same set with one thing changed"
    out = [s.subset([0, 1]), replace(s, labels=s.labels[::-1].copy()), replace(s, ids=[f'{i} other' for i in s.ids])]
    for k,m in s.modalities.items():
        pixel = m.values.copy()
        pixel[0,0,0,0] += 1
        some = np.arange(len(s)) > 0
        turned = replace(m, bands=m.bands[::-1])
        out += [replace(s, **{k:pixel}), *(s.with_modality(k, o) for o in (replace(m, present=some), turned))]
    return out + [s.select(k) for k in s.names if len(s.names) > 1] + [s.with_modality('again', m)]

def scalars(v):
    "Other values of the same kind"
    if isinstance(v, bool): return [not v]
    if isinstance(v, (int, float)): return [v + 1]
    if isinstance(v, str): return [w for w in (WORDS.get(v), f'{v} other') if w and w != 'googlenet other']
    if isinstance(v, torch.Tensor): return [v + 1e-3, v.to(torch.float64), v[:1]]
    if isinstance(v, np.ndarray): return [~v, v[:1]] if v.dtype == bool else [v + 1, v[:1], v.astype(np.float32)]
    if isinstance(v, range): return [range(v.stop + 1), range(1, v.stop)]
    if isinstance(v, type): return [OGMGE, GDL, own_step(1), own_step(2)]

def parts(v):
    "Containers with one of their parts changed, or left out"
    if isinstance(v, dict):
        fewer = [{k: x for k,x in v.items() if k != gone} for gone in v]
        return [{**v, k: c} for k,x in v.items() for c in changes(x)] + fewer
    if isinstance(v, (list, tuple)):
        fewer = [v[:-1]] if len(v) else []
        return [type(v)([*v[:i], c, *v[i+1:]]) for i,x in enumerate(v) for c in changes(x)] + fewer

def others(v):
    "Things of the library with something else in them"
    if isinstance(v, LocalFile): return [LocalFile(__file__)]
    if isinstance(v, Weights): return [Weights(LocalFile(__file__), v.layout), Weights(v.file, 'IMAGENET')]
    if isinstance(v, Architecture): return [Architecture('resnet50')]
    if isinstance(v, Compute): return [Compute('cpu', 'bf16')]
    if isinstance(v, Regulation): return [REGULATIONS['none'], REGULATIONS['sample'], surer(1.), surer(2.)]
    if isinstance(v, Input): return [Input(v.sensor, v.bands[::-1], v.units), Input('height', ('elevation',), 'm')]
    if isinstance(v, HardLabels): return [HardLabels(v.labels[::-1].copy()), *other_losses()]
    if isinstance(v, Scenes): return of_a_set(v)

def other_losses():
    live = LiveTeachers({'opt':predictor()}, {'opt':[0,1,2]}, REGULATIONS['batch'], {}, np.array([0,1,-1,-1,-1,-1]))
    losses = SoftLabels(torch.eye(6)),Softened(LOGITS, np.arange(6)),regulated(),live
    return [*losses, *(c for one in losses for c in changes(one))]

def changes(v):
    "The same with one thing changed, for every thing in it"
    for kind in (scalars, parts, others):
        if (found := kind(v)) is not None: return found
    assert is_dataclass(v), type(v)
    out = []
    for f in fields(v):
        for c in changes(getattr(v, f.name)) if getattr(v, f.name) is not None else ():
            try: out.append(replace(v, **{f.name: c}))
            except (IrmError, TypeError): pass # a value that this field can't have
    assert out, type(v)
    return out

KNOWN = {'train_network','adapt_network','load_source','logits_of','translated_images','learn_on_source',
         'learn_on_target','unpaired','paired','align_subdomains','fuse_late','train_encoders','train_cover','cover_of'}

def test_there_are_stages(): assert {name.rpartition('.')[2] for name in STAGES} >= KNOWN

OF_FILES = 'irm_nb.patches.answers_of' # its job opens a scene: below

@pytest.mark.parametrize('name', sorted(STAGES.keys() - {OF_FILES}))
def test_every_argument_moves_the_key(name, weights):
    f = STAGES[name]
    given = {p: value(name, p, weights) for p in inspect.signature(f).parameters if p != 'work'}
    key = call(f, **given).key
    assert call(f, **given).key == key
    seen = {key}
    for p in given:
        for c in changes(given[p]):
            moved = call(f, **{**given, p: c}).key
            assert moved not in seen, f'{p} = {str(c)[:80]} has the key of something else'
            seen.add(moved)

def test_a_file_counts_by_its_content(weights):
    before = argument_key(LocalFile(str(weights)))
    same = Path(weights).with_name('copy.safetensors')
    same.write_bytes(b'one')
    assert argument_key(LocalFile(str(same))) == before
    same.write_bytes(b'two')
    assert argument_key(LocalFile(str(same))) != before

def of_training(**given):
    "Key of a training on the pairs, with some arguments given otherwise"
    usual = dict(name='F2', arch=Architecture('googlenet'), train=PAIRS, rows=range(6), loss=HardLabels(np.arange(6)),
                 cfg=TrainConfig(), purpose=(0, 'F2'), comp=Compute('cpu', 'float32'))
    return call(train_network, **usual | given).key

def twice(weights): return {t:2*w for t,w in weights.items()}
def by_a_helper(seen): return twice(dict.fromkeys(seen.logits, 1.))

def test_a_regulation_counts_by_its_code(monkeypatch):
    "Its own, what it closes over, its defaults, and that of functions of yours that it calls"
    def key(how): return of_training(loss=replace(regulated(), regulation=how, options={}))
    assert key(surer(1.)) == key(surer(1.)) != key(surer(2.))
    def other_default(seen, scale=2.): return {t:scale for t in seen.logits}
    def one_default(seen, scale=1.): return {t:scale for t in seen.logits}
    other_default.__name__ = one_default.__name__
    assert key(Regulation('mine', one_default)) != key(Regulation('mine', other_default))
    before = key(Regulation('mine', by_a_helper))
    def twice(weights): return {t:3*w for t,w in weights.items()}
    monkeypatch.setitem(globals(), 'twice', twice)
    assert key(Regulation('mine', by_a_helper)) != before

def thermal(factor, of):
    "A sensor of the user's own, entered by one name, with a factor in one of its functions"
    def channels(x, bands, units): return x*(factor if of == 'channels' else 1)
    def bands(names): return tuple(names)[:factor if of == 'bands' else None]
    def channel_names(bands): return [f'{b}{factor if of == "channel_names" else 0}' for b in bands]
    scenes.sensor('thermal', dict(K=Unit(('float32',), 0, 400)), True, bands, channel_names)(channels)
    return PAIRS.with_modality('hot', Modality(np.full((6,1,64,64), 300, np.float32), ('T',), 'K', 'thermal'))

@pytest.mark.parametrize('of', ['channels','bands','channel_names'])
def test_a_sensor_counts_by_its_code(of, monkeypatch):
    "A set keeps its fingerprint, and what is trained on it gets another key"
    monkeypatch.setattr(scenes, 'SENSORS', dict(scenes.SENSORS)) # what is entered is gone again
    keys = []
    for factor in (1, 1, 2):
        s = thermal(factor, of)
        keys.append((s.fingerprint, of_training(train=s)))
    assert keys[0] == keys[1]
    assert keys[0][0] == keys[2][0] and keys[0][1] != keys[2][1]

@stage('loss of one')
def loss_of(p:Predictor): return p.state['fc.bias'].sum()

def test_a_network_changed_in_place_is_another(tmp_path):
    store = Store(tmp_path)
    p = predictor()
    kept = store(loss_of, p)
    p.state['fc.bias'] += 1
    assert store(loss_of, p) != kept
    p.stats['mean'][0] = 5.
    assert call(loss_of, p).key != call(loss_of, predictor()).key

def test_a_map_counts_by_its_job(tmp_path):
    "Any change of a job moves the key, but who does the work and whether it is watched"
    from irm_nb.bench import noise_scene, untrained_target
    from irm_nb.patches import Hands, Job, Scene
    files = noise_scene(tmp_path, 128)
    net = untrained_target()
    usual = dict(scene=Scene(**files), networks=dict(target=net), rates=dict(target=None), stride=32, block=4,
                 max_invalid=.5, decided=False, views=False, estimate=None, comp=Compute('cpu', 'float32'))
    def key(hands=Hands(), **given): return call(STAGES[OF_FILES], Job(**usual | given), hands).key
    assert key() == key(Hands(progress=False))
    other = replace(net, state={k: v + 1 for k,v in net.state.items()})
    numbers = [dict(stride=16), dict(block=8), dict(max_invalid=.4), dict(decided=True), dict(views=True)]
    changed = [dict(scene=Scene(**files, nodata=0)), dict(networks=dict(target=other)),
               dict(rates=dict(target=np.ones(101))), *numbers]
    assert len({key(), *(key(**c) for c in changed)}) == 1 + len(changed)
