"""The pages of the site, before mkdocs: all notebooks in the order of the index, all public names, links that lead on."""
import ast, re
import pytest

import make_docs
from conftest import ROOT

LINKS = make_docs.Links(ROOT)

def test_navigation_holds_every_notebook():
    pages = [p for _,pages in make_docs.navigation(ROOT) for _,p in pages]
    assert sorted([*pages, 'index.md']) == sorted(make_docs.notebooks(ROOT)) and pages.index('00_core.md') < pages.index('13_irm.md')

def test_every_public_name_has_its_place():
    lost = []
    for name,(source,page) in make_docs.modules(ROOT).items():
        text = make_docs.api(ROOT, name, source, page)
        public = next((ast.literal_eval(n.value) for n in ast.parse(source).body if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'), [])
        lost += [f'{name}.{n}' for n in public if f'{{#{n.lower()}}}' not in text and f'`{n}`' not in text]
    assert not lost

@pytest.mark.parametrize('url, at', [
    ('00_core.ipynb', '../00_core.md'), ('../05_world.ipynb#Is-it-hard-enough,-and-for-the-right-reasons?', '../05_world.md#is-it-hard-enough-and-for-the-right-reasons'),
    ('../../CONTRIBUTING.md', '../contributing.md'), ('../../LICENSE', 'https://github.com/irm-nb/irm_nb/blob/main/LICENSE'),
    ('../images/inspector.png', '../images/inspector.png'), ('https://example.org/a.ipynb', 'https://example.org/a.ipynb'), ('#The-paper', '#the-paper')])
def test_links(url, at):
    source = 'nbs/analysis/01_transfer.ipynb'
    if url == '00_core.ipynb': url = '../00_core.ipynb'
    assert LINKS.to(url, source) == at

def test_a_link_that_leads_nowhere():
    with pytest.raises(FileNotFoundError, match='leads nowhere'): LINKS.to('no_such.ipynb', 'nbs/index.ipynb')

def test_page_of_a_notebook():
    files = make_docs.page(ROOT, '02_cards.md', 'nbs/02_cards.ipynb', LINKS)
    text = files['02_cards.md'].decode()
    assert text.lstrip().startswith('# cards') and '#| export' not in text and 'import tempfile' not in text # directives and hidden cells
    assert '<a id="zoo"></a>' in text and '](14_transfer.md)' in text and not re.search(r'\]\([^)]*\.ipynb', text)

def test_signatures_keep_what_is_said_of_parameters():
    source,page = make_docs.modules(ROOT)['cards']
    text = make_docs.api(ROOT, 'cards', source, page)
    assert 'def zoo(folder # of folders' in text and 'The saved predictors in a folder, by name' in text and '../02_cards.md#zoo' in text

def test_equations():
    pytest.importorskip('latex2mathml')
    text = make_docs.mathml('a $x_1$ and `$y$`\n\n$$S = \\max_k z\\tag{5}$$\n')
    assert text.count('<math') == 2 and '`$y$`' in text and '<span>(5)</span>' in text and '\\tag' not in text
