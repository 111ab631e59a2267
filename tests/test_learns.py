"""Every row learns: it beats chance on the embedded world by a stated margin. What is one sample off does not."""
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest
import torch

import small_net
from irm_nb import models, world
from irm_nb.cells import Cell
from irm_nb.clouds import CloudSpec
from irm_nb.core import Compute, hash_ids
from irm_nb.experiments import answers, run
from irm_nb.methods import sar
from irm_nb.methods.all import METHODS
from irm_nb.metrics import wilson
from irm_nb.scenes import PairedScenes, SceneSet
from irm_nb.store import Store
from irm_nb.tasks import Task
from irm_nb.train import TrainConfig
from irm_nb.transfer import Config, Predictor, cached_logits, evaluate, irm_transfer, teachers

MARGIN = 0.25 # of accuracy, above the best constant answer; and that answer lies below the 95 % interval
LESS = dict(CycIT=0.10) # a CycleGAN that is shown a hundredth of what it needs
CLASSES = 'Water','Industrial','Dense Forests'
EACH = 100 # pairs of each class
SCENES = 240 # of the source
LABELS = 15 # of each class
TRAIN = 180 # pairs to train on
COMP = Compute('cpu', 'float32')

def halved(images): return np.ascontiguousarray(images[:,:,::2,::2])

def few_classes():
    "Pairs of the embedded world at 32 pixels; three classes in turn: one sample further is always another class"
    n = 40*EACH
    at = [list(world.TARGET).index(c) for c in CLASSES]
    drawn = world.pick(hash_ids(range(n), 'target', 3), [share for _,share in world.TARGET.values()])
    rows = np.stack([np.flatnonzero(drawn == k)[:EACH] for k in at], 1).ravel()
    p = world.target(n, 3, rows)
    labels = [at.index(k) for k in p.labels]
    return PairedScenes(halved(p.opt), halved(p.sar), labels, CLASSES, p.ids, groups=p.groups)

@pytest.fixture(scope='module')
def task():
    s = world.source(SCENES, 3)
    source = SceneSet(halved(s.opt), s.labels, s.classes, s.ids)
    pairs = few_classes().with_clouds(CloudSpec(content=0.5, cover=0.5))
    rows = np.arange(len(pairs))
    return Task(source, pairs.subset(rows[:TRAIN]), pairs.subset(rows[TRAIN:]), rows[:len(CLASSES)*LABELS], seed=0)

def beats_chance(right, labels, margin=MARGIN):
    "The check of this file: right [N] of bool, labels [N]"
    chance = np.bincount(labels).max()/len(labels)
    found = wilson(int(np.sum(right)), len(right))
    said = f'{found} against {chance:.3f} for the best constant answer, on {len(labels)} samples'
    assert found.mean > chance + margin and found.lo > chance, said
    return found

def learns(p, pairs, margin=MARGIN): return beats_chance(p.predict(pairs, COMP) == pairs.labels, pairs.labels, margin)

def longer(n, lr=3e-3): return TrainConfig(epochs=n, batch=16, lr=lr)

SMALL = Config(pretrain=longer(6), head=longer(12), adapt=longer(12, 1e-3), auxiliary=longer(6), target=longer(10),
               tau=0.4, monitor_every=10, visits=200, width=8, blocks=1)
LONGER = dict(CycIT=dict(visits=1000, width=16)) # choices of rows that need more

@pytest.fixture
def small(monkeypatch):
    "Small networks in the place of both architectures; CycleGAN at five times its rate, since it is shown few images"
    monkeypatch.setattr(sar, 'ImageConfig', partial(sar.ImageConfig, lr=1e-3))
    entry = small_net.SMALL
    with mock.patch.dict(models.BACKBONES, resnet50=entry, googlenet=entry): yield

@pytest.fixture(scope='module')
def store(tmp_path_factory): return Store(tmp_path_factory.mktemp('store'))

@pytest.mark.parametrize('name', METHODS)
def test_every_row_beats_chance(name, small, task, store):
    p = METHODS[name](task, replace(SMALL, **LONGER.get(name, {})), store, COMP)
    print(name, learns(p, task.test, LESS.get(name, MARGIN)))

def test_all_three_teachers_beat_chance(small, task, store):
    for name,f in teachers(task, SMALL, store, COMP).items(): print(name, learns(f, task.test))

REAL = Config(pretrain=longer(4, 1e-3), head=longer(3, 1e-3), adapt=longer(12, 1e-3), auxiliary=longer(9, 1e-3),
              target=longer(10, 1e-3), tau=0.4, monitor_every=10)

