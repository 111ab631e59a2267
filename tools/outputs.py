"""Which code the outputs of a notebook depend on: its own cells, and the definitions that they reach by name in the library's modules."""
import ast, builtins, functools, hashlib, io, re, tokenize
from dataclasses import dataclass, field
from pathlib import Path

STAMP = 'made_by' # metadata of an executed notebook; settings.ini lets nbdev_clean keep it
PACKAGE = 'irm_nb'
ALL = '*'

# Code as it counts: without comments, docstrings and blank lines

def _docstrings(tree):
    "The lines of all docstrings"
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body: continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            yield first

def _comments(source):
    with_ends = io.StringIO(source).readline
    return [t.start for t in tokenize.generate_tokens(with_ends) if t.type == tokenize.COMMENT]

def bare(source): # text of a module or a cell
    "The lines that count; a cell with IPython's own syntax counts as it is written"
    try:
        tree,comments = ast.parse(source),_comments(source)
    except (SyntaxError, tokenize.TokenError, IndentationError):
        return '\n'.join(l.rstrip() for l in source.splitlines() if l.strip() and not l.startswith('#'))
    lines = source.splitlines()
    for row,col in comments: lines[row-1] = lines[row-1][:col]
    for d in _docstrings(tree):
        one_of_several = d.end_lineno == d.lineno and lines[d.lineno-1].strip()[:1] not in '"\'rR'
        if one_of_several: continue # `def f(): "…"`: the docstring counts
        for i in range(d.lineno-1, d.end_lineno): lines[i] = ''
    return '\n'.join(l.rstrip() for l in lines if l.strip())

def short(*parts): return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:8]

# Modules

@dataclass
class Part:
    "A definition, with what is patched to it: what it says and what it names"
    text: list = field(default_factory=list)
    names: set = field(default_factory=set) # of the same module
    reached: set = field(default_factory=set) # (module, name) imported inside it, or mentioned as a string
    strings: set = field(default_factory=set)

@dataclass
class Module:
    parts: dict # name -> Part; the name '' is what runs at import and defines nothing by itself
    imported: dict # name -> (module, name)
    stars: list # modules of which everything is imported
    modules: set # imported at the top

def _imports(nodes, inside=''): # the package that relative imports start from
    "(name here, module, name there) of each import from the library"
    for n in nodes:
        if isinstance(n, ast.ImportFrom):
            up = inside.split('.')[:len(inside.split('.')) + 1 - n.level] if n.level else []
            m = '.'.join([*up, n.module] if n.module else up)
            if m.split('.')[0] != PACKAGE: continue
            for a in n.names: yield a.asname or a.name,m,a.name
        if isinstance(n, ast.Import):
            for a in n.names:
                if a.name.split('.')[0] == PACKAGE: yield a.asname or PACKAGE,a.name,ALL

def _add(part, lines, node, inside):
    first = min(n.lineno for n in (node, *getattr(node, 'decorator_list', ())))
    part.text.append(bare('\n'.join(lines[first-1:node.end_lineno])))
    nodes = [*ast.walk(node)]
    part.names |= {n.id for n in nodes if isinstance(n, ast.Name)}
    part.reached |= {(m, there) for _,m,there in _imports(nodes, inside)}
    part.strings |= {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}

def _root(node): # the name that a decorator starts with
    while not isinstance(node, ast.Name): node = getattr(node, 'func', None) or getattr(node, 'value')
    return node.id

def _patched(node): # -> name of the class that `@patch` adds it to, or None
    if not any(_root(d) == 'patch' for d in node.decorator_list): return None
    first = [*node.args.posonlyargs, *node.args.args][0].annotation
    return first.value if isinstance(first, ast.Constant) else getattr(first, 'id', '')

def _targets(node):
    "Names that an assignment gives, or None where it does more than that"
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat = [e for t in targets for e in (t.elts if isinstance(t, (ast.Tuple, ast.List)) else [t])]
    return [t.id for t in flat] if all(isinstance(t, ast.Name) for t in flat) else None

def _places(node, known, foreign):
    "The parts that a statement at the top belongs to"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        if not isinstance(node, ast.ClassDef) and (cls := _patched(node)) is not None: return [cls if cls in known else '']
        registered = any(_root(d) not in foreign for d in node.decorator_list)
        return [node.name, ''] if registered else [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)): return _targets(node) or ['']
    return ['']

def _foreign(nodes): # what a decorator from elsewhere does, it does to its function alone
    "Names that are imported from other libraries, and Python's own"
    given = {(a.asname or a.name).split('.')[0] for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    return (given | {*dir(builtins)}) - {here for here,_,_ in _imports(nodes, PACKAGE)}

def module(source, inside): # -> Module
    tree,lines = ast.parse(source),source.splitlines()
    top = [n for n in tree.body if not isinstance(n, (ast.Import, ast.ImportFrom))]
    imports = [*_imports(tree.body, inside)]
    imported = {here: (m, there) for here,m,there in imports if here != ALL}
    known = {n.name for n in top if hasattr(n, 'name')}
    foreign = _foreign(tree.body)
    parts = {'': Part()}
    for n in top:
        given = _targets(n) if isinstance(n, (ast.Assign, ast.AnnAssign)) else None
        if given == ['__all__'] or isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant): continue
        for name in _places(n, known, foreign): _add(parts.setdefault(name, Part()), lines, n, inside)
    return Module(parts, imported, [m for here,m,_ in imports if here == ALL], {m for _,m,_ in imports})

