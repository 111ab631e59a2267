"""Outputs that are older than their code are noticed: `check.py outputs`, on a small tree of three modules and a notebook that draws."""
import json, shutil
import nbformat, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import check, outputs, run_notebook
from conftest import ROOT

BASE = '''"""What all share"""
__all__ = ['scale', 'METHODS']
LIMIT = 3
METHODS = {}
def method(name): return lambda f: METHODS.setdefault(name, f)
def scale(x): # a number
    """Twice
    as much"""
    return 2*x
def unused(x): return x
class Curve:
    def __init__(self, x): self.x = x
'''
PLOTS = '''"""Figures"""
import matplotlib.pyplot as plt
from .base import *
from .base import Curve
def patch(f): return f
@patch
def draw(self:Curve): return _line(self.x)
@method('twice')
def twice(x): return scale(x)
def _line(x): return [v + LIMIT for v in x]
def curve(x):
    from importlib import import_module
    return Curve(import_module('irm_nb.late').late(x))
def bars(x): return open('shares.csv')
'''
LATE = 'def late(x): return x\n'
CELLS = ['from irm_nb.plots import curve', '#| slow\nfig = curve([1, 2]) # a line', 'fig.draw()']
FIGURE = new_output('display_data', {'text/plain': '<Figure>'})

@pytest.fixture
def tree(tmp_path):
    root = tmp_path/'house'
    (root/'irm_nb'/'data').mkdir(parents=True)
    shutil.copy(ROOT/'settings.ini', root)
    (root/'irm_nb'/'__init__.py').write_text('__version__ = "0"\n')
    (root/'irm_nb'/'data'/'shares.csv').write_text('1,2\n')
    for name,text in dict(base=BASE, plots=PLOTS, late=LATE).items(): (root/'irm_nb'/f'{name}.py').write_text(text)
    write(root, CELLS)
    return root

def write(root, cells, prose='# A figure'):
    "A notebook that was executed by the code that is there"
    codes = [new_code_cell(c, outputs=[FIGURE]) for c in cells]
    nb = new_notebook(cells=[new_markdown_cell(prose), *codes])
    nb.metadata[outputs.STAMP] = outputs.as_text(outputs.made_by(outputs.Library(root), nb))
    (root/'nbs').mkdir(exist_ok=True)
    nbformat.write(nb, root/'nbs'/'figure.ipynb')

def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

def old(root):
    bad = check.outputs(root)
    assert len(bad) <= 1 and all('nbs/figure.ipynb' in b and 'make outputs' in b for b in bad), bad
    return bad and bad[0].split('older than ')[1].split('. Run')[0]

def test_fresh(tree): assert not check.outputs(tree)

def test_a_cell_that_feeds_a_figure(tree):
    edit(tree/'nbs'/'figure.ipynb', '[1, 2]', '[1, 3]')
    assert old(tree) == 'its own cells'

@pytest.mark.parametrize('file, before, after, named', [
    ('plots', 'return Curve', 'return 2*Curve', 'plots'), # what it imports
    ('plots', 'v + LIMIT', 'v - LIMIT', 'plots'), # what that calls, by a method that is patched on
    ('base', 'LIMIT = 3', 'LIMIT = 4', 'base'), # a constant, by way of a star
    ('base', 'self.x = x', 'self.x = -x', 'base'), # a class of another module
    ('base', 'return 2*x', 'return 3*x', 'base'), # what is registered when a module is imported
    ('late', 'return x', 'return -x', 'late'), # a module that is imported by its name
], ids=['definition', 'helper', 'constant', 'class', 'registered', 'lazy'])
def test_a_definition_it_reaches(tree, file, before, after, named):
    edit(tree/'irm_nb'/f'{file}.py', before, after)
    assert old(tree) == named

@pytest.mark.parametrize('file, before, after', [
    ('base', 'def unused(x): return x', 'def unused(x): return -x'),
    ('base', 'Twice\n    as much', 'Twice'),
    ('base', ' # a number', ' # any number'),
    ('base', '"""What all share"""\n', '\n\n# %% ../nbs/00_base.ipynb\n'),
    ('plots', "open('shares.csv')", "open('shares.csv').read()"),
], ids=['unreached', 'docstring', 'comment', 'head', 'another figure'])
def test_what_leaves_outputs_as_they_are(tree, file, before, after):
    edit(tree/'irm_nb'/f'{file}.py', before, after)
    assert not check.outputs(tree)

def test_comments_and_directives_of_a_cell(tree):
    edit(tree/'nbs'/'figure.ipynb', ' # a line', ' # the line')
    edit(tree/'nbs'/'figure.ipynb', '#| slow', '#| cuda')
    assert not check.outputs(tree)

def test_data_that_is_named(tree):
    write(tree, ['from irm_nb import plots', 'plots.bars(1)'])
    assert not check.outputs(tree)
    (tree/'irm_nb'/'data'/'shares.csv').write_text('1,3\n')
    assert old(tree) == 'shares.csv'

def test_magics(tree):
    write(tree, ['from irm_nb.plots import curve', '%time curve(1)', '!ls'])
    edit(tree/'irm_nb'/'late.py', 'return x', 'return -x')
    assert old(tree) == 'late'

def test_never_executed(tree):
    f = tree/'nbs'/'figure.ipynb'
    nb = json.loads(f.read_text())
    del nb['metadata'][outputs.STAMP]
    f.write_text(json.dumps(nb))
    [said] = check.outputs(tree)
    assert 'does not say by which code' in said
    for c in nb['cells']: c.pop('outputs', None)
    f.write_text(json.dumps(nb))
    assert not check.outputs(tree) # nothing to be old

def test_a_version_that_is_stated(tree):
    write(tree, CELLS, 'It takes hours. The outputs below were made by version 0.1.0.')
    [said] = check.outputs(tree)
    assert 'Remove the sentence' in said
    f = tree/'nbs'/'figure.ipynb'
    nb = json.loads(f.read_text())
    del nb['metadata'][outputs.STAMP]
    f.write_text(json.dumps(nb))
    assert not check.outputs(tree) and check.ages(tree) == ({}, {'nbs/figure.ipynb': '0.1.0'})

def test_execution_writes_it(tree, monkeypatch):
    "By tools/run_notebook.py, for the tree whose library is imported; nbdev_clean keeps it"
    import irm_nb
    f = tree/'nbs'/'figure.ipynb'
    nb = new_notebook(cells=[new_code_cell('from irm_nb.core import digest\n1 + 1')])
    nbformat.write(nb, f)
    assert run_notebook.main([str(f), '--inplace']) is None and outputs.STAMP not in nbformat.read(f, 4).metadata # another library
    monkeypatch.setattr(irm_nb, '__file__', str(tree/'irm_nb'/'__init__.py'))
    run_notebook.main([str(f), '--inplace'])
    assert not check._run_nbdev(tree).returncode
    assert nbformat.read(f, 4).metadata[outputs.STAMP].startswith('notebook:') and not check.outputs(tree)
    edit(f, '1 + 1', '1 + 2')
    assert old(tree) == 'its own cells'
