"""A grid that is killed again and again, or run by two processes, ends in the table of one that was left alone."""
import multiprocessing, random, subprocess, sys, time
import pandas as pd, pytest
from pandas.testing import assert_frame_equal

from conftest import command, environment, kill_when

GRID = 'grid demo --methods sl ours without-irm --seeds 1 --samples 120 --per-class 1 --set epochs=2 tau=0.1 --device cpu --precision float32'.split()
COST = ['started','seconds','trained_s','built','peak_mb'] # of a run; all else is about the networks
CHANGES = 4 # at most, from a start to a kill

# A server that has imported the libraries forks a process for each run: kills meet a grid at work, not an interpreter at its imports.
forks = multiprocessing.get_context('forkserver') if 'forkserver' in multiprocessing.get_all_start_methods() else None
linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs SIGKILL, and a fork that torch survives')

def job(folder):
    import torch
    from irm_nb.cli import main
    torch.set_num_threads(1) # as many as dask gives
    sys.stdout = sys.stderr = open(folder/'log', 'a', buffering=1)
    sys.exit(main([*GRID, '--store', str(folder/'store'), '--out', str(folder/'out')]))

@pytest.fixture(scope='module', autouse=True)
def server():
    if forks: forks.set_forkserver_preload(['irm_nb.cli','irm_nb.experiments','sklearn.model_selection'])

def start(folder):
    folder.mkdir(exist_ok=True)
    p = forks.Process(target=job, args=(folder,))
    p.start()
    return p

def finish(folder):
    p = start(folder)
    p.join(300)
    assert p.exitcode == 0, (folder/'log').read_text()

def stages(folder): return frozenset(p.name for p in (folder/'store').glob('*.safetensors'))

def files(folder):
    "Names and times of what has been kept: checkpoints, stages, records"
    found = set()
    for p in (*folder.glob('store/*.safetensors'), *folder.glob('store/work/**/checkpoint.safetensors'), *folder.glob('out/cells/*.json')):
        if p.name.startswith('.'): continue # being written
        try: found.add((p, p.stat().st_mtime_ns))
        except FileNotFoundError: pass # renamed meanwhile
    return found

def after(folder, changes, wait):
    "The moment `wait` seconds after so many more have been kept"
    seen,left,until = files(folder),changes,None
    def moment():
        nonlocal seen, left, until
        now = files(folder)
        if now != seen: seen,left = now,left - 1
        if left <= 0 and until is None: until = time.time() + wait
        return until is not None and time.time() >= until
    return moment

def table(folder): return pd.read_csv(folder/'out'/'results.csv').sort_values('key', ignore_index=True).drop(columns=COST)

def same(a, b):
    "Equal to the last digit: all about the networks, and the answer to every test pair"
    from irm_nb.experiments import answers
    assert_frame_equal(table(a), table(b), check_exact=True)
    for key in table(a).key: assert_frame_equal(answers(a/'out', key), answers(b/'out', key), check_exact=True)

@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    "The grid in one piece"
    folder = tmp_path_factory.mktemp('whole')
    finish(folder)
    assert len(table(folder)) == 3 and table(folder).error.isna().all()
    return folder

@linux
def test_killed_at_ten_random_moments(whole, tmp_path):
    broken,rng,met = tmp_path/'broken',random.Random(0),[]
    broken.mkdir()
    for _ in range(10):
        moment = after(broken, rng.randint(1, CHANGES), rng.uniform(0, 0.5))
        if kill_when(moment, start(broken)): met.append(stages(broken))
    assert len(met) >= 5 and len(set(met)) >= 4, (met, (broken/'log').read_text()) # before the end, and in different places
    finish(broken)
    same(broken, whole)

@linux
def test_two_processes(whole, tmp_path):
    done = subprocess.run(command(*GRID, '--workers', 2, '--store', tmp_path/'store', '--out', tmp_path/'out'), text=True, capture_output=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr
    same(tmp_path, whole)
