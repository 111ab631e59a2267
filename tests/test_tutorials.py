"""The tutorials about extensions read as a page, and use public names alone; `nbdev_test` runs them."""
import re
import nbformat, pytest

from conftest import ROOT

TUTORIALS = 'a_compared_method','a_regulation','another_backbone','a_third_modality','your_own_data'

def path(name): return ROOT/'nbs'/'tutorials'/f'{name}.ipynb'

@pytest.mark.parametrize('name', TUTORIALS)
def test_reads_as_a_page(name):
    "A title, a subtitle, prose before the code, and public names alone"
    nb = nbformat.read(path(name), 4)
    assert re.match(r'# .+\n\n> .+\.$', nb.cells[0].source), nb.cells[0].source
    code = [c.source for c in nb.cells if c.cell_type == 'code']
    assert len(code) <= 25
    for source in code:
        assert not re.search(r'from irm_nb[\w.]* import .*\b_\w|\birm_nb\.\w+\._', source), source
