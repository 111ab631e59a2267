"""The console script, from a shell: help, bad input in one line, interrupts, closed pipes, the store, tiny jobs."""
import csv, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

from conftest import ROOT, SMALL_NETS, command, environment

TINY = ['train', *SMALL_NETS, *'epochs=1 tau=0.1 --samples 120 --per-class 1 --methods ours'.split()]
TINY += '--target world?bands=RGBN&height=true --device cpu --precision float32'.split()
COMMANDS = 'train','grid','predict','map','describe','zoo','report','store','bench'
linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')

def irm_run(*args, **env):
    return subprocess.run(command(*args), text=True, capture_output=True, env=environment(**env), timeout=500)

@pytest.mark.parametrize('args', [['--help'], *([c, '--help'] for c in COMMANDS)])
def test_help(args):
    done = irm_run(*args)
    assert done.returncode == 0 and (f'irm_run {args[0]}' if args[1:] else 'irm_run train') in done.stdout
    assert not done.stderr

def test_help_names_only_what_works():
    said = irm_run('--help').stdout
    assert all(f'irm_run {c}' in said for c in COMMANDS)

def test_help_and_version_need_no_heavy_import():
    code = '''
import sys
from irm_nb.cli import main
for a in ["train","--help"], ["--version"], ["train","--scheduler","nowhere"]: main(a)
print(sorted({"torch","numpy","pandas","rasterio"} & set(sys.modules)))
'''
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == '[]' and done.stdout.splitlines()[-2].startswith('irm_nb ')

