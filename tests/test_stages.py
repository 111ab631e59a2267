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
from irm_nb.irm import ModalityMonitor, RegulatedLoss
from irm_nb.methods.fusion import GDL, OGMGE, View
from irm_nb.models import Architecture
from irm_nb.store import LocalFile, Store, argument_key, call, stage
from irm_nb.train import ImageConfig, TrainConfig
from irm_nb.transfer import Front, Predictor

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
REGULATED = RegulatedLoss(LOGITS, LOGITS, LOGITS)

def predictor(): return Predictor('googlenet', 'opt', ('a', 'b'), dict(mean=[0.], std=[1.]), dict(STATE))
def front(): return Front('restored', 8, 1, 'opt', [0.]*3, [1.]*3, dict(STATE))

@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    f = tmp_path_factory.mktemp('weights')/'w.safetensors'
    f.write_bytes(b'one')
    return f

def value(name, parameter, weights):
    "Something that a parameter may be, by its name"
    kinds = dict(source=SCENES, train=PAIRS, pairs=PAIRS, radar=PAIRS, arch=Architecture('googlenet'), weights=LocalFile(str(weights)), comp=Compute('cpu', 'float32'),
                 cfg=TrainConfig(), head=TrainConfig(), body=TrainConfig(lr=3e-4), how=ImageConfig(), sky=CloudSpec(), front=front(), loss=HardLabels(np.arange(6)),
                 base=REGULATED, monitor=ModalityMonitor(LOGITS, LOGITS), view=View, options={'weight': 4.}, labelled=np.arange(3), rows=range(6), purpose=(0, 'F1'),
                 lo=[0.]*3, hi=[1.]*3, seed=0, width=8, blocks=2, monitor_every=1, name='F1', modality='opt', mode='full', irm='batch', dtype='uint8', normalize=False)
    if parameter.startswith('f_') or parameter == 'p': return predictor()
    if parameter == 'start': return dict(STATE) if name.endswith(('paired', 'learn_on_target')) else predictor()
    return kinds[parameter]

def changes(v):
    "The same with one thing changed, for every thing in it"
    if isinstance(v, bool): return [not v]
    if isinstance(v, (int, float)): return [v + 1]
    if isinstance(v, str): return ['resnet50' if v == 'googlenet' else v + ' other']
    if isinstance(v, torch.Tensor): return [v + 1e-3, v.to(torch.float64), v[:1]]
    if isinstance(v, np.ndarray): return [v + 1, v[:1], v.astype(np.float32)]
    if isinstance(v, range): return [range(v.stop + 1), range(1, v.stop)]
    if isinstance(v, type): return [OGMGE, GDL]
    if isinstance(v, dict): return [{**v, k: c} for k,x in v.items() for c in changes(x)] + [{k: x for k,x in v.items() if k != next(iter(v))}]
    if isinstance(v, (list, tuple)): return [type(v)([*v[:i], c, *v[i+1:]]) for i,x in enumerate(v) for c in changes(x)] + ([v[:-1]] if len(v) else [])
    if isinstance(v, LocalFile): return [LocalFile(__file__)]
    if isinstance(v, Architecture): return [Architecture('resnet50')]
    if isinstance(v, Compute): return [Compute('cpu', 'bf16')]
    if isinstance(v, HardLabels): return [HardLabels(v.labels[::-1].copy()), SoftLabels(torch.eye(6))]
    if hasattr(v, 'fingerprint'): return [v.subset([0, 1]), replace(v, labels=v.labels[::-1].copy())]
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
    parameters = [p for p in inspect.signature(f).parameters if p != 'work']
    given = {p: value(name, p, weights) for p in parameters}
    key = call(f, **given).key
    assert call(f, **given).key == key
    seen = {key}
    for p in parameters:
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
    store,p = Store(tmp_path),predictor()
    kept = store(loss_of, p)
    p.state['fc.bias'] += 1
    assert store(loss_of, p) != kept
    p.stats['mean'][0] = 5.
    assert call(loss_of, p).key != call(loss_of, predictor()).key
