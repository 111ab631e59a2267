"""The tutorials about extensions read as a page, and use public names alone; `nbdev_test` runs them."""
import re
from concurrent.futures import ThreadPoolExecutor

import nbformat, pytest

from conftest import ROOT
from irm_nb.domains import extend
from irm_nb.models import BACKBONES

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

def test_a_file_is_run_once_and_waited_for(tmp_path):
    "Workers of a cluster run the files of --use in threads: none goes on before what a file enters is there"
    file = tmp_path/'slow.py'
    file.write_text('import time\nfrom pathlib import Path\nfrom irm_nb.models import BACKBONES, Backbone\ntime.sleep(.5)\n'
                    'runs = Path(__file__).with_name("runs")\nruns.write_text(runs.read_text() + "x" if runs.exists() else "x")\n'
                    'def build(n_classes, in_channels): pass\nBACKBONES["entered slowly"] = Backbone(build)\n')
    def ask(_):
        extend(file)
        return 'entered slowly' in BACKBONES
    try:
        with ThreadPoolExecutor(3) as threads: assert all(threads.map(ask, range(3)))
        assert (tmp_path/'runs').read_text() == 'x'
    finally: BACKBONES.pop('entered slowly', None)
