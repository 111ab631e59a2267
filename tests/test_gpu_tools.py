"""tools/gpu.sh, run_cells.py, gpu_report.py: arguments, what is run, what is said of failures."""
import json, os, subprocess, sys
import pytest

import gpu_report, run_cells

from conftest import ROOT

def gpu(*args): return subprocess.run(['bash', ROOT/'tools'/'gpu.sh', *map(str, args)], text=True, capture_output=True, timeout=120)

@pytest.mark.parametrize('args,said', [
    ((), 'a folder for the results is missing'), (('{tmp}/a', '{tmp}/b'), 'one folder'),
    (('{tmp}/a', '--device', 'tpu'), 'cuda or cpu, not tpu'), (('{tmp}/a', '--device'), '--device needs a value'),
    (('{tmp}/a', '--minutes', 'ten'), 'a number, not ten'), (('{tmp}/a', '--fast'), 'unknown option --fast'),
    (('{tmp}/a', '--wheels', '{tmp}'), 'no wheels in'), (('{tmp}/full',), "isn't empty")])
def test_refused(tmp_path, args, said):
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'thesis.txt').write_text('mine')
    done = gpu(*(a.format(tmp=tmp_path) for a in args))
    assert done.returncode == 2 and said in done.stderr and 'usage:' in done.stderr
    assert not (tmp_path/'a').exists()

def test_no_time(tmp_path):
    "Without any time every step is named and none is run"
    done = gpu(tmp_path/'out', '--device', 'cpu', '--quick', '--minutes', 0)
    assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path/'out'/'gpu.json').read_text())['steps']
    names = {s['step'] for s in steps}
    assert {'install', 'machine', 'cells-11_train', 'times', 'bench-arithmetic', 'bench-paper', 'notebook', 'grid'} <= names
    assert {s['status'] for s in steps} == {'skipped', 'no time'}
    assert 'no time  grid' in done.stdout

def notebook(path, *sources):
    cells = [dict(cell_type='code', id=f'c{i}', source=s.splitlines(True)) for i,s in enumerate(sources)]
    path.write_text(json.dumps(dict(cells=cells)))
    return path

def cells(*args):
    return subprocess.run([sys.executable, ROOT/'tools'/'run_cells.py', *map(str, args)], text=True, capture_output=True)

def test_cells(tmp_path):
    "Values are shown, flagged cells run only when asked for, in the notebook's own folder"
    nb = notebook(tmp_path/'n.ipynb', '#| default_exp x\nraise ValueError', 'import os\na = 6', '#| cuda\nb = a*7\nb',
                  '#| slow\n1/0', 'os.getcwd()', 'a;')
    plain,cuda = cells(nb),cells(nb, '--flags', 'cuda')
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.splitlines() == [repr(os.path.realpath(tmp_path)), 'ALL OK n.ipynb, 0 flagged cells']
    assert cuda.stdout.startswith('42\nok n.ipynb cell 2 c2 cuda') and 'ALL OK n.ipynb, 1 flagged' in cuda.stdout

def test_a_cell_fails(tmp_path):
    nb = notebook(tmp_path/'n.ipynb', 'def half(x): return x//0', 'half(3)', 'print("never")')
    done = cells(nb)
    assert done.returncode == 1 and 'never' not in done.stdout
    assert 'FAILED n.ipynb cell 1 c1' in done.stderr and 'return x//0' in done.stderr # the line of another cell

def test_before_and_without_jupyter(tmp_path):
    before = tmp_path/'b.py'
    before.write_text('a = 1')
    nb = notebook(tmp_path/'n.ipynb', 'from IPython.display import Markdown', 'a + 1', 'display(a)')
    code = ['import sys', f'sys.path.insert(0, {str(ROOT/"tools")!r})', "sys.modules['IPython'] = sys.modules['IPython.display'] = None",
            'import run_cells', f'run_cells.main([{str(nb)!r}, "--before", {str(before)!r}])']
    done = subprocess.run([sys.executable, '-c', '\n'.join(code)], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ['2', '1']

def test_flags(): assert run_cells.flags_of('#| cuda\n#| export\nx = "#| slow"') == {'cuda'}

def test_report(tmp_path):
    "Figures of steps that ended, and the names of those that didn't"
    (tmp_path/'bench').mkdir()
    (tmp_path/'steps.tsv').write_text('times\tok\t3\nbench-map\ttimeout\t75\n')
    (tmp_path/'bench'/'map.json').write_text('')
    machine = dict(device='cuda', name='a card', precision='bf16', torch='2.9')
    report = dict(machine=machine, rows=[dict(row='distil', ratio=1.02, spread=[1, 1.1]), dict(row='clouds', ratio=None, spread=None, skipped='not here')])
    (tmp_path/'bench'/'distil.json').write_text(json.dumps(report))
    (tmp_path/'times.json').write_text(json.dumps([dict(network='googlenet', batch=32, eager=9.1, recorded=2.5)]))
    gpu_report.main([str(tmp_path)])
    got = json.loads((tmp_path/'gpu.json').read_text())
    assert got == dict(machine=machine, steps=gpu_report.steps_of(tmp_path), rows=report['rows'], times=json.loads((tmp_path/'times.json').read_text()))
    said = gpu_report.table(got)
    assert said.startswith('cuda · a card · bf16') and 'timeout  bench-map' in said and '1.02' in said
    assert 'not here' in said and '2.5 ms recorded, 9.1 ms as it is' in said
