"""The documentation site: every notebook as a page in the order of nbs/index.ipynb, a page of signatures for each module, search. Nothing is executed."""
import argparse, ast, json, os, re, shutil, subprocess, sys, tempfile, unicodedata
from pathlib import Path
from posixpath import join, normpath, relpath

sys.path.insert(0, str(Path(__file__).parent))
import check, make_readme
from check import settings

ROOT = Path(__file__).resolve().parent.parent
PAGES = {'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md', 'SECURITY.md': 'security.md'}
CODE = re.compile(r'(^```.*?^```|^~~~.*?^~~~|`[^`\n]+`)', re.S|re.M)

def notebooks(root): # -> {page: notebook}, 'nbs/05_world.ipynb' as '05_world.md'
    found = (p.relative_to(root).as_posix() for p in check.notebooks(root))
    return {p.removeprefix('nbs/').removesuffix('.ipynb') + '.md': p for p in found}

# Text

def slug(heading): # as Markdown's table of contents makes it
    plain = unicodedata.normalize('NFKD', heading).encode('ascii', 'ignore').decode()
    return re.sub(r'[-\s]+', '-', re.sub(r'[^\w\s-]', '', plain).strip().lower())

def outside_code(text, change):
    parts = CODE.split(text)
    parts[::2] = map(change, parts[::2])
    return ''.join(parts)

class Links:
    "Where a link of a file leads on the site"
    def __init__(self, root):
        cfg = settings(root)
        self.root = Path(root)
        self.at = {p: page for page,p in notebooks(root).items()} | PAGES
        self.outside = f'{cfg["git_url"]}/blob/{cfg["branch"]}/'
    def to(self, url, source): # source: file from the top
        path,sep,anchor = url.partition('#')
        if re.match(r'[a-zA-Z][\w+.-]*:|/', path): return url
        anchor = sep + (slug(anchor.replace('-', ' ')) if sep else '')
        if not path: return anchor
        there = normpath(join(Path(source).parent.as_posix(), path))
        here = Path(self.at[source]).parent.as_posix()
        if there == 'README.md': there = 'nbs/index.ipynb'
        if there in self.at: return relpath(self.at[there], here) + anchor
        if there.startswith('nbs/images/'): return relpath(there.removeprefix('nbs/'), here)
        if not (self.root/there).exists(): raise FileNotFoundError(f'{source} links to {url}, which leads nowhere. Mend the link.')
        return self.outside + there + sep + url.partition('#')[2]
    def text(self, text, source):
        def change(t):
            t = re.sub(r'(\]\(<?)([^)\s>]+)', lambda m: m[1] + self.to(m[2], source), t)
            return re.sub(r'(\b(?:src|href)=["\'])([^"\']+)', lambda m: m[1] + self.to(m[2], source), t)
        return outside_code(text, change)

def mathml(text):
    "TeX as MathML, which browsers draw by themselves"
    def convert(tex, **how):
        from latex2mathml.converter import convert as drawn # of the extra docs
        return drawn(tex, **how)
    def block(m):
        tag = re.search(r'\\tag\{(.+?)\}', m[1])
        body = convert(re.sub(r'\\tag\{.+?\}', '', m[1]), display='block')
        return f'\n<div class="equation">{body}{f"<span>({tag[1]})</span>" if tag else ""}</div>\n'
    def change(t):
        t = re.sub(r'\$\$(.+?)\$\$', block, t, flags=re.S)
        return re.sub(r'(?<![\\$\w])\$([^$\n]+?)\$(?![\w$])', lambda m: convert(m[1]), t)
    return outside_code(text, change)

# A notebook as a page

def defined(source): # names that an exported cell gives, with the class of what is patched
    try: tree = ast.parse(source)
    except SyntaxError: return
    for n in tree.body:
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef)): continue
        yield f'{_class_of(n)}.{n.name}' if _class_of(n) else n.name

def _class_of(node): # that a function is patched to
    decorators = [ast.unparse(d) for d in getattr(node, 'decorator_list', ())]
    if isinstance(node, ast.ClassDef) or not any(d.split('(')[0] == 'patch' for d in decorators): return None
    return ast.unparse([*node.args.posonlyargs, *node.args.args][0].annotation)

