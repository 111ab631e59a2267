"""The repository passes its checks, and each check fails when it should: a small copy of the tree is made to drift, one way at a time."""
import json, os, re, shutil, subprocess, sys
import nbformat, pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import check, make_readme
from conftest import ROOT

DOT = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

@pytest.mark.parametrize('name', check.CHECKS)
def test_repository(name):
    bad = check.CHECKS[name](ROOT)
    assert not bad, '\n'.join(bad)

def write_nb(path, cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=dict(kernelspec=dict(name='python3', display_name='python3', language='python'))), path)

def figure(src, id): return new_code_cell(src, id=id, outputs=[new_output('display_data', {'image/png': DOT, 'text/plain': '<Figure>'})])

@pytest.fixture(scope='session')
def small(tmp_path_factory):
    "One room and an index, in step"
    root = tmp_path_factory.mktemp('small')/'irm_nb'
    for f in ('settings.ini', 'setup.py', 'ruff.toml', 'LICENSE', '.github/workflows/test.yml'):
        (root/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/f, root/f)
    write_nb(root/'nbs'/'00_core.ipynb', [
        new_markdown_cell('# core\n\n> One function.\n\n## h', id='a0'), new_code_cell('#| default_exp core', id='a1'),
        new_code_cell('#| export\ndef double(x): return 2*x', id='a2'), new_code_cell('double(2)', id='a3')])
    write_nb(root/'nbs'/'index.ipynb', [
        new_markdown_cell('# irm_nb\n\n> A subtitle.\n\nSee [core](00_core.ipynb#h), [the licence](../LICENSE), [here](#Usage), [there](https://example.org/a.md) and `[code](a.ipynb)`.', id='b0'),
        new_code_cell('#| hide\nsecret = 1', id='b1'), figure('#| echo: false\n#| fig-alt: Two boxes\nprint("framework")', 'b2'),
        new_code_cell('1 + 1', id='b3', outputs=[new_output('execute_result', {'text/plain': '2'})]),
        new_markdown_cell('## Usage\n\n```sh\nmake demo\n```\n\n$$S = 1 - H$$\n\n<img src="images/x.svg">', id='b4')])
    for d in ('tools', 'tests', 'irm_nb'): (root/d).mkdir()
    (root/'environment.yml').write_text(check.conda_environment(root))
    done = check._run_nbdev(root)
    assert done.returncode == 0, done.stdout
    make_readme.write(root)
    for name,f in check.CHECKS.items(): assert not f(root), name
    return root

@pytest.fixture
def tree(small, tmp_path): return shutil.copytree(small, tmp_path/'irm_nb')

def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

def expect(bad, *parts):
    assert len(bad) == 1, bad
    for p in parts: assert p in bad[0]

def test_edited_module(tree):
    edit(tree/'irm_nb'/'core.py', '2*x', '3*x')
    before = {p: p.read_bytes() for p in tree.rglob('*') if p.is_file()}
    expect(check.in_step(tree), 'irm_nb/core.py', 'run: make sync', '-def double(x): return 3*x', '+def double(x): return 2*x')
    assert before == {p: p.read_bytes() for p in tree.rglob('*') if p.is_file()}

def test_edited_notebook(tree):
    edit(tree/'nbs'/'00_core.ipynb', '2*x', '3*x')
    expect(check.in_step(tree), 'irm_nb/core.py', 'run: make sync')

def test_notebook_never_exported(tree):
    (tree/'irm_nb'/'core.py').unlink()
    expect(check.in_step(tree), 'irm_nb/core.py')

def test_module_without_notebook(tree):
    (tree/'irm_nb'/'helpers.py').write_text('def handy(): pass\n')
    assert any('irm_nb/helpers.py comes from no notebook' in b for b in check.in_step(tree))

def test_removed_notebook(tree):
    (tree/'nbs'/'00_core.ipynb').unlink()
    assert any('irm_nb/core.py comes from no notebook' in b for b in check.in_step(tree))

def test_unclean_notebook(tree):
    edit(tree/'nbs'/'00_core.ipynb', '"execution_count": null', '"execution_count": 7')
    expect(check.in_step(tree), 'nbs/00_core.ipynb is not clean')