# What is wrong with a command line: in one line, with exit code 2, before anything is trained. {d}: the test's folder.
BAD = [line.rsplit('  # ', 1) for line in '''
                                                   # command
    fly                                            # invalid choice
    --samples 10                                   # command
    train --sample-size 3                          # unrecognized
    train stray                                    # unrecognized
    train --samples                                # expected one argument
    train --samples many                           # whole number
    train --samples 1                              # at least 2
    train --samples 2.5                            # whole number
    train --samples 1000000000000                  # at most
    train --per-class 0                            # at least 1
    train --per-class -1                           # per_class
    train --per-class nan                          # whole number
    train --min-test 2.5                           # whole number
    train --min-train=-1                           # at least 0
    train --set epochs=0                           # at least 1
    train --set epochs=²                           # whole number
    train --set tau=nan                            # tau
    train --set tau=1.1                            # at most 1
    train --set tau=-0.1                           # tau
    train --cloud-scenario content=2               # share
    train --cloud-scenario content=0,thin=0.3      # 'clear' alone
    train --cloud-scenario cover=0.9..0.1          # lo <= hi
    train --cloud-scenario half hunan              # unrecognized
    train --target world?pols=VV                   # 'bands'
    train --target world?bands=RGBX                # R, G, B, NIR
    train --target world?height=tall               # True, False
    train --target saved:{d}                       # meta.json
    train --target pairs:{d}?groups=(              # regular expression
    train --target pairs:{d}?groups=^r             # one group
    train --target pairs:{d}?pols=VV,VV            # each once
    train --target pairs:{d}?pols=XX               # VV, VH
    train --target pairs:{d}?offset=low            # a number
    train --source scenes:{d} --target pairs:{d} --samples 30     # no cell uses
    train --source scenes:{d}                      # {d}
    train --source {d}                             # scenes:FOLDER
    train --source scenes:{d}/nowhere              # nowhere
    train --source scenes:{d}/file                 # {d}/file
    train --target pairs:{d}/nowhere               # nowhere
    train --use {d}/nowhere.py                     # nowhere.py
    train --use {d}/broken.py                      # NameError
    train --split scenes                           # 'groups'
    train --split list:                            # list:FILE
    train --preset quick                           # 'standin'
    train --methods Theirs                         # found 'Theirs'
    train --methods                                # expected at least one
    train --seeds 0                                # a count above 0
    train --seeds ²                                # a count above 0
    train --seeds 7-5                              # a count above 0
    train --seeds 1 x                              # 1 x
    train --seeds 99999999999                      # at most
    train --device tpu                             # 'cuda'
    train --device cpu:x                           # a device that is here
    train --device cuda:x                          # a device that is here
    train --device cuda:99                         # a device that is here
    train --precision float16                      # 'bf16'
    train --out {d}/file                           # choose another place
    train --out {d}/file/inside                    # choose another place
    train --out {d}/{long}                         # File name too long
    train --store {d}/file                         # IRM_NB_STORE
    grid                                           # NAME
    grid everything                                # 'repeats'
    grid demo --workers 0                          # at least 1
    grid demo --workers 2 --scheduler tcp://a:1    # not allowed with
    grid demo --scheduler tcp://127.0.0.1:9 --device cpu          # both or neither
    grid demo --methods Theirs                     # found 'Theirs'
    grid demo --cloud-scenario half grey           # 'hunan'
    grid demo --cloud-scenario content=nan         # share
    grid demo --cloud-scenario half,seed=x         # whole number
    grid demo --cloud-scenario content=0.1,content=0.2            # each name once
    grid demo --set epochs                         # NAME=VALUE
    grid demo --set epochs=0                       # at least 1
    grid demo --set batch=1                        # at least 2
    grid demo --set lr=nan                         # lr
    grid demo --set target.lr=-1                   # target.lr
    grid demo --set tau=2                          # at most 1
    grid demo --set regulation=smaple              # 'sample'
    grid demo --set regulation_options.normalise=true             # 'normalize'
    grid demo --set regulation_options.normalize=yes              # True, False
    grid demo --set target_arch=resnet5            # target_arch
    grid demo --set monitor_every=0                # at least 1
    grid demo --set optimizer=adamw                # 'sgd'
    grid demo --set head=3                         # choice
    grid demo --set epochs=1 epochs=2              # each name once
    grid demo --set source_weights={d}/nowhere.safetensors        # nowhere.safetensors
    grid demo --set target_weights={d}             # never loaded
    grid demo --folders aid={d}                    # only 'paper'
    grid paper                                     # at least one of either
    grid paper --folders aid={d} hunan_cloud={d} --source world   # named by --folders
    grid paper --folders nwpu={d}                  # 'resisc45'
    grid standin --samples 30                      # no cell uses
    grid demo --source world:{d}                   # in no folder
    grid demo --source scenes:{d}/nowhere          # nowhere
    grid demo --source scenes:{d}?size=0           # at least 1
    grid demo --target pairs                       # after a colon
    grid demo --target pairs:{d}?pols=XX           # VV, VH
    grid demo --target pairs:{d}?groups=(          # regular expression
    grid demo --target pairs:{d}?colour=red        # 'pols'
    grid demo --out {d}/file                       # choose another place
    grid demo --out {d}/theirs                     # table of something else
    store --store {d}/nowhere                      # no store
    store --store {d}/file                         # no store
    store --yes                                    # a choice
    store --older-than 30                          # a time
    store --older-than=-1d                         # a time
    store --keep plenty                            # a size
    store --keep nan                               # a size
    store --sweep --stage F1-*                     # alone
    store --yes --dry-run --stage F1-*             # one of them
    bench --rows speed                             # speed
    predict {d}/nowhere {d}                        # predictor.json
    predict {d}                                    # required
    map {d} s2={d}/file                            # required
    map {d}/nowhere s2={d}/file --out {d}/m.tif    # predictor.json
    report --results {d}/nowhere                   # no results
    report --out {d}/file                          # a folder
    report --out {d}/theirs                        # did not write
    describe                                       # FILE
    describe {d}/file                              # {d}/file
    describe {d}/nowhere.tif                       # nowhere.tif
'''.strip('\n').splitlines()]

def refused(line, word, d, capsys):
    from irm_nb.cli import main
    line,word = (t.strip().format(d=d, long='a'*300) for t in (line, word))
    args = line.split()
    if args[:1] in (['train'], ['grid']):
        for option,folder in (('--out','out'), ('--store','store')):
            if option not in args: args += [option, str(d/folder)]
    code = main(args)
    said = capsys.readouterr()
    assert code == 2 and word in said.err, (code, said)
    assert len(said.err.splitlines()) == 1 and said.err.startswith('irm_run'), said.err
    assert 'Traceback' not in said.out + said.err
    assert not list(d.glob('store/*.safetensors'))

@pytest.fixture
def place(tmp_path, monkeypatch):
    for k in ('IRM_NB_DEVICE','IRM_NB_PRECISION','IRM_NB_STORE','IRM_NB_DATA'): monkeypatch.delenv(k, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path/'file').touch()
    (tmp_path/'broken.py').write_text('nonsense\n')
    (tmp_path/'store'/'work').mkdir(parents=True)
    (tmp_path/'theirs').mkdir()
    (tmp_path/'theirs'/'results.csv').write_text('name,score\na,1\n')
    return tmp_path