def page(root, name, notebook, links): # -> {path on the site's source: bytes}
    import nbformat
    from nbconvert import MarkdownExporter
    nb = nbformat.read(Path(root, notebook), as_version=4)
    anchors = {c.id: [*defined(c.source)] for c in nb.cells if c.cell_type == 'code' and re.search(r'^#\|\s*export', c.source, re.M)}
    nb = make_readme.reader_view(nb)
    cells = []
    for c in nb.cells:
        if c.cell_type == 'markdown': c.source = mathml(links.text(c.source, notebook))
        for o in c.get('outputs', []):
            if (data := o.get('data', {})).get('text/markdown'): data['text/markdown'] = mathml(links.text(data['text/markdown'], notebook))
        if names := anchors.get(c.id):
            cells.append(nbformat.v4.new_markdown_cell(''.join(f'<a id="{n.lower()}"></a>' for n in names)))
        cells.append(c)
    nb.cells = cells
    folder,stem = Path(name).parent.as_posix(),Path(name).stem
    figures = {'enabled': True, 'output_filename_template': f'{stem}-{{cell_index}}-{{index}}{{extension}}'}
    plain = {'exclude_input_prompt': True, 'exclude_output_prompt': True}
    body,res = MarkdownExporter(config={'TemplateExporter': plain, 'ExtractOutputPreprocessor': figures}).from_notebook_node(nb)
    body = make_readme.name_figures(body, nb)
    return {name: body.encode()} | {normpath(join(folder, f)): data for f,data in res.get('outputs', {}).items()}

# Signatures

def _head(lines, node): # of a function: decorators and parameters with what is said beside them
    first = min(n.lineno for n in (node, *node.decorator_list))
    body = node.body[0]
    last = body.lineno - 1 if body.lineno > node.lineno else node.lineno
    text = '\n'.join(lines[first-1:last])
    if body.lineno == node.lineno: text = text[:len(text) - len(lines[node.lineno-1]) + body.col_offset].rstrip()
    return re.sub(r'\n\s*$', '', '\n'.join(l[node.col_offset:] for l in text.splitlines()))

def _members(lines, node): # fields of a class as they are written, and its public methods
    fields = [lines[n.lineno-1].strip() for n in node.body if isinstance(n, ast.AnnAssign)]
    yield '\n'.join([f'class {node.name}({", ".join(map(ast.unparse, node.bases))}):'.replace('()', ''), *(f'    {f}' for f in fields)])
    for n in node.body:
        if isinstance(n, ast.FunctionDef) and (n.name == '__init__' or not n.name.startswith('_')): yield _head(lines, n)

def api(root, module, source, notebook_page): # -> text of a page
    "The public names of a module: signatures with the words beside their parameters, and where each is explained"
    tree,lines = ast.parse(source),source.splitlines()
    public = next((ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == '__all__'), []) if module else []
    above = '../'*module.count('.') + '../' + notebook_page
    out = [f'# {module}', '', f'`irm_nb.{module}`: {ast.get_docstring(tree) or ""} Shown and tested in [{module.split(".")[-1]}]({above}).', '']
    patched = {}
    for n in tree.body:
        if isinstance(n, ast.FunctionDef) and (cls := _class_of(n)) and not n.name.startswith('_'): patched.setdefault(cls, []).append(n)
    def say(name, codes, doc):
        out.extend([f'## {name.split(".")[-1] if "." not in name else name} {{#{name.lower()}}}', '', *([doc, ''] if doc else [])])
        for c in codes: out.extend(['```python', c, '```', ''])
        out.extend([f'[where it is explained]({above}#{name.lower()})', ''])
    for n in tree.body:
        if not isinstance(n, (ast.FunctionDef, ast.ClassDef)) or n.name not in public: continue
        say(n.name, [*_members(lines, n)] if isinstance(n, ast.ClassDef) else [_head(lines, n)], ast.get_docstring(n))
    for cls,methods in patched.items():
        for n in methods: say(f'{cls}.{n.name}', [_head(lines, n)], ast.get_docstring(n))
    values = [v for v in public if not any(getattr(n, 'name', None) == v for n in tree.body)]
    if values: out += ['## Values', '', ', '.join(f'`{v}`' for v in values), '']
    return '\n'.join(out)

def modules(root): # -> {name: (source, page of its notebook)}
    out = {}
    for p in sorted(Path(root, 'irm_nb').rglob('*.py')):
        text = p.read_text(encoding='utf-8')
        m = re.search(r'^# AUTOGENERATED! DO NOT EDIT! File to edit: \S*nbs/(\S+)\.ipynb\.$', text, re.M)
        if m: out['.'.join(p.relative_to(Path(root, 'irm_nb')).with_suffix('').parts)] = text,f'{m[1]}.md'
    return out

# The site

