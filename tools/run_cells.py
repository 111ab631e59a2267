"""Execute a notebook's cells by plain Python, for machines without Jupyter: what a cell shows is printed."""
import argparse, ast, json, linecache, os, re, sys, time, traceback, types
from pathlib import Path

FLAGS = 'slow','cuda' # as tst_flags in settings.ini

def flags_of(source): return {f for f in FLAGS if re.search(rf'^#\|\s*{f}\s*$', source, re.M)}

def code_cells(path, flags=()): # -> [(number, id, source)], those that are to run
    "Cells without a flag, or with one that was asked for"
    cells = json.loads(Path(path).read_text(encoding='utf-8'))['cells']
    found = [(i, c.get('id', ''), ''.join(c['source'])) for i,c in enumerate(cells) if c['cell_type'] == 'code']
    off = re.compile(r'^#\|\s*(default_exp|eval:\s*false)', re.M)
    return [c for c in found if c[2].strip() and not off.search(c[2]) and flags_of(c[2]) <= set(flags)]

def shown(value, most=2000): # -> text
    "What a reader of a log is shown of a value"
    if value is None: return ''
    as_table = getattr(value, '_repr_markdown_', None)
    text = as_table() if callable(as_table) else repr(value)
    return text if len(text) <= most else f'{text[:most]} …'

def run_cell(source, name, space):
    "Run a cell, and show the value of its last expression"
    linecache.cache[name] = len(source), None, source.splitlines(True), name # for tracebacks and `inspect.getsource`
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, 'exec'), space)
    if last is None: return
    text = shown(eval(compile(ast.Expression(last.value), name, 'eval'), space))
    if text and not source.rstrip().endswith(';'): print(text, flush=True)

class _Silent(types.ModuleType): # of JupyterLab's parts: whatever is asked of it does nothing
    def __getattr__(self, name):
        if name.startswith('__'): raise AttributeError(name)
        return lambda *args, **kw: None

def without_jupyter():
    "Stand-ins for modules that only draw in notebooks, where they are missing"
    for name in ('matplotlib_inline','matplotlib_inline.backend_inline','IPython','IPython.display'):
        try: __import__(name)
        except ImportError: sys.modules[name] = _Silent(name)

def run(path, flags=(), before=None): # -> number of cells that ran with one of the flags
    "Run a notebook in its own folder, up to its first error"
    path = Path(path).resolve()
    space = {'__name__': '__main__', 'display': lambda *values: print(*map(shown, values), sep='\n')}
    if before: run_cell(Path(before).read_text(encoding='utf-8'), str(before), space)
    os.chdir(path.parent)
    flagged = 0
    for i,key,source in code_cells(path, flags):
        start = time.perf_counter()
        try: run_cell(source, f'{path.name}#{key}', space)
        except Exception:
            print(f'FAILED {path.name} cell {i} {key}\n{source}\n{traceback.format_exc()}', file=sys.stderr, flush=True)
            raise SystemExit(1) from None
        took = time.perf_counter() - start
        mine = flags_of(source)
        flagged += bool(mine)
        if mine or took > 5: print(f'ok {path.name} cell {i} {key} {" ".join(sorted(mine))} {took:.1f} s', flush=True)
    return flagged

def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('notebook', type=Path)
    ap.add_argument('--flags', nargs='*', default=[], choices=FLAGS, help='run cells with these flags as well')
    ap.add_argument('--before', type=Path, help='a Python file to run first, in the same namespace')
    a = ap.parse_args(argv)
    if not a.notebook.exists(): ap.error(f'no such notebook: {a.notebook}')
    before = a.before and a.before.resolve()
    for v in ('IRM_NB_DATA','IRM_NB_STORE'): # meant from here
        if os.environ.get(v): os.environ[v] = str(Path(os.environ[v]).resolve())
    os.environ.setdefault('MPLBACKEND', 'agg')
    without_jupyter()
    flagged = run(a.notebook, a.flags, before)
    print(f'ALL OK {a.notebook.name}, {flagged} flagged cells')

if __name__ == '__main__': main()
