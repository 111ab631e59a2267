"""tools/run_notebook.py: what a run leaves, and what a failure says."""
import os, subprocess, sys
from types import SimpleNamespace
import nbformat, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import run_notebook

from conftest import ROOT

@pytest.fixture
def notebook(tmp_path):
    def make(*code, name='lesson.ipynb'):
        cells = [new_markdown_cell('# A lesson\n\n> short')] + [new_code_cell(c) for c in code]
        nbformat.write(new_notebook(cells=cells, metadata={'widgets': {'state': {}}}), tmp_path/name)
        return tmp_path/name
    return make

@pytest.fixture
def run(capsys):
    def main(*args):
        try: code = run_notebook.main([str(a) for a in args])
        except SystemExit as e: code = e.code
        io = capsys.readouterr()
        said = code if isinstance(code, str) else '' # sys.exit prints a text and returns 1
        return SimpleNamespace(returncode=1 if said else code or 0, stdout=io.out, stderr=io.err + said)
    return main

def test_report(notebook, tmp_path):
    "An executed notebook and a page: figures inside, no hidden cell, no widget state"
    nb = notebook('#| hide\nimport os, matplotlib.pyplot as plt', '#| echo: false\nplt.plot([1,2]);',
                  'import ipywidgets\nipywidgets.IntSlider()', 'os.path.basename(os.getcwd()), 40+2')
    out,html = (tmp_path/'demo'/f'out.{e}' for e in ('ipynb', 'html'))
    command = [sys.executable, ROOT/'tools'/'run_notebook.py', nb, '--out', out, '--html', html]
    done = subprocess.run(command, text=True, capture_output=True, env=dict(os.environ, MPLBACKEND='Agg'))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out), str(html)]
    assert 'lesson.ipynb  cell 1/4' in done.stderr and 'done in' in done.stderr
    got = nbformat.read(out, 4)
    assert 'widgets' not in got.metadata and got.cells[3].outputs == []
    assert got.cells[-1].outputs[0].data['text/plain'] == repr((tmp_path.name, 42))
    page = html.read_text()
    assert 'data:image/png;base64' in page and '<title>A lesson</title>' in page
    for hidden in ('#| hide', 'matplotlib.pyplot', 'plt.plot', 'echo: false'): assert hidden not in page

def test_widgets_leave_a_picture(run, notebook):
    "A widget that brings a picture leaves it; a bar, a slider and the state of all three leave nothing"
    live = '''class Live:
    still = {"text/plain": "Live", "image/png": "aGVsbG8="}
    def _repr_mimebundle_(self, **k): return W.IntSlider()._repr_mimebundle_(**k) | self.still'''
    nb = notebook('import ipywidgets as W\nfrom tqdm.auto import tqdm', live, 'Live()', 'W.IntSlider()',
                  'for i in tqdm(range(3)): print(i)')
    assert run(nb, '--inplace').returncode == 0
    got = nbformat.read(nb, 4)
    left = [o.get('data') or o.text for c in got.cells[3:] for o in c.outputs]
    assert 'widgets' not in got.metadata
    assert left == [{'text/plain': 'Live', 'image/png': 'aGVsbG8='}, '0\n1\n2\n']

def test_failing_cell(run, notebook, tmp_path):
    nb = notebook('a = 1', "raise ValueError('wrong band')", 'b = 2')
    done = run(nb, '--out', tmp_path/'out.ipynb')
    assert done.returncode == 1 and 'cell 2 of 3 failed' in done.stderr and 'ValueError: wrong band' in done.stderr
    assert "raise ValueError('wrong band')" in done.stderr
    assert f'As far as it came: {tmp_path/"out.ipynb"}' in done.stderr
    assert nbformat.read(tmp_path/'out.ipynb', 4).cells[2].outputs[0].ename == 'ValueError'

def test_failure_in_place(run, notebook):
    nb = notebook('1/0')
    before = nb.read_bytes()
    done = run(nb, '--inplace')
    assert done.returncode == 1 and 'ZeroDivisionError' in done.stderr and 'is as it was' in done.stderr
    assert nb.read_bytes() == before and [p.name for p in nb.parent.iterdir()] == [nb.name]

def test_in_place(run, notebook):
    nb = notebook('6*7')
    mode = nb.stat().st_mode
    assert run(nb, '--inplace').returncode == 0
    assert nbformat.read(nb, 4).cells[1].outputs[0].data['text/plain'] == '42' and nb.stat().st_mode == mode

def test_timeout(run, notebook, tmp_path):
    done = run(notebook('import time', 'time.sleep(60)'), '--out', tmp_path/'o.ipynb', '--timeout', 2)
    assert done.returncode == 1 and 'longer than 2 s' in done.stderr and 'time.sleep(60)' in done.stderr

def test_dead_kernel(run, notebook, tmp_path):
    done = run(notebook('import os', 'os.kill(os.getpid(), 9)'), '--out', tmp_path/'o.ipynb')
    assert done.returncode == 1 and 'The kernel died' in done.stderr

def test_unwritable_place(run, notebook, tmp_path):
    "Said before the work, not after"
    (tmp_path/'file').write_text('')
    done = run(notebook('open("ran", "w")'), '--out', tmp_path/'file'/'out.ipynb')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'expected a place that can be written' in done.stderr
    assert not (tmp_path/'ran').exists()

def test_arguments(run, notebook):
    nb = notebook('1')
    assert 'choose --out FILE or --inplace' in run(nb).stderr
    assert 'no such notebook' in run(nb.parent/'absent.ipynb', '--inplace').stderr

def test_a_cell_for_a_gpu_waits_for_one(notebook, tmp_path, monkeypatch):
    nb = notebook('#| cuda\nprint("on the GPU")', 'print("anywhere")')
    def said(here):
        monkeypatch.setattr('torch.cuda.is_available', lambda: here)
        got,why = run_notebook.execute(nb, 60)
        assert why is None and not any('tags' in c.metadata for c in got.cells)
        return [len(c.outputs) for c in got.cells if c.cell_type == 'code']
    assert said(True) == [1,1] and said(False) == [0,1]
