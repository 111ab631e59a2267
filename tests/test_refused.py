"Arguments, predictors, results and checkpoints that don't fit: a named error, and never another network's answer."
import json
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np, pytest, torch
from torch import nn

import test_bad_input as good
from irm_nb import models
from irm_nb.batches import Batches, channel_stats
from irm_nb.core import *
from irm_nb.distill import HardLabels
from irm_nb.explain import features, shapley
from irm_nb.metrics import *
from irm_nb.models import Architecture, Backbone
from irm_nb.scenes import Scenes, SceneSet
from irm_nb.store import Store, call, save_tensors
from irm_nb.tasks import Task
from irm_nb.train import Epochs, Student, TrainConfig, fit
from irm_nb.transfer import *

class Small(nn.Module):
    def __init__(self, n, c=3, factor=1.):
        super().__init__()
        self.conv1 = nn.Conv2d(c, 2, 3, padding=1)
        self.layer4 = nn.Conv2d(2, 2, 1)
        self.bn = nn.BatchNorm2d(2)
        self.fc = nn.Linear(2, n)
        self.factor = factor
    def forward(self, x): return self.fc(self.bn(self.layer4(self.conv1(x)*self.factor)).mean((2, 3)))

CPU = Compute('cpu', 'float32')
PAIRS = good.pairs(12)

@pytest.fixture(autouse=True)
def small():
    entry = Backbone(Small, top=('layer4','fc'))
    with mock.patch.dict(models.BACKBONES, small=entry, resnet50=entry, googlenet=entry): yield

@pytest.fixture
def p():
    with seeded('small'): m = Small(2, 6)
    return Predictor('small', PAIRS.inputs, PAIRS.classes, channel_stats(PAIRS), m.state_dict(), [dict(loss=1.)], PAIRS.size)

def flip(file, i, bit=1):
    b = bytearray(file.read_bytes())
    b[i % len(b)] ^= bit
    file.write_bytes(b)

@pytest.mark.parametrize('name', ['predictor.json','weights.safetensors'])
def test_any_flipped_byte_of_a_predictor(p, tmp_path, name):
    "It is found, or the predictor is the same"
    file = p.save(tmp_path/'p')/name
    whole,found = file.read_bytes(),0
    for i in range(0, len(whole), 7):
        flip(file, i)
        try: q = Predictor.load(tmp_path/'p')
        except IrmError: found += 1
        else: assert q.key == p.key
        file.write_bytes(whole)
    assert found > len(whole)//7*.9

def test_weights_of_another_predictor(p, tmp_path):
    p.save(tmp_path/'p')
    other = replace(p, state={k:v + 1 for k,v in p.state.items()}).save(tmp_path/'q')
    (other/'weights.safetensors').replace(tmp_path/'p'/'weights.safetensors')
    with pytest.raises(WeightsError, match='other weights'): Predictor.load(tmp_path/'p')

@pytest.mark.parametrize('field, value', [('inputs',['pols']), ('inputs',[]), ('history',5), ('classes','ab'),
    ('classes',['a','a']), ('arch','restored:100000:2:small'), ('arch',3), ('stats',{}), ('size',[8]), ('size','8'), ('about',3)])
def test_odd_notes_of_a_predictor(p, tmp_path, field, value):
    file = p.save(tmp_path/'p')/'predictor.json'
    about = json.loads(file.read_text())
    del about['digest']
    file.write_text(json.dumps(about | {field:value}))
    with pytest.raises(WeightsError): Predictor.load(tmp_path/'p')

def test_predictors_that_do_not_fit(p, tmp_path):
    with pytest.raises(WeightsError): replace(p, state={}).logits(PAIRS, CPU)
    with pytest.raises(WeightsError): replace(p, classes=('a','b','c')).model()
    with pytest.raises(NotFiniteError): replace(p, state={k:v*np.nan for k,v in p.state.items()}).save(tmp_path/'p')
    assert not (tmp_path/'p').exists()

