"""A job killed again and again ends in the same bits as one that was left alone."""
import signal, subprocess
import pytest

from conftest import command, environment, kill_when

JOB = 'train --samples 120 --per-class 1 --epochs 2 --tau 0.1 --rows ours --device cpu --precision float32'.split()

# Moments at which to kill, in the order in which a run meets them. A bank of logits marks the end of the stage before it.
def banks(store): return len(list(store.glob('logits-*.safetensors')))
def checkpoint(store): return any(store.glob('work/*/checkpoint.safetensors'))
MOMENTS = {'f_pre between epochs': checkpoint, 'F1 between epochs': lambda s: banks(s) == 1 and checkpoint(s), 'F2 between epochs': lambda s: banks(s) == 3 and checkpoint(s)}

def start(store, out): return subprocess.Popen(command(*JOB, '--store', store, '--out', out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='needs SIGKILL')
def test_killed_and_resumed(tmp_path):
    whole,broken = tmp_path/'whole',tmp_path/'broken'
    for name,moment in MOMENTS.items(): assert kill_when(lambda: moment(broken/'store'), start(broken/'store', broken/'out')), f'not killed: {name}'
    assert not (broken/'out'/'results.csv').exists()
    for d in (broken, whole):
        p = start(d/'store', d/'out')
        _,said = p.communicate(timeout=300)
        assert p.returncode == 0, said
    for f in ('results.csv', 'predictors/ours-0/weights.safetensors', 'predictors/ours-0/predictor.json'): assert (whole/'out'/f).read_bytes() == (broken/'out'/f).read_bytes(), f
    assert not any((broken/'store'/'work').iterdir())