def test_the_papers_networks_beat_chance(task, tmp_path):
    "ResNet-50 and GoogLeNet: f_S, both auxiliaries of F1, and F2"
    store = Store(tmp_path)
    networks = *teachers(task, REAL, store, COMP).values(),irm_transfer(task, REAL, store, COMP)
    assert [f.arch for f in networks] == ['googlenet','googlenet','resnet50','googlenet']
    for f in networks: print(f.arch, '+'.join(f.names), learns(f, task.test))

# What is misaligned by one sample fails the same check.

def rolled(a): return np.roll(a, 1, 0)

def with_train(task, train): return Task(task.source, train, task.test, task.labelled, task.seed)

def moved(pairs, **changed):
    "The same pairs with some arrays changed"
    a = dict(opt=pairs.opt, sar=pairs.sar, labels=pairs.labels) | changed
    return PairedScenes(**a, classes=pairs.classes, ids=pairs.ids)

def no_better_than_chance(p, pairs):
    with pytest.raises(AssertionError, match='best constant answer'): learns(p, pairs)

def test_rolled_predictions_are_chance(small, task, store):
    p = METHODS['Oracle'](task, SMALL, store, COMP)
    right = rolled(p.predict(task.test, COMP)) == task.test.labels
    with pytest.raises(AssertionError, match='best constant answer'): beats_chance(right, task.test.labels)

def test_rolled_test_labels_are_chance(small, task, store):
    no_better_than_chance(METHODS['Ours'](task, SMALL, store, COMP), moved(task.test, labels=rolled(task.test.labels)))

def test_rolled_radar_is_chance_to_what_sees_radar_alone(small, task, store):
    p = METHODS['Finetune (SAR only)'](task, SMALL, store, COMP)
    no_better_than_chance(p, moved(task.test, sar=rolled(task.test.sar)))

def test_labels_that_moved_along_L_teach_nothing(small, task, tmp_path):
    "Each labelled sample gets the label of the one before it"
    labels = task.train.labels.copy()
    labels[task.labelled] = rolled(labels[task.labelled])
    p = METHODS['SL'](with_train(task, moved(task.train, labels=labels)), SMALL, Store(tmp_path), COMP)
    no_better_than_chance(p, task.test)

@pytest.mark.parametrize('name', ['KDHN','Ours','without IRM'])
def test_teachers_that_answer_one_sample_late_teach_nothing(name, small, task, tmp_path, monkeypatch):
    plain = Predictor.logits
    def late(self, pairs, comp=None, missing='error'): return torch.roll(plain(self, pairs, comp, missing), 1, 0)
    with monkeypatch.context() as m:
        m.setattr(Predictor, 'logits', late)
        p = METHODS[name](task, SMALL, Store(tmp_path), COMP)
    no_better_than_chance(p, task.test)

# Where order could be lost, it isn't.

def test_answers_follow_the_samples(small, task, store):
    "A set in another order, or in part, gets the same logits in that order"
    p = METHODS['Ours'](task, SMALL, store, COMP)
    z = p.logits(task.test, COMP)
    order = np.random.default_rng(0).permutation(len(task.test))
    for rows in (order, order[:7], [5]):
        torch.testing.assert_close(p.logits(task.test.subset(rows), COMP), z[rows], rtol=1e-4, atol=1e-4)

def test_kept_logits_are_those_of_the_network(small, task, store):
    "Computed, taken out of the store, and asked for anew"
    for f in teachers(task, SMALL, store, COMP).values():
        live = f.logits(task.train, COMP)
        for _ in range(2): assert torch.equal(cached_logits(f, task.train, store, COMP), live)

def test_answers_of_a_grid_are_in_the_order_of_its_test_set(small, tmp_path):
    cell = Cell(method='SL', samples=120, per_class=1, choices=dict(epochs=1))
    store = Store(tmp_path/'store')
    run([cell], store, out=tmp_path/'out', comp=COMP)
    a = answers(tmp_path/'out', cell)
    t = cell.task()
    assert a.id.tolist() == list(t.test.ids) and a.label.tolist() == t.test.labels.tolist()
    p = METHODS['SL'](t, cell.config, store, COMP)
    assert a.predicted.tolist() == p.predict(t.test, COMP).tolist()
    assert evaluate(p, t.test, COMP)['all'].oa == (a.label == a.predicted).mean()