OTHER_INPUTS = dict(
    reflectance=PAIRS.with_modality('opt', replace(PAIRS['opt'], values=PAIRS.opt.astype(np.uint16)*10, units='reflectance')),
    eight_bits=PAIRS.with_modality('sar', replace(PAIRS['sar'], values=np.clip(PAIRS.sar + 60, 0, 255).astype(np.uint8), units='stretch8')),
    one_polarisation=PAIRS.select('opt', sar=('VV',)),
    other_polarisations=PAIRS.with_modality('sar', replace(PAIRS['sar'], bands=('HH','HV'))),
    other_colours=PAIRS.with_modality('opt', replace(PAIRS['opt'], bands=('NIR','R','G'))),
    another_sensor=PAIRS.with_modality('opt', replace(PAIRS['opt'], values=PAIRS.opt.astype(np.float32), units='m', sensor='height')))

def predicted(p, s, comp): return p.predict(s, comp)
def answered(p, s, comp): return p.predict(s, comp, missing='rest')
def kept(p, s, comp): return cached_logits(p, s, Store(), comp)
ASKED = shapley,features,predicted,answered,kept,evaluate

@pytest.mark.parametrize('kind', OTHER_INPUTS)
@pytest.mark.parametrize('ask', ASKED)
def test_other_units(p, kind, ask, tmp_path, monkeypatch):
    monkeypatch.setenv('IRM_NB_STORE', str(tmp_path))
    with pytest.raises(UnitsError): ask(p, OTHER_INPUTS[kind], comp=CPU)

OTHER_SETS = dict(
    another_size=(ShapeError, replace(PAIRS, opt=PAIRS.opt[:,:,:4,:4], sar=PAIRS.sar[:,:,:4,:4])),
    other_classes=(LabelError, replace(PAIRS, classes=PAIRS.classes[::-1])),
    a_modality_less=(PairError, PAIRS.select('opt')),
    a_sample_that_lacks_one=(PairError, PAIRS.with_modality('sar', replace(PAIRS['sar'], present=np.arange(12) > 0))))

@pytest.mark.parametrize('kind', OTHER_SETS)
@pytest.mark.parametrize('ask', [predicted, kept, evaluate])
def test_other_sets(p, kind, ask, tmp_path, monkeypatch):
    monkeypatch.setenv('IRM_NB_STORE', str(tmp_path))
    error,s = OTHER_SETS[kind]
    with pytest.raises(error): ask(p, s, comp=CPU)

@pytest.mark.parametrize('kind', ['a_modality_less','a_sample_that_lacks_one'])
def test_what_lacks_a_modality_is_answered_by_the_rest(p, kind):
    "Where it is asked for; what is there has the answer that it had"
    z,z_rest = p.logits(PAIRS, CPU),p.logits(OTHER_SETS[kind][1], CPU, missing='rest')
    assert z_rest.shape == z.shape and z_rest.isfinite().all()
    if kind == 'a_sample_that_lacks_one': assert torch.equal(z_rest[1:], z[1:]) and not torch.equal(z_rest[0], z[0])
    with pytest.raises(OptionError): p.logits(PAIRS, CPU, missing='guess')

@pytest.mark.parametrize('idx', [[99], 'a', [.5], np.ones(3, bool), None, 5, []])
def test_samples_that_are_not_there(p, idx):
    with pytest.raises(IrmError): shapley(p, PAIRS, idx=idx, comp=CPU)

@pytest.mark.parametrize('job', [lambda p: evaluate(p, 3), lambda p: evaluate(3, PAIRS), lambda p: p.predict(None, CPU), lambda p: p.predict(PAIRS, 'cpu'),
    lambda p: tidy({'a':3}, PAIRS), lambda p: shapley(3, PAIRS), lambda p: shapley(p, PAIRS, comp='cpu'), lambda p: irm_transfer(3), lambda p: irm_transfer(task(), 3),
    lambda p: irm_transfer(task(), Config(), 'store'), lambda p: irm_transfer(task(), Config(), None, 'cpu')])
def test_things_of_another_kind(p, job, tmp_path, monkeypatch):
    monkeypatch.setenv('IRM_NB_STORE', str(tmp_path))
    with pytest.raises(OptionError): job(p)

def task(labels=(0,1,0,1)):
    source = SceneSet(PAIRS.opt[:len(labels)], labels=list(labels), classes=('a','b'), ids=list(map(str, range(len(labels)))))
    return Task(source, PAIRS.subset(range(8)), PAIRS.subset(range(8, 12)), [0,1,2,3])

