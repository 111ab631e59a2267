"""The tutorials about extensions run from top to bottom, each in a fresh kernel, by public names alone."""
import re
import nbformat, pytest

import run_notebook
from conftest import ROOT

TUTORIALS = 'a_regulation','another_backbone','a_third_modality','your_own_data'

def path(name): return ROOT/'nbs'/'tutorials'/f'{name}.ipynb'

@pytest.mark.parametrize('name', TUTORIALS)
def test_runs(name, monkeypatch, tmp_path):
    variables = dict(IRM_NB_STORE=tmp_path, PYTHONPATH=ROOT, TMPDIR=tmp_path, CUDA_VISIBLE_DEVICES='')
    for variable,value in variables.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.delenv('IRM_NB_DATA', raising=False)
    nb,why = run_notebook.execute(path(name), timeout=600)
    assert why is None, why

@pytest.mark.parametrize('name', TUTORIALS)
def test_reads_as_a_page(name):
    "A title, a subtitle, prose before the code, and public names alone"
    nb = nbformat.read(path(name), 4)
    assert re.match(r'# .+\n\n> .+\.$', nb.cells[0].source), nb.cells[0].source
    code = [c.source for c in nb.cells if c.cell_type == 'code']
    assert len(code) <= 25
    for source in code:
        assert not re.search(r'from irm_nb[\w.]* import .*\b_\w|\birm_nb\.\w+\._', source), source
