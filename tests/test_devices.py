"""Every kind of training, and what is asked of networks after it, on a GPU that isn't there.

Tensors on 'cuda' have a shape, a type and a place, by torch's `FakeTensorMode`, and no numbers. What is proved of each
step: no tensor of the CPU meets one of the device, NumPy never reads the device, products are of one precision under
autocast, and nothing in a round waits for the device but what `KNOWN` names. What isn't: numbers, kernels that a GPU
lacks, memory, speed, several processes, what is inside a CUDA graph, and the backward pass, in whose place every
parameter that it reaches gets a gradient of its shape.
"""
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import small_net # noqa: F401, it enters a network
from irm_nb import bench, explain, train
from irm_nb.core import Compute
from irm_nb.mapping import predict_map
from irm_nb.methods.all import METHODS
from irm_nb.methods.optical import restoration, restorer
from irm_nb.methods.reliable import calibrate
from irm_nb.models import BACKBONES
from irm_nb.store import Store
from test_missing import ONE, TINY, lacking, pairs, task, under

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='the device is there: tools/gpu.sh runs on it')
GPU = Compute('cuda', 'bf16')
KNOWN = {'Pool.forward'} # which waits: it draws for each image whether an older one is shown
aten = torch.ops.aten
PRODUCTS = aten.convolution.default,aten.mm.default,aten.addmm.default,aten.bmm.default # of one precision, on a GPU

def _is_there(t): return isinstance(t, FakeTensor)

def _caller(): # the library's function that is at work
    f = sys._getframe(1)
    while f and f.f_globals.get('__name__', '').split('.')[0] != 'irm_nb': f = f.f_back
    return f.f_code.co_qualname if f else 'elsewhere'

class Away(TorchDispatchMode):
    "What has to do with the device is done without numbers, everything else as always"
    def __init__(self):
        super().__init__()
        self.fake = FakeTensorMode(allow_non_fake_inputs=True)
        with self.fake: pass # once entered, torch asks no driver about 'cuda'
        self.waits = Counter()
        self.in_round = False
    def wait(self):
        if self.in_round: self.waits[_caller()] += 1
    def empty(self, *shape):
        with self.fake: return torch.empty(shape, dtype=torch.long, device='cuda')
    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        fed = any(map(_is_there, tree_leaves((args, kwargs))))
        if not fed and torch.device(kwargs.get('device') or 'cpu').type == 'cpu': return f(*args, **kwargs)
        if f is aten._local_scalar_dense.default: return self.number(args[0])
        if f is aten.nonzero.default: return self.rows_of(args[0])
        if f is aten._to_copy.default and not fed and not kwargs.get('non_blocking'): self.wait()
        if f in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default): args = self.indexed(*args)
        if f in PRODUCTS: assert len({t.dtype for t in args if torch.is_tensor(t)}) == 1, f'{f} of two precisions'
        with self.fake: out = f(*args, **kwargs)
        return tree_map(self.back, out)
    def number(self, t): # False, or 1
        self.wait()
        return t.dtype != torch.bool
    def rows_of(self, mask): # none
        self.wait()
        return self.empty(0, mask.ndim)
    def indexed(self, x, at, *rest):
        "A mask on the device asks it for rows, but where a number is put; indices on the CPU are sent, and waited for"
        fills = rest and not _is_there(rest[0]) and rest[0].numel() == 1 and sum(i is not None for i in at) == 1
        masks = [i is not None and i.dtype == torch.bool for i in at]
        if any(i is not None and not _is_there(i) for i in at) or any(masks) and not fills: self.wait()
        return x,[self.empty(0) if m and not fills else i for m,i in zip(masks, at)],*rest
    def back(self, t): # what came to the CPU has numbers
        if not _is_there(t) or t.device.type != 'cpu': return t
        self.wait()
        return torch.zeros(t.shape, dtype=t.dtype)

def _trained_by(loss): # parameters
    todo,seen = [loss.grad_fn],set()
    while todo:
        f = todo.pop()
        if f is None or f in seen: continue
        seen.add(f)
        if hasattr(f, 'variable'): yield f.variable
        todo += [g for g,_ in f.next_functions]

