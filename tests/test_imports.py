"""Every room imports in a fresh interpreter: no GPU, no network, no JupyterLab, none of the development tools; the training path without the slow libraries."""
import json, os, re, subprocess, sys
import pytest

import check
from conftest import ROOT

LIB = ROOT/'irm_nb'
ROOMS = ['irm_nb', *sorted('.'.join(p.relative_to(ROOT).with_suffix('').parts) for p in LIB.rglob('*.py') if p.name not in ('__init__.py', '_modidx.py'))]
LIGHT = {f'irm_nb.{m}' for m in 'core store scenes clouds batches tasks metrics models train distill irm transfer'.split()}
SLOW = 'rasterio sklearn scipy matplotlib pandas seaborn IPython ipywidgets'.split()
ABSENT = ['jupyterlab', 'jupyter_server', 'notebook', 'ipykernel', 'distributed', *(re.split(r'[=<>[]', r)[0] for r in check.shlex.split(check.settings(ROOT)['dev_requirements']))]

# One interpreter loads torch, under the same ban, and forks a child for each room: as fresh as an interpreter of its own but for torch, in a tenth of the time.
PROBE = '''
import importlib, json, os, socket, sys, traceback
rooms,absent,slow = json.loads(sys.argv[1])
for m in absent: sys.modules[m] = None # importing it fails, as where it isn't installed
class NoNetwork(socket.socket):
    def __init__(self, family=-1, *args, **kwargs):
        if family in (-1, socket.AF_INET, socket.AF_INET6): raise OSError('an import opened a socket')
        super().__init__(family, *args, **kwargs)
def no_lookup(*args, **kwargs): raise OSError('an import looked up a host')
socket.socket = NoNetwork
socket.create_connection = socket.getaddrinfo = no_lookup
import torch, torchvision

def child(room):
    try:
        importlib.import_module(room)
        error = 'an import initialised CUDA' if torch.cuda.is_initialized() else ''
    except BaseException: error = traceback.format_exc()
    print(json.dumps([room, error, [m for m in slow if m in sys.modules]]), flush=True)
    os._exit(0)

for room in rooms:
    pid = os.fork()
    if not pid: child(room)
    os.waitpid(pid, 0)
'''

def probe(*rooms): # -> {room: (error or '', [slow libraries that it loaded])}
    env = {k: v for k,v in os.environ.items() if not k.startswith('IRM_NB_')} | dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    done = subprocess.run([sys.executable, '-c', PROBE, json.dumps([rooms, ABSENT, SLOW])], text=True, capture_output=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    return {room: (error, slow) for room,error,slow in map(json.loads, filter(lambda l: l.startswith('["'), done.stdout.splitlines()))}

@pytest.fixture(scope='session')
def probes(): return probe(*ROOMS)

@pytest.mark.parametrize('room', ROOMS)
def test_imports(probes, room): assert not probes[room][0], probes[room][0]

@pytest.mark.parametrize('room', [r for r in ROOMS if r in LIGHT])
def test_imports_nothing_slow(probes, room): assert probes[room][1] == []

def test_the_probe_sees(tmp_path, monkeypatch):
    "A module that breaks each rule is caught"
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    (tmp_path/'looks.py').write_text('import socket; socket.create_connection(("example.org", 80))')
    (tmp_path/'opens.py').write_text('import socket; socket.socket()')
    (tmp_path/'needs.py').write_text('import jupyterlab')
    (tmp_path/'heavy.py').write_text('import scipy')
    got = probe('looks', 'opens', 'needs', 'heavy')
    assert 'looked up a host' in got['looks'][0] and 'opened a socket' in got['opens'][0] and 'jupyterlab' in got['needs'][0]
    assert got['heavy'] == ('', ['scipy'])
