import os, signal, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))

SMALL_NETS = ['--use', ROOT/'tests'/'small_net.py', '--set', *(f'{role}_arch=small' for role in ('source','auxiliary','target'))]

def command(*args): return [sys.executable, '-c', 'import sys; from irm_nb.cli import main; sys.exit(main())', *map(str, args)]
def environment(**more):
    "This one without its IRM_NB_ variables, on the CPU"
    return {k: v for k,v in os.environ.items() if not k.startswith('IRM_NB_')} | dict(PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES='') | more

def kill_when(moment, p, timeout=300):
    "SIGKILL a process (of subprocess or multiprocessing) as soon as `moment()` holds; False when it ended before"
    alive,wait = (p.is_alive, p.join) if hasattr(p, 'is_alive') else (lambda: p.poll() is None, p.communicate)
    end = time.time() + timeout
    while alive() and not moment():
        assert time.time() < end, 'the moment never came'
        time.sleep(0.005)
    p.kill()
    wait()
    return (p.exitcode if hasattr(p, 'exitcode') else p.returncode) == -signal.SIGKILL