@pytest.mark.parametrize('line,word', BAD, ids=[' '.join(l.split()) or 'nothing' for l,_ in BAD])
def test_bad_command_lines(line, word, place, capsys):
    refused(line, word, place, capsys)
    assert (place/'theirs'/'results.csv').read_text() == 'name,score\na,1\n'

EMPTY = ['train --out', 'train --store', 'train --source', 'train --device', 'train --split', 'train --use',
         'train --save', 'grid demo --out', 'grid demo --scheduler', 'grid demo --cloud-scenario', 'grid demo --source',
         'grid demo --set', 'grid demo --methods', 'store --store', 'store --keep', 'store --key', 'predict',
         'describe']

@pytest.mark.parametrize('line', EMPTY)
def test_empty_words(line, place, capsys):
    from irm_nb.cli import main
    code = main([*line.split(), ''])
    said = capsys.readouterr()
    assert code == 2 and len(said.err.splitlines()) == 1, said

def small_folders(d, size, classes=('A','B'), n=30):
    import numpy as np
    from PIL import Image
    for c in classes:
        for i in range(n):
            image = Image.fromarray(np.random.default_rng(i).integers(0, 256, (size, size, 3), np.uint8))
            for part in ('source', 'target/opt', 'target/sar'):
                (d/part/c).mkdir(parents=True, exist_ok=True)
                (image.convert('L') if part.endswith('sar') else image).save(d/part/c/f'{i}.png')

MISFITS = [(('A','B'), 8, '8×8'), (('A',), 64, 'two or more'), (('A','B'), 18, 'multiples of 4')]

@pytest.mark.parametrize('classes,size,word', MISFITS)
def test_images_and_classes_that_fit_no_network(classes, size, word, place, capsys):
    small_folders(place, size, classes)
    rows = 'spl' if size == 18 else 'ours'
    data = f'--source scenes:{place}/source?size={size} --target pairs:{place}/target?pols=VH&size={size}'
    for name in ('train', 'grid demo'): refused(f'{name} {data} --methods {rows}', word, place, capsys)

def test_home_is_expanded(place, monkeypatch, capsys):
    "In every path: options, domains, folders of a grid, weights"
    from irm_nb.cli import main, parser
    monkeypatch.setenv('HOME', str(place))
    args = parser().parse_args('train --out ~/c --store ~/d --save ~/e'.split())
    assert [args.out, args.store, args.save] == [str(place/c) for c in 'cde']
    lines = ['train --source scenes:~/x', 'grid demo --source scenes:~/x', 'grid demo --target pairs:~/x',
             'describe ~/x', 'grid paper --folders aid=~/x hunan_cloud=~/x', 'grid demo --set source_weights=~/x.safetensors',
             'store --store ~/x', 'predict ~/x pairs:~/y']
    for line in lines:
        run = line.startswith(('train','grid'))
        assert main([*line.split(), *(['--out', '~/out', '--store', '~/store'] if run else [])]) == 2
        assert f'{place}/x' in capsys.readouterr().err

def test_version():
    done = irm_run('--version')
    assert done.returncode == 0 and done.stdout.startswith('irm_nb ')
    assert 'python' in done.stdout and 'torch' in done.stdout

def test_reader_has_gone():
    "As in `irm_run … | head -1`: no word, and the code of a closed pipe"
    read,write = os.pipe()
    p = subprocess.Popen(command('--version'), stdout=write, stderr=subprocess.PIPE, text=True, env=environment())
    os.close(write)
    os.close(read)
    assert p.communicate(timeout=60)[1] == '' and p.returncode == 141

@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='needs /dev/full')
def test_standard_output_that_is_full():
    with open('/dev/full', 'w') as full:
        done = subprocess.run(command('grid','demo','--list'), stdout=full, stderr=subprocess.PIPE, text=True,
                              env=environment(), timeout=120)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and 'No space left' in done.stderr, done.stderr

def interrupted(p, moment):
    try: said = what_it_said(p, moment)
    finally:
        if p.poll() is None: os.killpg(p.pid, signal.SIGKILL) # a failed test leaves nothing running
    stopped = 'irm_run: stopped. The same command goes on from here.'
    assert p.returncode == 130 and said.strip().splitlines() == [stopped], said

def what_it_said(p, moment):
    until = time.time() + 600 # against hanging for ever; a busy machine takes minutes
    while p.poll() is None and not moment(p):
        assert time.time() < until, 'the moment never came'
        time.sleep(0.01)
    assert p.poll() is None, p.communicate()
    os.killpg(p.pid, signal.SIGINT)
    return p.communicate(timeout=600)[1]

