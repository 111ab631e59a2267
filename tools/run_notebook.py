"""Execute notebooks from top to bottom: live progress, the failing cell on failure, a report in HTML on request."""
import argparse, contextlib, json, os, re, shutil, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import outputs, run_cells
os.environ.setdefault('JUPYTER_PREFER_ENV_PATH', '1') # this environment's kernel, not one of the same name elsewhere
for k,v in (('GOMP_SPINCOUNT', '3000'), ('KMP_BLOCKTIME', '1')): os.environ.setdefault(k, v) # as irm_nb, for kernels that load torch first
os.environ.pop('MPLBACKEND', None) # the kernel draws inline; with a backend from outside there would be no figures
VIEW = 'application/vnd.jupyter.widget-view+json'
CLEAR = '\r\x1b[K' # back to the start of the line, which is emptied
_ansi = re.compile(r'\x1b\[[0-9;?]*[A-Za-z]')

def _clock(s): return f'{int(s)//60}:{int(s)%60:02}'

def _headline(cell):
    lines = [l.strip() for l in cell.source.splitlines() if l.strip() and not l.lstrip().startswith('#')]
    return lines[0] if lines else ''

def _last_line(cell): # what a progress bar in the cell says now
    text = ''.join(o.get('text', '') for o in cell.get('outputs', []) if o.output_type == 'stream')
    lines = [l.strip() for l in re.split(r'[\r\n]', _ansi.sub('', text)) if l.strip()]
    return lines[-1] if lines else ''

class Failed(Exception): pass

class Progress:
    "Which cell of how many runs, and for how long: a line that is rewritten on a terminal, one now and then in a log"
    def __init__(self, name, n):
        out = sys.stderr
        self.name,self.n = name,n
        self.i = 0
        self.cell = None
        self.out = out
        self.tty = out.isatty()
        self.start = time.time()
        self.said = 0.
    def begin(self, cell, **_):
        if cell.cell_type != 'code' or not cell.source.strip(): return
        self.i += 1
        self.cell = cell
        self.say()
    def say(self, every=15):
        if self.cell is None or (not self.tty and time.time()-self.said < every): return
        self.said = time.time()
        words = _last_line(self.cell) or _headline(self.cell)
        s = f'{self.name}  cell {self.i}/{self.n}  {self.time()}  {words}'
        if self.tty: self.out.write(CLEAR + s[:os.get_terminal_size().columns-1])
        else: self.out.write(s[:160] + '\n')
        self.out.flush()
    def end(self, what):
        print(f'{CLEAR*self.tty}{self.name}  {what} in {self.time()}', file=self.out, flush=True)
    def time(self): return _clock(time.time() - self.start)
    @contextlib.contextmanager
    def ticking(self):
        stop = threading.Event()
        def tick():
            while not stop.wait(1): self.say()
        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try: yield
        finally:
            stop.set()
            ticker.join()

def _dead(o): # progress bars and controls, without their kernel; a widget that brought a picture leaves that
    return o.get('data', {}).pop(VIEW, None) is not None and set(o.data) <= {'text/plain'}

def _for_a_gpu(cells): # those of them that can't run here
    flagged = [c for c in cells if 'cuda' in run_cells.flags_of(c.source)]
    if not flagged: return []
    import torch
    return [] if torch.cuda.is_available() else flagged

def execute(path, # notebook
            timeout): # seconds a single cell may take
    "Run a notebook in its own folder -> (the notebook as far as it came, None or what stopped it)"
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    nb = nbformat.read(path, as_version=4)
    code = [c for c in nb.cells if c.cell_type == 'code']
    for c in code:
        c.outputs = []
        c.execution_count = None
    left_out = _for_a_gpu(code)
    for c in left_out: c.metadata.tags = [*c.metadata.get('tags', []), 'skip-execution']
    show = Progress(Path(path).name, sum(bool(c.source.strip()) for c in code))
    home = {'metadata': {'path': str(Path(path).resolve().parent)}}
    client = NotebookClient(nb, timeout=timeout, startup_timeout=180, kernel_name='python3', store_widget_state=False,
                            on_cell_start=show.begin, resources=home)
    why = None
    try:
        with show.ticking(): client.execute()
    except CellExecutionError as e: why = '\n'.join(e.traceback.splitlines()[-40:])
    except CellTimeoutError: why = f'The cell took longer than {timeout} s. Give it more time with --timeout.'
    except DeadKernelError:
        why = 'The kernel died, most often for want of memory. Close other programs, or run a smaller job.'
    nb.metadata.pop('widgets', None)
    for c in left_out:
        c.metadata.tags.remove('skip-execution')
        if not c.metadata.tags: del c.metadata['tags']
    for c in code: c.outputs = [o for o in c.outputs if not _dead(o)]
    if why:
        if not sys.stderr.isatty(): why = _ansi.sub('', why)
        src = '\n'.join(f'    {l}' for l in (show.cell.source if show.cell else '').splitlines())
        why = f'{path}: cell {show.i} of {show.n} failed\n\n{src}\n\n{why}'
    show.end('stopped' if why else 'done')
    return nb,why

