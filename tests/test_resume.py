"""A job killed again and again ends in the same bits as one that was left alone."""
import signal
import subprocess
import pytest

from conftest import SMALL_NETS, command, environment, kill_when

EPOCHS = 'pretrain.epochs=20 head.epochs=2 adapt.epochs=2 auxiliary.epochs=20 target.epochs=20 tau=0.1'
SIZE = '--samples 120 --per-class 1 --methods ours --device cpu --precision float32'
JOB = ['train', *SMALL_NETS, *EPOCHS.split(), *SIZE.split()]

# Moments at which to kill, in the order in which a run meets them. Kept logits mark the end of the stage before them.
def kept_logits(store): return len(list(store.glob('logits-*.safetensors')))
def checkpoint(store):
    try: return any(store.glob('work/**/checkpoint.safetensors'))
    except FileNotFoundError: return False # a folder that went away while it was looked through
def in_f1(store): return kept_logits(store) == 1 and checkpoint(store)
def in_f2(store): return kept_logits(store) == 3 and checkpoint(store)
MOMENTS = {'f_pre between epochs': checkpoint, 'F1 between epochs': in_f1, 'F2 between epochs': in_f2}

def start(folder):
    job = command(*JOB, '--store', folder/'store', '--out', folder/'out', '--save', folder/'networks')
    return subprocess.Popen(job, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='needs SIGKILL')
def test_killed_and_resumed(tmp_path):
    whole = tmp_path/'whole'
    broken = tmp_path/'broken'
    for name,moment in MOMENTS.items():
        assert kill_when(lambda: moment(broken/'store'), start(broken)), f'not killed: {name}'
    assert not any((broken/'out'/'cells').glob('*.json'))
    for d in (broken, whole):
        p = start(d)
        _,said = p.communicate(timeout=300)
        assert p.returncode == 0, said
    saved,again = (sorted(d.glob('networks/*/*')) for d in (whole, broken))
    assert [f.name for f in saved] == ['card.md','predictor.json','weights.safetensors']
    for a,b in zip(saved, again, strict=True): assert a.read_bytes() == b.read_bytes(), a
    assert not any((broken/'store'/'work').iterdir())
