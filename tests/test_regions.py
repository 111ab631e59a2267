"""A region that is killed at any strip, or cut by two processes at once, is the region that was left alone."""
import os, signal, subprocess, sys, time
import pytest

from conftest import ROOT

WRITE = '''
import numpy as np, rasterio
from affine import Affine
rng,t = np.random.default_rng(0),Affine(10,0,600000, 0,-10,3250000)
def write(name, x, t):
    with rasterio.open(name, 'w', driver='GTiff', count=len(x), height=x.shape[1], width=x.shape[2], dtype=x.dtype, crs='EPSG:32649', transform=t) as d: d.write(x)
write('s2.tif', rng.integers(100, 4000, (3,1600,640), dtype=np.uint16), t)
write('s1.tif', (rng.normal(-12, 3, (2,1600,640)) - [[[0]],[[6]]]).astype(np.float32), t*Affine.translation(-.5, .3))
write('labels.tif', np.kron(rng.integers(0, 3, (1,25,10), dtype=np.uint8), np.ones((1,64,64), np.uint8)), t)
'''
CUT = '''
import sys
from irm_nb.regions import region
p = region('s1.tif', 's2.tif', 'labels.tif', sys.argv[1], classes=('a','b','c'), strip=64*640, progress=False)
print(p.verify().fingerprint)
'''

def env(): return {k: v for k,v in os.environ.items() if not k.startswith('IRM_NB_')} | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
def start(folder, out): return subprocess.Popen([sys.executable, '-c', CUT, out], cwd=folder, env=env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def done(p):
    out,err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    return out.strip()

def files(folder): return {f.name: f.read_bytes() for f in sorted(folder.iterdir())}

@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    subprocess.run([sys.executable, '-c', WRITE], cwd=folder, env=env(), check=True)
    done(start(folder, 'whole'))
    return folder

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='needs SIGKILL')
def test_killed_and_resumed(scenes):
    note,kills,size = scenes/'broken.part'/'region.json',0,0
    for _ in range(3): # each time it comes a few strips further
        p = start(scenes, 'broken')
        while p.poll() is None and (not note.exists() or note.stat().st_mtime_ns <= size): time.sleep(0.001)
        p.kill()
        p.communicate()
        if (scenes/'broken').exists(): break
        kills,size = kills+1,note.stat().st_mtime_ns
    assert kills >= 2
    done(start(scenes, 'broken'))
    assert files(scenes/'broken') == files(scenes/'whole')
    assert not (scenes/'broken.part').exists()

def test_two_at_once(scenes):
    two = [start(scenes, 'shared') for _ in range(2)]
    assert done(two[0]) == done(two[1])
    assert files(scenes/'shared') == files(scenes/'whole')
    assert not list(scenes.glob('*.part'))