def stamp(path): # notebook, about to be executed
    "What its outputs will be made by; None outside of a tree, or where another tree's library is imported"
    import irm_nb
    root = outputs.home(path)
    if root is None or Path(irm_nb.__file__).resolve().parent != root/outputs.PACKAGE: return None
    return outputs.as_text(outputs.made_by(outputs.Library(root), json.loads(Path(path).read_text(encoding='utf-8'))))

def to_html(nb, title):
    "One self-contained page: figures inside, hidden cells and directives left out"
    from copy import deepcopy
    from nbconvert import HTMLExporter
    from make_readme import reader_view
    page = HTMLExporter(embed_images=True, exclude_input_prompt=True, exclude_output_prompt=True, require_js_url='',
                        jquery_url='')
    return page.from_notebook_node(reader_view(deepcopy(nb)), resources={'metadata': {'name': title}})[0]

def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('notebook', nargs='+', type=Path)
    ap.add_argument('--out', type=Path, help='where the executed notebook goes (one notebook only)')
    ap.add_argument('--html', type=Path,
                    help='where a report goes: a page without the hidden cells (one notebook only)')
    ap.add_argument('--inplace', action='store_true',
                    help='keep the outputs in the notebooks themselves; one that fails stays as it was')
    ap.add_argument('--timeout', type=int, default=1800, help='seconds a single cell may take (default %(default)s)')
    a = ap.parse_args(argv)
    if a.inplace == bool(a.out): ap.error('choose --out FILE or --inplace')
    if len(a.notebook) > 1 and not a.inplace: ap.error('--out and --html take one notebook')
    if missing := [str(p) for p in a.notebook if not p.exists()]: ap.error(f'no such notebook: {", ".join(missing)}')
    for v in ('IRM_NB_DATA', 'IRM_NB_STORE'): # meant from here; the kernel starts in the notebook's folder
        if os.environ.get(v): os.environ[v] = str(Path(os.environ[v]).resolve())
    import nbformat
    from irm_nb.core import OutputError, atomic_file
    for path in a.notebook:
        try:
            with contextlib.ExitStack() as places: # found unwritable before the work, not after
                out = places.enter_context(atomic_file(a.out or path))
                html = places.enter_context(atomic_file(a.html)) if a.html else None
                made_by = stamp(path) # of the code as it is now: an edit while it runs is seen
                nb,why = execute(path, a.timeout)
                nb.metadata.pop(outputs.STAMP, None)
                if made_by: nb.metadata[outputs.STAMP] = made_by
                if why and a.inplace: raise Failed(why)
                nbformat.write(nb, out)
                title = next((m[1] for c in nb.cells if (m := re.match(r'#\s+(.+)', c.source))), path.stem)
                if html: html.write_text(to_html(nb, title), encoding='utf-8')
                for p in filter(None, (out, html)): shutil.copymode(path, p) # temporary files are private
        except OutputError as e: sys.exit(f'{e}')
        except Failed as e: sys.exit(f'{e}\n\n{path} is as it was.')
        except KeyboardInterrupt:
            print('\nStopped. Finished stages are kept in the store: the same command goes on from there.',
                  file=sys.stderr)
            sys.exit(130)
        if why: sys.exit(f'{why}\n\nAs far as it came: {a.out}')
        for p in filter(None, (a.out, a.html)): print(p)

if __name__ == '__main__': main()