def navigation(root): # -> [(group, [(title, page)])]
    "The order of reading, from the tables of nbs/index.ipynb"
    cells = [''.join(c['source']) for c in json.loads(Path(root, 'nbs', 'index.ipynb').read_text(encoding='utf-8'))['cells']]
    text = next(c for c in cells if c.startswith('First see it work'))
    groups = [('See it work', [])]
    names = {'Then what': 'What was found', 'Last, what': 'Your own'}
    for l in text.splitlines():
        if name := next((v for k,v in names.items() if l.startswith(k)), None): groups.append((name, []))
        if m := re.match(r'\| \*\*(.+?)\*\* \|', l): groups.append((m[1], []))
        if m := re.match(r'\| \[(.+?)\]\((\S+?)\.ipynb\)', l): groups[-1][1].append((m[1].split('/')[-1], f'{m[2]}.md'))
    missing = {*notebooks(root)} - {p for _,pages in groups for _,p in pages} - {'index.md'}
    if missing: raise ValueError(f'nbs/index.ipynb leaves out {", ".join(sorted(missing))}. Name them in its reading order.')
    return groups

STYLE = '''.md-grid { max-width: 76rem } .md-typeset table:not([class]) { font-size: .68rem }
.md-typeset img { background: white; max-width: 100% } .md-typeset pre > code { font-size: .68rem }
.equation { display: flex; align-items: center; gap: 1em; overflow-x: auto; margin: 1em 0 } .equation math { flex: 1 }
.md-typeset > .md-typeset__scrollwrap, .md-typeset div:has(> table) { overflow-x: auto }
'''

def config(root, source, out):
    cfg = settings(root)
    rooms = modules(root)
    nav = [{'Start': 'index.md'}]
    nav += [{name: [{t: p} for t,p in pages]} for name,pages in navigation(root)]
    nav += [{'Signatures': [{m: f'api/{m.replace(".", "/")}.md'} for m in rooms]}]
    nav += [{'Project': [{'Contributing': 'contributing.md'}, {'Changelog': 'changelog.md'}, {'Security': 'security.md'}]}]
    colours = [dict(scheme=s, primary='teal', toggle=dict(icon=f'material/weather-{i}', name=n), media=f'(prefers-color-scheme: {m})')
               for s,i,n,m in (('default','sunny','dark','light'), ('slate','night','light','dark'))]
    return dict(
        site_name=cfg['title'], site_description=cfg['description'], repo_url=cfg['git_url'], site_url=cfg['doc_host'] + cfg['doc_baseurl'] + '/',
        docs_dir=str(source), site_dir=str(out), copyright=f'{cfg["copyright"]} · Apache-2.0', nav=nav, extra_css=['style.css'], plugins=['search'],
        theme=dict(name='material', font=False, palette=colours, features=['navigation.tracking','navigation.top','navigation.footer','toc.follow',
                   'search.suggest','search.highlight','content.code.copy']),
        markdown_extensions=['tables','attr_list','md_in_html','pymdownx.superfences','pymdownx.highlight',dict(toc=dict(permalink=True))],
        validation=dict(nav=dict(omitted_files='warn', not_found='warn'), links=dict(not_found='warn', anchors='warn', unrecognized_links='warn')))

def write(root, source):
    "The pages of the site as Markdown"
    links,files = Links(root),{'style.css': STYLE.encode()}
    for name,notebook in notebooks(root).items(): files |= page(root, name, notebook, links)
    for f,name in PAGES.items(): files[name] = links.text(Path(root, f).read_text(encoding='utf-8'), f).encode()
    for m,(text,notebook) in modules(root).items(): files[f'api/{m.replace(".", "/")}.md'] = api(root, m, text, notebook).encode()
    for name,data in files.items():
        (source/name).parent.mkdir(parents=True, exist_ok=True)
        (source/name).write_bytes(data)
    shutil.copytree(Path(root, 'nbs', 'images'), source/'images', dirs_exist_ok=True)

def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('--out', type=Path, default=ROOT/'_docs', help='folder of the site (default: _docs)')
    a = ap.parse_args(argv)
    with tempfile.TemporaryDirectory() as t:
        source = Path(t, 'pages')
        try: write(ROOT, source)
        except (FileNotFoundError, ValueError) as e: sys.exit(str(e))
        yml = Path(t, 'mkdocs.yml') # JSON is YAML
        yml.write_text(json.dumps(config(ROOT, source, a.out.resolve())), encoding='utf-8')
        env = dict(os.environ, NO_MKDOCS_2_WARNING='1')
        done = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--quiet', '-f', str(yml)], env=env)
    if not done.returncode: print(a.out/'index.html')
    return done.returncode

if __name__ == '__main__': sys.exit(main())