class Library:
    "The modules of a tree, each read once"
    def __init__(self, root):
        self.folder = Path(root)/PACKAGE
        self.module = functools.cache(self._module)
        self.next = functools.cache(lambda name, word: [*self._next(name, word)])
        self.where = functools.cache(self._where)
        self.data = {p.name: p for p in (self.folder/'data').glob('*') if p.is_file()}
    def _file(self, name):
        where = self.folder.joinpath(*name.split('.')[1:])
        return next((p for p in (where.with_suffix('.py'), where/'__init__.py') if p.is_file()), None)
    def _module(self, name):
        f = self._file(name)
        if f is None: return None
        inside = name if f.name == '__init__.py' else name.rpartition('.')[0]
        return module(f.read_text(encoding='utf-8'), inside)
    def _where(self, name, word):
        "(module, name) for a name as a module knows it; None for one that isn't the library's"
        m = self.module(name)
        if word in m.parts: return name,word
        if word in m.imported: return m.imported[word]
        return next((at for s in reversed(m.stars) if self.module(s) and (at := self.where(s, word))), None)
    def _next(self, name, word):
        "What a definition reaches from where it stands"
        m = self.module(name)
        part = m.parts.get(word, Part())
        yield from part.reached
        yield from ((s, ALL) for s in part.strings if s.startswith(PACKAGE + '.') and self.module(s))
        yield from filter(None, (self.where(name, n) for n in part.names - {word}))
    def reached(self, start): # of (module, name)
        "All that is reached from there: {module: {name}}, and the files of data that it names"
        todo,seen,files = [*start],set(),set()
        while todo:
            name,word = todo.pop()
            if (name, word) in seen: continue
            seen.add((name, word))
            if word.isidentifier() and self.module(f'{name}.{word}'): todo.append((f'{name}.{word}', ALL)) # `from package import module`
            if not (m := self.module(name)): continue
            words = m.parts if word == ALL else ('', word)
            todo += [(name, w) for w in words] + [(i, '') for i in m.modules] + [*self.next(name, word)]
            if word not in m.parts and (at := self.where(name, word)): todo.append(at) # handed on
            if word == ALL: todo += [(s, ALL) for s in m.stars]
            files |= {self.data[s] for s in m.parts.get(word, Part()).strings if s in self.data}
        out = {}
        for name,word in seen:
            if (m := self.module(name)) and word in m.parts: out.setdefault(name, set()).add(word)
        return out,files
    def digests(self, start): # -> {module: digest of what is reached in it}
        found,files = self.reached(start)
        out = {}
        for name,words in found.items():
            text = [t for w in sorted(words) for t in self.module(name).parts[w].text]
            if text: out[name.removeprefix(PACKAGE + '.')] = short(*text)
        return out | {f.name: short(f.read_bytes().hex()) for f in files}

# Notebooks

def code_of(nb): # notebook as JSON -> sources of its code cells
    return [s for c in nb['cells'] if c['cell_type'] == 'code' and (s := ''.join(c['source'])).strip()]

def _starts(cells):
    "What the cells import from the library; of a module under a name, all of it"
    for source in cells:
        try: tree = ast.parse(source)
        except SyntaxError: tree = ast.parse('\n'.join(l for l in source.splitlines() if not re.match(r'\s*[%!]', l)))
        for _,m,there in _imports(ast.walk(tree)): yield m,there

def made_by(library, nb): # -> {'notebook': digest, module: digest}
    "The code that the outputs of a notebook depend on, in digests"
    cells = code_of(nb)
    return dict(notebook=short(*map(bare, cells)), **library.digests(_starts(cells)))

def as_text(made): return ' '.join(f'{k}:{v}' for k,v in made.items() if k == 'notebook') + ''.join(f' {k}:{made[k]}' for k in sorted(made) if k != 'notebook')
def from_text(text): return dict(w.rsplit(':', 1) for w in text.split())

def home(path): # -> the tree that a notebook belongs to, or None
    return next((p for p in Path(path).resolve().parents if (p/'settings.ini').is_file() and (p/PACKAGE).is_dir()), None)

def stated_version(nb): # -> '0.1' where the notebook says whose outputs these are
    prose = ' '.join(''.join(c['source']) for c in nb['cells'] if c['cell_type'] == 'markdown')
    found = re.search(r'outputs\b[^.]*\b(?:those of|made by) version (\d+(?:\.\d+)*)', prose)
    return found and found[1]

def older(library, nb): # -> what changed since its outputs were made: [] for nothing, None where that isn't known
    stamp = nb['metadata'].get(STAMP)
    if stamp is None: return None
    was,now = from_text(stamp),made_by(library, nb)
    names = {'notebook': 'its own cells'}
    return [names.get(k, k) for k in sorted(was | now, key=lambda k: (k != 'notebook', k)) if was.get(k) != now.get(k)]