def _backward(loss, as_ever=torch.Tensor.backward): # autograd asks a driver for streams
    if not _is_there(loss): return as_ever(loss)
    assert loss.device.type == 'cuda' and not loss.ndim and loss.dtype == torch.float32
    for p in _trained_by(loss):
        g = torch.empty_like(p).detach()
        for hook in (p._backward_hooks or {}).values(): g = hook(g)
        assert g.shape == p.shape and g.device == p.device
        p.grad = g

def _apply(m, f, recurse=True, as_ever=nn.Module._apply): # what is there stays there: torch can't move it twice
    for child in m.children(): child._apply(f)
    own = [p for p in m._parameters.values() if p is not None]
    return m if own and all(map(_is_there, own)) else as_ever(m, f, False)

def _one_after_the_other(f, items): return map(f, items) # a thread of its own is not under the mode

def _watched(mode, at_work, f):
    def call(*args):
        before,mode.in_round = mode.in_round,at_work
        try: return f(*args)
        finally: mode.in_round = before
    return call

@pytest.fixture
def away():
    mode = Away()
    changed = {'torch.cuda._lazy_init':lambda: None, 'torch.cuda.current_device':lambda: 0,
               'torch.cuda.get_device_name':lambda device: 'none', 'torch.cuda.mem_get_info':lambda device: (64<<30,)*2,
               'torch.cuda.is_bf16_supported':lambda **kw: True,
               'torch.cuda.amp.common.amp_definitely_not_available':lambda: False,
               'torch.Tensor.backward':_backward, 'torch.nn.Module._apply':_apply,
               'irm_nb.train._round':_watched(mode, True, train._round), 'irm_nb.patches.ahead':_one_after_the_other,
               'irm_nb.train._means':_watched(mode, False, train._means)} # once a round, the numbers come back
    with ExitStack() as stack:
        for name,f in changed.items(): stack.enter_context(mock.patch(name, f))
        stack.enter_context(mock.patch.dict('os.environ', IRM_NB_GRAPHS='0'))
        torch._C._set_only_lift_cpu_tensors(True) # lists become tensors on the device as NumPy's arrays do
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        yield stack.enter_context(mode)

@pytest.fixture(scope='module')
def store(tmp_path_factory): return Store(tmp_path_factory.mktemp('store'))