def started(args, stdout=subprocess.PIPE):
    return subprocess.Popen(command(*args), stdout=stdout, stderr=subprocess.PIPE, text=True, start_new_session=True,
                            env=environment(TQDM_DISABLE='1'))

def in_torch(p): return 'libtorch' in Path(f'/proc/{p.pid}/maps').read_text() # its import takes seconds
def training(p): return p.stdout.readline().startswith('results')

@linux
@pytest.mark.parametrize('moment', [in_torch, training])
def test_one_interrupt_one_line(moment, tmp_path):
    long = [a.replace('epochs=1', 'epochs=1000') if isinstance(a, str) else a for a in TINY]
    p = started([*long, '--store', tmp_path/'store', '--out', tmp_path/'out'])
    interrupted(p, moment)
    assert not [f for f in tmp_path.rglob('.*') if f.is_file()] # nothing half written

def alive_in(group):
    "What runs in a process group"
    found = []
    for f in Path('/proc').glob('[0-9]*/stat'):
        try: state = f.read_text().rsplit(')', 1)[1].split()
        except OSError: continue # gone meanwhile
        if int(state[2]) == group and state[0] != 'Z': found.append(state)
    return found

@linux
def test_interrupt_with_workers(tmp_path):
    "A terminal sends it to every process: one line, and none is left"
    small = 'epochs=1000 tau=0.1 --samples 120 --per-class 1 --device cpu --precision float32 --workers 2'.split()
    args = ['grid', 'demo', *SMALL_NETS, *small]
    p = started([*args, '--store', tmp_path/'store', '--out', tmp_path/'out'], subprocess.DEVNULL)
    interrupted(p, lambda p: list(tmp_path.glob('store/work/*/**/checkpoint.safetensors')))
    until = time.time() + 60 # a worker may be on its way out
    while (left := alive_in(p.pid)) and time.time() < until: time.sleep(0.1)
    assert not left

def test_workers_listen_on_loopback():
    pytest.importorskip('distributed')
    code = '''
from irm_nb.experiments import local_client
from pathlib import Path
import os
def open_ports():
    links = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    inodes = {l[8:-1] for l in links if l.startswith("socket:")}
    tables = [Path(f"/proc/net/{t}").read_text().splitlines()[1:] for t in ("tcp","tcp6")]
    lines = [l.split() for t in tables for l in t]
    return [l[1] for l in lines if l[3] == "0A" and l[9] in inodes]
if __name__ == "__main__":
    with local_client(1) as c: print(open_ports(), c.submit(open_ports).result(), c.dashboard_link)
'''
    if not sys.platform.startswith('linux'): pytest.skip('reads /proc')
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, env=environment(), timeout=120)
    assert done.returncode == 0 and '0100007F:' in done.stdout, done.stderr
    addresses = {a.split(':')[0] for a in done.stdout.replace("'", ' ').split() if ':' in a}
    assert {a for a in addresses if len(a) >= 8} == {'0100007F'}, done.stdout
    assert 'http://127.0.0.1' in done.stdout

def made_up_results(folder):
    import pandas as pd
    from irm_nb.cells import Cell, circumstances
    from irm_nb.experiments import keep_result
    said = dict(label=[0, 1]*4, predicted=0, cloudy=False, cover=0., p_max=.5)
    a = pd.DataFrame(dict(id=[*'abcdefgh'], group=[*'aabbccdd'], **said))
    for seed in range(2): keep_result(folder, circumstances(Cell(seed=seed)) | dict(n=8, OA=.5, AA=.5, kappa=0.), a)

def test_report(place, monkeypatch, capsys):
    "Files are named, one that is missing too; what somebody edited stays. (The report itself: nbs/74_report.ipynb)"
    from irm_nb import report
    from irm_nb.cli import main
    made_up_results(place/'out')
    monkeypatch.delenv('IRM_NB_BROWSER', raising=False)
    monkeypatch.setattr(report, 'BROWSERS', ('no-such-browser',))
    monkeypatch.setattr(report, 'execute', lambda nb, folder: None)
    for _ in range(2): # the second replaces the first
        assert main(['report', '--results', 'out', '--out', 'told']) == 0
        said = capsys.readouterr()
        assert said.out.split() == ['told/report.ipynb', 'told/report.html']
        assert len(said.err.splitlines()) == 1 and 'told/report.pdf was not written: no Chromium' in said.err
    book = place/'told'/'report.ipynb'
    edited = book.read_text().replace('## The question', '## My question')
    book.write_text(edited)
    assert main(['report', '--results', 'out', '--out', 'told']) == 2 and 'did not write' in capsys.readouterr().err
    assert book.read_text() == edited