def test_requirement_added(tree):
    edit(tree/'settings.ini', '\nrequirements = ', '\nrequirements = einops>=0.8 ')
    expect(check.environment(tree), 'environment.yml', '+  - einops>=0.8')
    assert check._setup_arguments(tree)['install_requires'][0] == 'einops>=0.8'

@pytest.mark.parametrize('pattern,new', [('pytorch>=.*', 'pytorch>=1.0'), ('  - tqdm.*\n', ''), ('conda-forge', 'defaults'), (' python>=.*', ' python>=3.8'), (r'\.\[dev\]', '.')])
def test_edited_environment(tree, pattern, new):
    p = tree/'environment.yml'
    text,n = re.subn(pattern, new, p.read_text())
    assert n == 1
    p.write_text(text)
    expect(check.environment(tree), 'environment.yml', 'run: make sync')

def test_setup_with_a_list_of_its_own(tree):
    edit(tree/'setup.py', 'install_requires=shlex.split(cfg.get("requirements", ""))', 'install_requires=["torch>=1.0"]')
    expect(check.environment(tree), "setup.py passes install_requires=['torch>=1.0']", 'Let setup.py read settings.ini')

def test_setup_with_a_version_of_its_own(tree):
    edit(tree/'setup.py', 'version=cfg["version"]', 'version="9.9"')
    expect(check.environment(tree), 'version')

def test_setup_without_an_extra(tree):
    edit(tree/'setup.py', 'if k.endswith("_requirements")', 'if k.endswith("_requirements") and k != "cluster_requirements"')
    expect(check.environment(tree), 'extras_require[cluster]=None', "'dask[distributed]")

@pytest.mark.parametrize('file', ['ruff.toml', '.github/workflows/test.yml'])
def test_another_python(tree, file):
    m = check.settings(tree)['min_python']
    edit(tree/file, *(('py' + m.replace('.', ''), 'py38') if file == 'ruff.toml' else (m, '3.8')))
    expect(check.environment(tree), file, 'min_python')

def test_readme(tree):
    text = (tree/'README.md').read_text()
    assert '# irm_nb\n\n> A subtitle.' in text and '```sh\nmake demo\n```' in text and '$$S = 1 - H$$' in text
    assert '(nbs/00_core.ipynb#h), [the licence](LICENSE), [here](#Usage), [there](https://example.org/a.md) and `[code](a.ipynb)`' in text
    assert '![Two boxes](nbs/images/index/b2-0.png)' in text and '<img src="nbs/images/x.svg">' in text and '1 + 1' in text and '    2' in text
    for hidden in ('secret', 'echo', 'fig-alt', 'print', 'AUTOGENERATED', '<Figure>'): assert hidden not in text
    assert [p.name for p in (tree/'nbs'/'images'/'index').iterdir()] == ['b2-0.png']

def test_edited_readme(tree):
    edit(tree/'README.md', 'A subtitle', 'Another')
    expect(make_readme.problems(tree), 'README.md', 'make sync')

def test_edited_index(tree):
    edit(tree/'nbs'/'index.ipynb', 'A subtitle', 'Another')
    expect(check.readme(tree), 'README.md', 'make sync')

def test_index_missing(tree):
    (tree/'nbs'/'index.ipynb').unlink()
    expect(check.readme(tree), 'nbs/index.ipynb is missing')

def test_figures_of_the_readme(tree):
    images = tree/'nbs'/'images'/'index'
    (images/'old.png').write_bytes(b'x')
    expect(check.readme(tree), 'old.png')
    (images/'b2-0.png').write_bytes(b'x')
    assert len(check.readme(tree)) == 2
    make_readme.write(tree)
    assert not check.readme(tree) and not (images/'old.png').exists()

def test_widget_state(tree):
    p = tree/'nbs'/'00_core.ipynb'
    nb = json.loads(p.read_text())
    nb['metadata']['widgets'] = {'application/vnd.jupyter.widget-state+json': {'state': {}}}
    p.write_text(json.dumps(nb))
    expect(check.widgets(tree), 'nbs/00_core.ipynb', 'dead without their kernel')
    del nb['metadata']['widgets']
    p.write_text(json.dumps(nb))
    assert not check.widgets(tree)
    nb['cells'][-1] |= {'cell_type': 'code', 'outputs': [{'output_type': 'display_data', 'metadata': {}, 'data': {'application/vnd.jupyter.widget-view+json': {'model_id': 'a'}}}]}
    p.write_text(json.dumps(nb))
    expect(check.widgets(tree), 'nbs/00_core.ipynb', 'run_notebook.py --inplace nbs/00_core.ipynb')