@pytest.mark.parametrize('labels, error', [((0,1,-1,1), LabelError), ((0,), BudgetError), ((), IrmError)])
def test_sources_that_teach_nothing(labels, error, tmp_path):
    with pytest.raises(error): irm_transfer(task(labels), Config(tau=0.), Store(tmp_path), CPU)
    assert not Store(tmp_path).entries()

def made(factor):
    def build(n, c): return Small(n, c, factor)
    return build

def test_two_architectures_of_one_name():
    keys = []
    for build in (made(1.), made(2.), partial(Small, factor=3.), partial(Small, factor=4.)):
        with mock.patch.dict(models.BACKBONES, small=Backbone(build)): keys.append(Architecture('small').__key__())
    assert len(set(keys)) == 4

@pytest.mark.parametrize('name', ['timm','branches'])
def test_a_network_under_a_name_of_the_library(name):
    with pytest.raises(OptionError, match='has it already'): models.BACKBONES[name] = Backbone(Small)
    assert models.BACKBONES[name].__module__ == 'irm_nb.models'

def numbers(n): return torch.arange(n)
@pytest.mark.parametrize('notes', ['null', '3', '{"value":1}', '{"value":{},"about":{}}', '{"value":1,"about":3}', '['*99999, '{"value":{"#class":"Predictor","fields":3},"about":{"code":1}}'])
def test_results_of_somebody_else(notes, tmp_path):
    from safetensors.torch import save_file
    store = Store(tmp_path)
    store(numbers, 3)
    save_file(dict(a=torch.zeros(2)), store.file(call(numbers, 3)), metadata=dict(notes=notes))
    with pytest.raises(StoreError): store(numbers, 3)
    assert len(store.entries()) == 1

def trained_on(rows, work=None):
    data = Epochs(Batches(PAIRS, channel_stats(PAIRS), CPU), rows, TrainConfig(epochs=1, batch=2))
    return fit(Student(Small(2, 6), HardLabels(PAIRS.labels).on('cpu')), data, 0, work)

@pytest.mark.parametrize('tensors, notes', [({}, None), ({'a':torch.zeros(1)}, []), ({'o.99.x':torch.zeros(1)}, []), ({'m.a':torch.zeros(1)}, {})])
def test_checkpoints_of_another_training(tensors, notes, tmp_path):
    save_tensors(tmp_path/'checkpoint.safetensors', tensors, notes)
    with pytest.raises(StoreError): trained_on(range(4), work=tmp_path)

@pytest.mark.parametrize('result', [torch.eye(3).to_sparse(), np.array(['a']), np.array([None])])
def test_results_that_can_not_be_kept(result):
    from irm_nb.store import _pack
    with pytest.raises(OptionError): _pack(result, {})

@pytest.mark.parametrize('rows', [[], [3]])
def test_trainings_on_nothing(rows):
    with pytest.raises(BudgetError): trained_on(rows)

ODD = [None, 'a', ['a'], [None], [[1]], np.zeros((2,2))]
@pytest.mark.parametrize('odd', ODD)
@pytest.mark.parametrize('f', [lambda v: wilson(v, 3), lambda v: wilson(1, v), lambda v: wilson(1, 3, v), lambda v: mcnemar(v, 1), holm, seed_interval,
    lambda v: cluster_bootstrap([0,1,1,0], v), lambda v: cluster_bootstrap([0,1,1,0], [0,0,1,1], n_boot=v), lambda v: cover_masks([.1,.2], v)])
def test_numbers_that_are_none(f, odd):
    with pytest.raises(IrmError): f(odd)

def test_sets_in_units_that_they_do_not_have():
    with pytest.raises(UnitsError): replace(PAIRS['opt'], units='reflectance')
    with pytest.raises(UnitsError): PAIRS.with_modality('sar', replace(PAIRS['sar'], units='stretch8'))

@pytest.mark.parametrize('i', range(0, 400, 13))
def test_a_flipped_byte_in_the_note_of_a_set(i, tmp_path):
    file = good.kept(tmp_path)/'meta.json'
    before = Scenes.load(file.parent).labels.tolist()
    flip(file, i)
    try: s = Scenes.load(file.parent)
    except IrmError: return
    assert s.labels.tolist() == before and s.classes == ('lake','wood') and s.ids == tuple('abcd')

def test_a_nul_in_a_place(p):
    for write in (p.save, PAIRS.save, Store):
        with pytest.raises(OutputError): write('a\0b')
