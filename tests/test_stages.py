"""Whatever goes into a stage moves its key: every argument of every stage, down to the fields of configurations."""
import importlib, inspect, pkgutil
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import irm_nb
from irm_nb import world
from irm_nb.clouds import CloudSpec
from irm_nb.core import Compute, IrmError
from irm_nb.distill import HardLabels, SoftLabels
from irm_nb.irm import REGULATIONS, SOURCE, ModalityMonitor, Regulation, RegulatedLoss
from irm_nb.methods.translate import ImageTranslator
from irm_nb.models import Architecture
from irm_nb.scenes import Input, Scenes
from irm_nb.store import LocalFile, Store, argument_key, call, stage
from irm_nb.train import ImageConfig, TrainConfig
from irm_nb.transfer import Predictor, Weights

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
LOGITS = {t: torch.arange(60.).reshape(6, 10) + i for i,t in enumerate(('opt', 'sar', SOURCE))}
OPTICAL = dict(opt=SCENES['opt'].input)

def predictor(): return Predictor('googlenet', OPTICAL, ('a', 'b'), dict(mean=[0.], std=[1.]), dict(STATE))
def translator(): return ImageTranslator('restored', 8, 1, OPTICAL, [0.]*3, [1.]*3, dict(STATE))

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    f = tmp_path_factory.mktemp('weights')/'w.safetensors'
    f.write_bytes(b'one')
    return f

def by_type(weights):
    "Something that a parameter may be, by its annotation"
    file = LocalFile(str(weights))
    return {Scenes: PAIRS, Predictor: predictor(), ImageTranslator: translator(), LocalFile: file,
            Weights: Weights(file), Architecture: Architecture('googlenet'), Compute: Compute('cpu', 'float32'),
            TrainConfig: TrainConfig(), ImageConfig: ImageConfig(), CloudSpec: CloudSpec(),
            RegulatedLoss: RegulatedLoss(LOGITS, REGULATIONS['batch']),
            dict: dict(STATE), str: 'full', int: 8, bool: False}

BY_NAME = dict(loss=HardLabels(np.arange(6)), monitor=ModalityMonitor({t: LOGITS[t] for t in ('opt', 'sar')}),
               labelled=np.arange(3), rows=range(6), purpose=(0, 'F1'), lo=[0.]*3, hi=[1.]*3, monitor_every=1,
               options={'weight': 4.}, modality='opt', dtype='uint8')

def value(p, weights):
    "Something that a parameter may be"
    return BY_NAME[p.name] if p.name in BY_NAME else by_type(weights)[p.annotation]

def scalars(v):
    "Other values of the same kind"
    if isinstance(v, bool): return [not v]
    if isinstance(v, (int, float)): return [v + 1]
    if isinstance(v, str): return ['resnet50' if v == 'googlenet' else v + ' other']
    if isinstance(v, torch.Tensor): return [v + 1e-3, v.to(torch.float64), v[:1]]
    if isinstance(v, np.ndarray): return [v + 1, v[:1], v.astype(np.float32)]
    if isinstance(v, range): return [range(v.stop + 1), range(1, v.stop)]

def parts(v):
    "Containers with one of their parts changed, or left out"
    if isinstance(v, dict):
        fewer = [{k: x for k,x in v.items() if k != next(iter(v))}] if v else []
        return [{**v, k: c} for k,x in v.items() for c in changes(x)] + fewer
    if isinstance(v, (list, tuple)):
        fewer = [v[:-1]] if len(v) else []
        return [type(v)([*v[:i], c, *v[i+1:]]) for i,x in enumerate(v) for c in changes(x)] + fewer

def others(v):
    "Things of the library with something else in them"
    if isinstance(v, LocalFile): return [LocalFile(__file__)]
    if isinstance(v, Architecture): return [Architecture('resnet50')]
    if isinstance(v, Compute): return [Compute('cpu', 'bf16')]
    if isinstance(v, Regulation): return [REGULATIONS['none']]
    if isinstance(v, Input): return [Input(v.sensor, v.bands[::-1], v.units)]
    if isinstance(v, HardLabels): return [HardLabels(v.labels[::-1].copy()), SoftLabels(torch.eye(6))]
    if isinstance(v, Scenes): return [v.subset([0, 1]), replace(v, labels=v.labels[::-1].copy())]

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

def test_there_are_stages(): assert len(STAGES) >= 12

@pytest.mark.parametrize('name', sorted(STAGES))
def test_every_argument_moves_the_key(name, weights):
    f = STAGES[name]
    parameters = [p for p in inspect.signature(f).parameters.values() if p.name != 'work']
    given = {p.name: value(p, weights) for p in parameters}
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