@pytest.mark.parametrize('old, new', [('00_core.ipynb#h', '01_core.ipynb'), ('00_core.ipynb#h', '00_core.ipynb#g'), ('#Usage', '#usage'), ('../LICENSE', '../LICENCE')])
def test_links(tree, old, new):
    edit(tree/'nbs'/'index.ipynb', f'({old})', f'({new})')
    expect(check.links(tree), f'nbs/index.ipynb links to {new}', 'Mend the link')

@pytest.mark.parametrize('enters', ["TABLE['tiny'] = 2", "open('b.py', 'w').write('''\nTABLE['tiny'] = 2''')"])
def test_names_that_files_take(tree, enters):
    nb = tree/'nbs'/'01_more.ipynb'
    write_nb(tree/'nbs'/'00_core.ipynb', [new_code_cell("%%writefile a.py\nTABLE['tiny'] = 1")])
    write_nb(nb, [new_code_cell(enters.replace('tiny', 'other')), new_code_cell(enters.replace('TABLE', 'ANOTHER'))])
    assert not check.names(tree)
    write_nb(nb, [new_code_cell(enters)])
    expect(check.names(tree), 'nbs/01_more.ipynb enters', 'a file of nbs/00_core.ipynb')
    (tree/'nbs'/'.notest').touch()
    assert not check.names(tree)

def test_large_notebook(tree):
    write_nb(tree/'nbs'/'analysis'/'01_big.ipynb', [new_code_cell('x', outputs=[new_output('stream', text='0'*3_100_000)])])
    expect(check.size(tree), 'nbs/analysis/01_big.ipynb is 3.1 MB', 'lower dpi')

@pytest.mark.parametrize('more, said', [
    ('\\n'.join(f'x{i} = {i}' for i in range(30)), 'an exported cell of 31 lines'),
    (f'x = \'{"0"*115}\'', 'an exported line of 121 columns')])
def test_large_cell(tree, more, said):
    assert not check.cells(tree)
    edit(tree/'nbs'/'00_core.ipynb', 'return 2*x', f'return 2*x\\n\\n{more}')
    expect(check.cells(tree), 'nbs/00_core.ipynb', said)

def test_cells_that_are_not_exported_may_be_longer(tree):
    edit(tree/'nbs'/'00_core.ipynb', 'double(2)', '\\n'.join(['double(2)']*40 + ['"' + '0'*130 + '"']).replace('"', '\\"'))
    assert not check.cells(tree)

@pytest.mark.parametrize('text', ['/home/ada/data/x.tif', '/Users/ada/x', r'C:\\Users\\ada', '{root}/nbs'])
def test_paths_of_one_machine(tree, text):
    edit(tree/'nbs'/'00_core.ipynb', 'One function.', text.replace('{root}', str(tree)).replace('\\', '\\\\'))
    expect(check.paths(tree), 'nbs/00_core.ipynb:', 'a place on one machine')

@pytest.mark.parametrize('text', ['~/.cache/irm_nb', 'nbs/home/x', 'https://example.org/home/ada/x', 'folder/root/'])
def test_paths_that_are_fine(tree, text):
    edit(tree/'nbs'/'00_core.ipynb', 'One function.', text)
    assert not check.paths(tree)

def test_style(tree):
    edit(tree/'nbs'/'00_core.ipynb', 'double(2)', 'doubel(2)')
    expect(check.style(tree), '00_core.ipynb', 'F821')

def test_command(tree):
    "The command names what fails, says what to run, and its exit status says it too"
    shutil.copytree(ROOT/'tools', tree/'tools', dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))
    run = lambda *a: subprocess.run([sys.executable, 'tools/check.py', *a], cwd=tree, text=True, capture_output=True, env=dict(os.environ, PYTHONDONTWRITEBYTECODE='1'))
    assert run('environment', 'widgets').returncode == 0
    edit(tree/'environment.yml', 'numpy>=', 'numpy>=9')
    done = run()
    assert done.returncode == 1 and 'FAIL environment' in done.stdout and 'make sync' in done.stdout
    assert run('environment', '--write').returncode == 0 and run('environment').returncode == 0