def added(values:list) -> float: return sum(values)

def test_store(place, capsys):
    from irm_nb.cli import main
    from irm_nb.store import Store
    kept = Store(place/'store')
    for i in range(4): kept(added, [i])
    entries = {e.key:e for e in kept.entries()}
    for age,k in enumerate(sorted(entries)): os.utime(entries[k].file, (time.time() - age*10*86400,)*2)
    def run(line):
        code = main(f'store --store {place}/store {line}'.split())
        return code,capsys.readouterr().out
    def left(): return sorted(e.key for e in kept.entries())
    keys = sorted(entries)
    assert run('')[0] == 0 and all(k[:12] in run('')[1] for k in keys)
    assert run('--older-than 15d')[1].count('| added') == 2 and left() == keys # nothing without --yes
    run('--older-than 25d --yes')
    assert left() == keys[:3]
    two = sum(entries[k].bytes for k in keys[:2])
    run(f'--keep {two} --dry-run')
    assert left() == keys[:3]
    run(f'--keep {two} --yes')
    assert left() == keys[:2] # those used last
    f = entries[keys[0]].file
    b = bytearray(f.read_bytes())
    b[-1] ^= 1
    f.write_bytes(b)
    assert run('--verify')[0] == 1 and left() == keys[:2]
    assert run('--verify --yes')[0] == 0 and left() == keys[1:2]
    assert run('--stage other*')[0] == 0 and run(f'--key {keys[1][:6]} --yes')[0] == 0 and left() == []

def test_store_leaves_what_is_not_its_own(place, capsys):
    from irm_nb.cli import main
    from irm_nb.store import Store
    kept = Store(place/'store')
    kept(added, [1])
    own = [place/'store'/n for n in ('notes.txt', 'mine.safetensors', 'F1-opt.safetensors')]
    for f in own: f.write_text('mine')
    for line in ('--stage * --yes', '--keep 0 --yes', '--sweep --yes'):
        assert main(f'store --store {place}/store {line}'.split()) == 0
    assert kept.entries() == [] and all(f.read_text() == 'mine' for f in own)

def test_refuses_before_training(tmp_path):
    "As a process: an unwritable place and a folder that isn't there"
    (tmp_path/'file').touch()
    bad = [(['--out', tmp_path/'file'/'out'], 'choose another place'),
           (['--source', f'scenes:{tmp_path}/nowhere'], 'nowhere')]
    for args,word in bad:
        done = irm_run(*TINY[:1], '--store', tmp_path/'store', '--out', tmp_path/'out', *args)
        assert done.returncode == 2 and word in done.stderr and 'Traceback' not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob('store/*.safetensors'))

FEW = '''from irm_nb.domains import target
from irm_nb import world

@target('few')
def few(): return world.target(30, seed=3, bands=('R','G','B','NIR'), height=True)

@target('fewer')
def fewer(): return few().select('opt','sar')
'''

def test_train_and_predict(tmp_path):
    "A training is a grid of one task, here of three modalities; what it saves answers for pairs of its kind"
    where = '--store',tmp_path/'store','--out',tmp_path/'out'
    done = irm_run(*TINY, *where, '--save', tmp_path/'networks', '--calibrate')
    assert done.returncode == 0, done.stderr
    assert 'cpu · float32' in done.stdout and '| Ours' in done.stdout and 'Synthetic' in done.stdout
    row, = csv.DictReader(open(tmp_path/'out'/'results.csv'))
    small = 'auxiliary_arch=small,epochs=1,source_arch=small,target_arch=small,tau=0.1'
    assert all(0 <= float(row[k]) <= 1 for k in ('OA','OA_cloudy','OA_clear')) and row['choices'] == small
    network, = (tmp_path/'networks').iterdir()
    assert network.name == f'ours-0-{row["key"][:8]}'
    assert 'rates only when logits are divided' in (network/'card.md').read_text(encoding='utf-8')
    assert irm_run(*TINY, *where, '--calibrate').returncode == 2
    (tmp_path/'few.py').write_text(FEW)
    for target,missing,speak in (('few','error',{'opt','sar','dem'}), ('fewer','rest',{'opt','sar'})):
        said = irm_run('predict', network, target, '--missing', missing, '--use', tmp_path/'few.py', SMALL_NETS[1], '--device', 'cpu',
                       '--precision', 'float32', '--out', tmp_path/'a.csv')
        assert said.returncode == 0, said.stderr
        lines = list(csv.DictReader(open(tmp_path/'a.csv')))
        assert len(lines) == 30 and list(lines[0]) == ['id','class','confidence','cover','decided']
        assert {l['decided'] for l in lines} <= speak
        assert ('cover is blank' in said.stderr) == (not any(l['cover'] for l in lines))

