"""One training in several processes, or in several parts, is the same training."""
import os, signal, subprocess, sys, time
from pathlib import Path

import pytest
import torch

import in_processes
from conftest import SMALL_NETS, environment
from irm_nb.core import compute
from irm_nb.store import Store, load_tensors
from irm_nb.train import Batch

posix = pytest.mark.skipif(os.name != 'posix', reason='torchrun with gloo, and signals')

def torchrun(n, *args):
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={n}']
    env = environment(OMP_NUM_THREADS='1')
    heard = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([*run, *map(str, args)], env=env, **heard)

def ended(p, timeout=240):
    try: out,err = p.communicate(timeout=timeout)
    finally: p.kill()
    return p.returncode,out,err

def apart(a, b): # of what was asked: the largest difference, by name
    assert set(a) == set(b)
    return {k:float((a[k].double() - b[k].double()).abs().max()) for k in a}

@pytest.fixture(scope='module')
def alone(): return in_processes.answers(compute('cpu', 'float32'))

def alive(pid): # and not merely unburied
    said = subprocess.run(['ps', '-o', 'stat=', '-p', str(pid)], capture_output=True, text=True).stdout
    return said.strip()[:1] not in ('', 'Z')

@posix
def test_two_processes_are_one(alone, tmp_path):
    code,_,said = ended(torchrun(2, Path(in_processes.__file__), tmp_path))
    assert code == 0, said
    first,second = (load_tensors(tmp_path/f'answers-{r}.safetensors')[0] for r in range(2))
    assert max(apart(first, second).values()) == 0 # both hold the same network, to the bit
    assert max(apart(first, alone).values()) < 1e-5
    moved = {k for k in alone if k.endswith('-loss') and alone[k].std() > 1e-3}
    assert len(moved) == len(in_processes.ASKED) # something was learned

@pytest.mark.parametrize('net,loss', [('plain','hard'), ('plain','batch'), ('plain','sample'), ('frozen','batch')])
def test_parts_are_the_whole(net, loss):
    comp = compute('cpu', 'float32')
    s = in_processes.images()
    (losses,weights,logs),*others = [in_processes.trained(s, net, loss, comp, accumulate=k) for k in (1,2,4)]
    for again,state,said in others:
        torch.testing.assert_close(again, losses, atol=1e-5, rtol=1e-5)
        assert max(apart(state, weights).values()) < 1e-5
        for a,b in zip(said, logs): assert a == pytest.approx(b, rel=1e-5)

def test_the_weights_of_a_batch_are_not_those_of_its_parts():
    "What the test above would miss if every part had the same ρ"
    s = in_processes.images()
    loss = in_processes.LOSSES['batch'](s).on('cpu')
    whole = Batch(torch.arange(16), torch.zeros(16,3,16,16), 16, comp=compute('cpu', 'float32'))
    z = torch.randn(16, in_processes.K)
    total,_ = loss(z, whole)
    of_parts = sum(loss(p.own(z), p)[0]*p.part.share for p in whole.parts(4))
    naive = sum(loss(z[i:i + 4], Batch(torch.arange(i, i + 4)))[0]/4 for i in range(0, 16, 4))
    torch.testing.assert_close(of_parts, total)
    assert abs(naive - total) > 1e-4

@posix
@pytest.mark.parametrize('sig,target', [(signal.SIGKILL,'worker'), (signal.SIGTERM,'torchrun'), (signal.SIGKILL,'torchrun')])
def test_killed_leaves_nobody(tmp_path, sig, target):
    p = torchrun(2, Path(in_processes.__file__), tmp_path, 'forever')
    end = time.time() + 120
    while len(list(tmp_path.glob('pid-*'))) < 2:
        assert time.time() < end and p.poll() is None, p.communicate()
        time.sleep(0.1)
    time.sleep(2)
    pids = [int(f.read_text()) for f in tmp_path.glob('pid-*')]
    os.kill(pids[1] if target == 'worker' else p.pid, sig)
    code,_,_ = ended(p, 90)
    assert code != 0
    while left := [pid for pid in pids if alive(pid)]:
        assert time.time() < end + 60, left
        time.sleep(0.2)

@posix
def test_the_command_in_two_processes(tmp_path):
    "`irm_run train` under torchrun: one writes, a loss that doesn't divide (pair encoders) is trained all the same"
    script = tmp_path/'irm.py'
    script.write_text('import sys; from irm_nb.cli import main; sys.exit(main())')
    job = ['train', *SMALL_NETS, 'epochs=1', 'tau=0.1', 'batch=16', 'pairs.batch=16']
    job += '--samples 120 --per-class 1 --methods ours pair-encoders --device cpu --precision float32'.split()
    where = ['--store', tmp_path/'store', '--out', tmp_path/'out', '--save', tmp_path/'nets']
    code,out,said = ended(torchrun(2, script, *job, *where), 500)
    assert code == 0, said
    assert out.count('2 of 2 cells have a result') == 1
    assert len(list((tmp_path/'nets').glob('*/weights.safetensors'))) == 2
    store = Store(tmp_path/'store')
    assert not store.verify() and not list((tmp_path/'store'/'work').iterdir())
    code,_,said = ended(torchrun(2, script, *job[:-4], '--device', 'cuda:0', *where), 100)
    assert code != 0 and 'Leave the number out' in said
