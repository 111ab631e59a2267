"""README.md from nbs/index.ipynb, without Quarto: what a reader sees of it, as Markdown, with its figures beside it."""
import argparse, re, shutil, sys
from pathlib import Path, PurePosixPath
from posixpath import normpath

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 'nbs/images/index' # this folder belongs to README.md whole: a figure that went is removed
NOTE = '<!-- Made from nbs/index.ipynb by `make sync`. Edit the notebook, not this file. -->\n\n'
_ansi = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')

def _is(directives, name, value): return [v.lower() for v in directives.get(name, [])] == [value]

def reader_view(nb): # notebook (nbformat 4); changed in place
    "What a reader is meant to see: no hidden cells, no directive lines, no terminal colours"
    from nbdev.process import extract_directives
    cells = []
    for c in nb.cells:
        d = extract_directives(c) if c.cell_type == 'code' else {}
        if words := re.search(r'^#\s?\|\s*fig-alt:\s*(.+)$', c.source, re.M): c.metadata['fig_alt'] = words[1].strip()
        c.source = re.sub(r'\A(?:\s*#\s?\|.*\n?)+', '', c.source) if c.cell_type == 'code' else c.source
        if 'hide' in d or _is(d, 'include:', 'false'): continue
        if 'hide_input' in d or _is(d, 'echo:', 'false'): c.metadata['transient'] = {'remove_source': True}
        if 'hide_output' in d or _is(d, 'output:', 'false'): c.outputs = []
        for o in c.get('outputs', []):
            if 'text' in o: o['text'] = _ansi.sub('', o['text'])
        if c.source.strip() or c.get('outputs'): cells.append(c)
    nb.cells = cells
    nb.metadata.pop('widgets', None)
    nb.metadata['language_info'] = dict(name='python')
    return nb

def relink(text, # Markdown
           folder='nbs'): # where its relative links start, seen from the repository's top
    "Relative links of a notebook, as links of a file at the top; code is left alone"
    def at_top(m):
        pre,url,post = m.groups()
        path,sep,anchor = url.partition('#')
        if not path or re.match(r'[a-zA-Z][\w+.-]*:|/', path): return m.group(0)
        return f'{pre}{normpath(PurePosixPath(folder, path).as_posix())}{sep}{anchor}{post}'
    parts = re.split(r'(^```.*?^```|`[^`\n]+`)', text, flags=re.S|re.M)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r'(\]\(<?)([^)\s>]+)(>?(?:\s+"[^"]*")?\))', at_top, parts[i])
        parts[i] = re.sub(r'(\b(?:src|href)=["\'])([^"\']+)(["\'])', at_top, parts[i])
    return ''.join(parts)

def name_figures(body, nb): # Markdown whose files of figures end in -cell-index
    "Figures by the words of their cells' `#| fig-alt:`"
    def words(m): return f'![{nb.cells[int(m[2])].metadata.get("fig_alt", "figure")}]({m[1]}'
    return re.sub(r'!\[(?:png|svg|jpeg)\]\(([^)\n]*-(\d+)-\d+\.)', words, body)

def make(root=ROOT): # -> {path from the top: bytes}
    "README.md and its figures, named by the cell that drew them"
    import nbformat
    from nbconvert import MarkdownExporter
    nb = reader_view(nbformat.read(Path(root)/'nbs'/'index.ipynb', as_version=4))
    for c in nb.cells:
        if c.cell_type == 'markdown': c.source = relink(c.source)
        for o in c.get('outputs', []):
            md = o.get('data', {}).get('text/markdown')
            if md: o['data']['text/markdown'] = relink(md)
    no_prompts = {'exclude_input_prompt': True, 'exclude_output_prompt': True}
    figures = {'enabled': True, 'output_filename_template': 'README-figure-{cell_index}-{index}{extension}'}
    exporter = MarkdownExporter(config={'TemplateExporter': no_prompts, 'ExtractOutputPreprocessor': figures})
    body,res = exporter.from_notebook_node(nb)
    body = name_figures(body, nb)
    files = {}
    for name,data in sorted(res.get('outputs', {}).items()):
        _,_,cell,rest = name.split('-', 3)
        path = f'{IMAGES}/{nb.cells[int(cell)].id}-{rest}'
        body = body.replace(name, path)
        files[path] = data
    body = re.sub(r'\n{3,}', '\n\n', '\n'.join(l.rstrip() for l in body.splitlines())).strip()
    return {'README.md': (NOTE + body + '\n').encode(), **files}

def write(root=ROOT):
    root = Path(root)
    files = make(root)
    shutil.rmtree(root/IMAGES, ignore_errors=True)
    for path,data in files.items():
        (root/path).parent.mkdir(parents=True, exist_ok=True)
        (root/path).write_bytes(data)
    return list(files)

def problems(root=ROOT): # -> [str], empty when README.md and its figures are those of the notebook
    root = Path(root)
    if not (root/'nbs'/'index.ipynb').exists(): return ['nbs/index.ipynb is missing, from which README.md is made.']
    want = make(root)
    found = [p for p in [root/'README.md', *(root/IMAGES).glob('*')] if p.exists()]
    there = {p.relative_to(root).as_posix() for p in found}
    bad = [p for p in sorted(there | set(want)) if p not in want or p not in there or (root/p).read_bytes() != want[p]]
    return [f'{p} is not what nbs/index.ipynb makes. Edit the notebook and run: make sync' for p in bad]

if __name__ == '__main__':
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--check', action='store_true',
                    help='write nothing; fail if README.md is not what the notebook makes')
    if ap.parse_args().check: sys.exit('\n'.join(problems()) or 0)
    if not (ROOT/'nbs'/'index.ipynb').exists(): sys.exit('\n'.join(problems()))
    print(*write(), sep='\n')