TASK = task(under(pairs()))
TRAININGS = 'pretrain','head','adapt','auxiliary','target','pairs'
CFG = replace(TINY, visits=4, **dict.fromkeys(TRAININGS, replace(ONE, batch=24))) # one step of most trainings
IN_PARTS = replace(CFG, **dict.fromkeys(('pretrain','auxiliary','target'), replace(ONE, batch=24, accumulate=2)))
LACKING = task(lacking(under(pairs()), 'opt'))
SCENES = task(replace(under(pairs()), groups=[str(i//4) for i in range(24)])) # four places in each

STEPS = 'Ours','entropy weights','live teachers','OGM-GE','GDL','KD-S','TLF','DSAN','SPL','CycIT'
DRAWN = 'CloudWise','CloudWise, overcast skies','Dawid-Skene','IRM on trust'
CASES = {k:(k, TASK, CFG) for k in (*STEPS, *DRAWN)}
CASES |= {f'{k}, some without a view':(k, LACKING, CFG) for k in ('live teachers','CloudWise')}
CASES |= {f'{k} in parts':(k, TASK, IN_PARTS) for k in ('Ours','GDL')}
LOSSES = 'vicreg','barlow','predict','near'
CASES |= {f'pairs by {k}':('Pair encoders', SCENES, replace(CFG, pairs_loss=k)) for k in LOSSES}
CASES['encoders from the source'] = 'Pair encoders',TASK,replace(CFG, pairs_from_source=True)

@pytest.mark.parametrize('case', CASES)
def test_trains(case, away, store):
    row,of,cfg = CASES[case]
    p = METHODS[row](of, cfg, store, GPU)
    assert set(away.waits) <= KNOWN, away.waits
    assert p.logits(under(pairs(8, seed=1)), GPU).shape == (8, 2)

@pytest.fixture(scope='module')
def p():
    state = BACKBONES['small'].new(2, 6).state_dict()
    return replace(bench.untrained_target(), arch='small', classes=('a','b'), state=state, size=(32,32))

@pytest.mark.parametrize('how', [{}, dict(decided=False), dict(views=True)])
def test_maps(how, away, p, store, tmp_path):
    files = bench.noise_scene(tmp_path, 96)
    m = predict_map(p, files, tmp_path/'map.tif', store=store, comp=GPU, progress=False, **how)
    assert m.read('class').shape == (96, 96)

def test_is_explained(away, store):
    p = METHODS['SL'](TASK, CFG, store, GPU)
    s = under(pairs(8, seed=1))
    assert explain.coalitions(p, s, comp=GPU)[0].shape == (8, 4, 2)
    assert len(explain.shapley(p, s, comp=GPU)) == 8
    assert explain.features(p, s, comp=GPU).shape == (8, 32)

def test_temperature_and_restored_images(away, store):
    p = METHODS['SL'](TASK, CFG, store, GPU)
    assert calibrate(p, 'SL', TASK, CFG, store, GPU, folds=2, skies=1).temperature > 0
    assert set(restoration(restorer(TASK, CFG, store, GPU), TASK.seen_by_source, GPU)) >= {'cloudy','restored'}

def test_a_training_goes_on(away, tmp_path):
    "A checkpoint is read on the CPU; moments, the optimiser's steps and weights come to the device"
    m = BACKBONES['small'].new(2, 3)
    step = train.Student(m, lambda logits, batch: logits.square().mean())
    one = under(pairs()).select('opt')
    data = train.Epochs(train.Batches(one, dict(mean=[.5]*3, std=[.2]*3), GPU), range(24), replace(ONE, epochs=2))
    assert len(train.fit(step, data, 'goes on', tmp_path)) == 2
    data.rounds = 3
    assert len(train.fit(train.Student(BACKBONES['small'].new(2, 3), step.loss), data, 'goes on', tmp_path)) == 3

def test_a_network_is_recorded_on_its_own_device():
    "Captured on another than its own, a graph is empty, and torch only warns"
    m = BACKBONES['small'].new(2, 3)
    m.forward = recorded = train.Recorded(m, Compute('cuda:1', 'float32'))
    names = 'device','make_graphed_callables','get_rng_state','set_rng_state','get_sync_debug_mode','set_sync_debug_mode'
    with ExitStack() as stack:
        device,capture,*_ = (stack.enter_context(mock.patch(f'torch.cuda.{k}')) for k in names)
        inside = device.return_value
        capture.side_effect = lambda *a: [inside.__enter__.assert_called_once(), inside.__exit__.assert_not_called()]
        recorded.record(torch.zeros(2, 3, 32, 32))
    device.assert_called_once_with('cuda:1')

def test_what_would_fail(away):
    "A tensor of the CPU beside one of the device, NumPy, another precision; and what waits is seen"
    x = torch.ones(3, 4).to('cuda')
    with pytest.raises(RuntimeError, match='device'): x + torch.ones(4)
    with pytest.raises(RuntimeError, match='numpy'): x.numpy()
    with pytest.raises(AssertionError, match='two precisions'): x@x.bfloat16().T
    away.in_round = True
    some = x[torch.tensor([0]).to('cuda', non_blocking=True)]
    some[(some > 0)[:,0]] = 1
    assert not away.waits
    asked = lambda: float(x.sum()),lambda: x[x[:,0] > 0],x.cpu
    sent = lambda: x[torch.tensor([0])],lambda: torch.ones(3).to('cuda')
    for f in (*asked, *sent):
        before = away.waits.total()
        f()
        assert away.waits.total() > before
    assert isinstance(np.asarray(x.cpu()), np.ndarray)