def test_data_of_ones_own(tmp_path):
    "A function with its decorator, in a file that is named"
    (tmp_path/'mine.py').write_text('''from irm_nb.domains import target
from irm_nb import world

@target('mine')
def mine(folder, n:int=60): return world.target(n, seed=3)
''')
    where = '--store',tmp_path/'store','--out',tmp_path/'out','--use',tmp_path/'mine.py',*SMALL_NETS[1:],'--device','cpu'
    tiny = *'train --samples 60 --methods sl --min-train 1 --min-test 1'.split(),*where
    done = irm_run(*tiny, '--target', f'mine:{tmp_path}?n=120', '--preset', 'demo', '--workers', 1)
    assert done.returncode == 0, done.stderr
    row, = csv.DictReader(open(tmp_path/'out'/'results.csv'))
    assert row['target'] == f'mine:{tmp_path}?n=120' and not row['error']

def test_grid(tmp_path):
    "A cell that ends and one that can't be: the table has the one, and the exit code speaks of the other"
    small = 'epochs=1 --methods sl --seeds 1 --samples 120 --per-class 1 --device cpu --precision float32'.split()
    one = 'grid','demo',*SMALL_NETS,*small,'--store',tmp_path/'store','--out',tmp_path/'out'
    done = irm_run(*one)
    assert done.returncode == 0 and '| SL' in done.stdout and '1 of 1 cells have a result' in done.stdout, done.stderr
    failed = irm_run(*one, '--cloud-scenario', 'own', '--clear-labels')
    assert failed.returncode == 1 and '1 of 1 cells failed' in failed.stderr
    assert 'were composed' in failed.stderr and 'Traceback' not in failed.stderr
    both = irm_run(*one, '--list')
    assert both.returncode == 0 and both.stdout.startswith('have')
    errors = [r['error'] for r in csv.DictReader(open(tmp_path/'out'/'results.csv'))]
    assert len([e for e in errors if e]) == 1
    refused = irm_run(*one, '--cloud-scenario', 'grey')
    assert refused.returncode == 2 and "'hunan'" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1

WRONG_NUMBERS = (0, -1, 2.5, float('nan'), float('inf'), '3', True, None, [3], 10**400)

NUMBERS = ['epochs','batch','monitor_every','visits','width','blocks','lr','weight_decay','tau']

@pytest.mark.parametrize('field', NUMBERS)
def test_configurations_name_the_field(field):
    "Whatever is no number of the field's kind is refused when the configuration is made"
    import numpy as np
    from irm_nb.core import OptionError
    from irm_nb.train import TrainConfig
    from irm_nb.transfer import Config
    kind = TrainConfig if field in vars(TrainConfig()) else Config
    fine = dict(lr=(2.5,), weight_decay=(0, 2.5), tau=(0,))
    for v in WRONG_NUMBERS:
        if v is not True and v in fine.get(field, (10**400,)): continue
        with pytest.raises(OptionError, match=field): kind(**{field:v})
    whole = field not in fine
    made = getattr(kind(**{field:np.int64(3) if whole else np.float64(0.5)}), field)
    assert type(made) is (int if whole else float)

WORDS = ['optimizer','schedule','augment','adapt_mode','distil_on','balanced','regulation','pairs_loss','pairs_from_source','pretrain','head',
         'source_arch','auxiliary_arch','target_arch','source_weights','auxiliary_weights','target_weights']

@pytest.mark.parametrize('field', WORDS)
@pytest.mark.parametrize('value', ['smaple', '', 3, 0.5, ['adam'], b'adam', object])
def test_words_of_configurations(field, value):
    from irm_nb.core import OptionError
    from irm_nb.train import TrainConfig
    from irm_nb.transfer import Config
    if field.endswith('weights') and value == 'smaple': return # a path
    kind = TrainConfig if field in vars(TrainConfig()) else Config
    with pytest.raises(OptionError, match=field): kind(**{field:value})
