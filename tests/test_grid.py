"""A grid that is killed again and again, or run by two processes, ends in the table of one that was left alone."""
import json, multiprocessing, random, subprocess, sys, time
import pandas as pd, pytest
from pandas.testing import assert_frame_equal

from conftest import SMALL_NETS, command, environment, kill_when

SMALL = '--methods sl ours without-irm --seeds 1 --samples 120 --per-class 1 --device cpu --precision float32'
GRID = ['grid', 'demo', *map(str, SMALL_NETS), 'epochs=2', 'tau=0.1', *SMALL.split()]
COST = ['started','seconds','trained_s','built','peak_mb'] # of a run; all else is about the networks
CHANGES = 4 # at most, from a start to a kill

# A server that has imported the libraries forks a process for each run: kills meet a grid at work, not its imports.
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
    patterns = 'store/*.safetensors','store/work/**/checkpoint.safetensors','out/cells/*.json'
    for p in [p for pattern in patterns for p in folder.glob(pattern)]:
        if p.name.startswith('.'): continue # being written
        try: found.add((p, p.stat().st_mtime_ns))
        except FileNotFoundError: pass # renamed meanwhile
    return found

def after(folder, changes, wait):
    "The moment `wait` seconds after so many more have been kept"
    seen = files(folder)
    left = changes
    until = None
    def moment():
        nonlocal seen, left, until
        now = files(folder)
        if now != seen:
            seen = now
            left -= 1
        if left <= 0 and until is None: until = time.time() + wait
        return until is not None and time.time() >= until
    return moment

def table(folder):
    t = pd.read_csv(folder/'out'/'results.csv')
    return t.sort_values('key', ignore_index=True).drop(columns=COST)

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
    broken = tmp_path/'broken'
    rng = random.Random(0)
    met = []
    broken.mkdir()
    for _ in range(10):
        moment = after(broken, rng.randint(1, CHANGES), rng.uniform(0, 0.5))
        if kill_when(moment, start(broken)): met.append(stages(broken))
    varied = len(met) >= 5 and len(set(met)) >= 4 # before the end, and in different places
    assert varied, (met, (broken/'log').read_text())
    finish(broken)
    same(broken, whole)

@linux
def test_two_processes(whole, tmp_path):
    two = command(*GRID, '--workers', 2, '--store', tmp_path/'store', '--out', tmp_path/'out')
    done = subprocess.run(two, text=True, capture_output=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr
    same(tmp_path, whole)

# The folder of results, with made-up answers in place of trainings.

def made_up(cell, store=None, comp=None):
    import numpy as np
    from irm_nb import experiments as e
    n = 12
    rng = np.random.default_rng(cell.seed)
    label = np.arange(n) % 3
    predicted = rng.integers(0, 3, n)
    cover = np.full(n, .5, np.float32)
    said = dict(label=label, predicted=predicted, cloudy=[True]*n, cover=cover, p_max=cover)
    a = pd.DataFrame(dict(id=[f's{i}' for i in range(n)], group=['g']*n, **said))
    return e.circumstances(cell) | e.scores_of(a, ['a','b','c']),a

@pytest.fixture
def folder(tmp_path, monkeypatch):
    "A function that runs four cells, and says how many of them were run"
    from irm_nb import experiments as e
    cells = e.product(method='SL', seed=range(4), samples=120)
    asked = []
    def attempt(cell, *args):
        asked.append(cell)
        return made_up(cell)
    monkeypatch.setattr(e, 'attempt', attempt)
    def go():
        asked.clear()
        e.run(cells, tmp_path/'store', out=tmp_path/'out')
        return len(asked)
    go.cells = cells
    go.out = tmp_path/'out'
    go.asked = asked
    assert go() == 4 and go() == 0
    return go

def table_of(out): return pd.read_csv(out/'results.csv')

RECORDS = dict(
    empty=lambda t: '',
    cut=lambda t: t[:100],
    zeros=lambda t: '\0'*len(t),
    list=lambda t: '[]',
    pairs=lambda t: '[["key", 1]]',
    number=lambda t: '3',
    deep=lambda t: '['*100_000,
    text_score=lambda t: t.replace('"OA": ', '"OA": "x", "OB": '),
    another=lambda t: t.replace('"key": "', '"key": "f'),
    no_score=lambda t: t.replace('"OA"', '"OB"'),
    other_config=lambda t: t.replace('"config": "', '"config": "0'),
    recall=lambda t: t.replace('"recall": {', '"recall": [], "x": {'),
    number_method=lambda t: t.replace('"method": "SL"', '"method": 3'))

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', RECORDS)
def test_damaged_record(folder, kind):
    "Its cell is run again, and no other"
    f = folder.out/'cells'/f'{folder.cells[1].key}.json'
    whole = f.read_text()
    before = table_of(folder.out).drop(columns='started')
    f.write_text(RECORDS[kind](whole))
    assert folder() == 1 and folder.asked == [folder.cells[1]]
    assert_frame_equal(table_of(folder.out).drop(columns='started'), before)

def npz(columns):
    import io, numpy as np
    b = io.BytesIO()
    np.savez(b, **columns)
    return b.getvalue()

def without(c, k): return {n:v for n,v in c.items() if n != k}

ANSWERS = dict( # of the file's bytes and of its columns
    missing=lambda b,c: None,
    empty=lambda b,c: b'',
    cut=lambda b,c: b[:len(b)//2],
    zeros=lambda b,c: b'\0'*len(b),
    text=lambda b,c: b'no archive',
    shorter=lambda b,c: npz({k:v[:-1] for k,v in c.items()}),
    uneven=lambda b,c: npz({**c, 'label':c['label'][:-1]}),
    pickled=lambda b,c: npz({**c, 'id':c['id'].astype(object)}),
    no_column=lambda b,c: npz(without(c, 'cover')),
    wrong_kind=lambda b,c: npz({**c, 'label':c['label'].astype(str)}),
    flipped=lambda b,c: b[:200] + bytes([b[200] ^ 255]) + b[201:],
    square=lambda b,c: npz({**c, 'label':c['label'].reshape(3, 4)}),
    another_cell=lambda b,c: npz({**c, 'predicted':(c['label'] + 1) % 3}))

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('kind', ANSWERS)
def test_damaged_answers(folder, kind):
    import numpy as np
    from irm_nb.experiments import UnreadableFile, answers
    cell = folder.cells[2]
    f = folder.out/'answers'/f'{cell.key}.npz'
    with np.load(f) as z: columns = dict(z)
    spoilt = ANSWERS[kind](f.read_bytes(), columns)
    f.unlink() if spoilt is None else f.write_bytes(spoilt)
    if kind not in ('shorter','another_cell'):
        with pytest.raises(UnreadableFile, match=f.name): answers(folder.out, cell)
    assert folder() == 1 and folder.asked == [cell] and len(answers(folder.out, cell)) == 12

@pytest.mark.parametrize('what', ['answers','cells','results.csv'])
def test_full_disk_ends_the_run(folder, what, monkeypatch):
    "The cell at which it was met is not counted, the others stay, and no further one is tried"
    import errno, shutil
    from irm_nb import experiments as e
    shutil.rmtree(folder.out)
    real = e.atomic_file
    def full(path):
        if len(folder.asked) == 3 and what in str(path):
            raise e.OutputError(path, 'No space left on device', 'room', 'Make some.')
        return real(path)
    def write_json(path, record):
        with full(path) as f: f.write_text(json.dumps(record))
    monkeypatch.setattr(e, 'atomic_file', full)
    monkeypatch.setattr(e, 'write_json', write_json)
    with pytest.raises(e.OutputError, match='No space left'): folder()
    assert len(folder.asked) == 3
    kept = len(e.read_records(folder.out))
    assert kept == (3 if what == 'results.csv' else 2) and len(table_of(folder.out)) == 2
    monkeypatch.setattr(e, 'atomic_file', real)
    assert folder() == 4 - kept and len(table_of(folder.out)) == 4
    assert e.no_room(OSError(errno.ENOSPC, 'full')) and not e.no_room(ValueError())

def test_full_store_ends_the_run(folder, monkeypatch, tmp_path):
    from irm_nb import experiments as e
    asked = []
    def measure(cell, store, comp):
        asked.append(cell)
        raise e.OutputError(tmp_path/'store', 'No space left on device', 'room', 'Make some.')
    monkeypatch.undo()
    monkeypatch.setattr(e, 'measure', measure)
    comp = e.Compute('cpu', 'float32')
    with pytest.raises(e.OutputError, match='No space left'):
        e.run(folder.cells, tmp_path/'store', out=tmp_path/'new', comp=comp)
    assert len(asked) == 1 and e.read_records(tmp_path/'new') == {}

@pytest.mark.parametrize('text', ['name,score\na,1\n', 'row,subset,n,OA\n', '\0\1\2', '"', 'a'*10_000])
def test_a_table_of_others_is_kept(folder, text):
    from irm_nb import experiments as e
    (folder.out/'results.csv').write_text(text)
    with pytest.raises(e.OutputError, match='table of something else'): folder()
    assert (folder.out/'results.csv').read_text() == text and folder.asked == []

def test_files_of_others_beside_the_records(folder):
    others = [folder.out/n for n in ('notes.txt','cells/notes.txt','answers/notes.npz','errors/mine')]
    for f in others:
        f.parent.mkdir(exist_ok=True)
        f.write_text('mine')
    assert folder() == 0 and all(f.read_text() == 'mine' for f in others)
