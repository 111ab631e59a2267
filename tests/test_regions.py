"""A region that is killed at any strip, or cut by two processes at once, is the region that was left alone; and fill is never data."""
import os, signal, subprocess, sys, time
import numpy as np, pytest
from affine import Affine

from conftest import ROOT
from irm_nb import regions
from irm_nb.core import OutputError
from irm_nb.describe import describe, read_raster
from irm_nb.raster import write_raster
from irm_nb.regions import region

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

def test_a_note_that_is_being_written_is_not_strange(tmp_path, monkeypatch):
    "Between two looks at the place of a job, the process beside this one has put its note where it belongs"
    work = tmp_path/'out.part'
    work.mkdir()
    note = work/'.region.json-0-1-2'
    for f in (work/'lock', note): f.touch()
    look = regions._job_files
    def a_moment_later(folder):
        note.unlink(missing_ok=True)
        return look(folder)
    monkeypatch.setattr(regions, '_job_files', a_moment_later)
    regions._check_workplace(work)
    (work/'mine.txt').touch()
    with pytest.raises(OutputError, match='mine.txt'): regions._check_workplace(work)

# --- fill ---------------------------------------------------------------------------------------------
GRID = Affine(10,0,600000, 0,-10,5700000)
SHIFTED = Affine(10,0,599997, 0,-10,5700004)
N = 64
RNG = np.random.default_rng(0)
GROUND = np.add.outer(np.sin(np.arange(N)/9), np.cos(np.arange(N)/7))
REFLECTANCE = np.stack([900 + 200*GROUND, 700 + 150*GROUND, 500 + 100*GROUND]) + RNG.normal(0, 20, (3,N,N))
BACKSCATTER = np.stack([-12 + 2*GROUND, -19 + 2*GROUND]) + RNG.normal(0, 1, (2,N,N))
LEFT = np.arange(N) < N//2

def filled(x, *numbers, dtype=np.float32):
    "The left half of each band holds a number"
    numbers = numbers*len(x) if len(numbers) == 1 else numbers
    return np.stack([np.where(LEFT, b if v is None else v, b) for b,v in zip(x, numbers)]).astype(dtype)

POWER = 10**(BACKSCATTER/10)
RADAR = {'dB -9999':(filled(BACKSCATTER, -9999), {}), 'dB -32768':(filled(BACKSCATTER, -32768), {}), 'dB -999':(filled(BACKSCATTER, -999), {}), 'dB NaN':(filled(BACKSCATTER, np.nan), {}),
    'dB inf':(filled(BACKSCATTER, -np.inf), {}), 'dB 0':(filled(BACKSCATTER, 0), {}), 'dB 0 beside -9999':(filled(BACKSCATTER, 0), dict(nodata=-9999)), 'dB VH':(filled(BACKSCATTER, None, -9999), {}),
    'dB VH declared':(filled(BACKSCATTER, None, 77), dict(nodata=77)), 'power 0':(filled(POWER, 0), {}), 'power -9999':(filled(POWER, -9999), {}), 'power VH 0':(filled(POWER, None, 0), {}),
    'power -32768 float64':(filled(POWER, -32768, dtype=np.float64), {}), 'power NaN':(filled(POWER, np.nan), {})}
OPTICAL = {'uint16 0':(filled(REFLECTANCE, 0, dtype=np.uint16), {}), 'uint16 65535 declared':(filled(REFLECTANCE, 65535, dtype=np.uint16), dict(nodata=65535)),
    'int16 -9999':(filled(REFLECTANCE, -9999, dtype=np.int16), {}), 'int16 -10000':(filled(REFLECTANCE, -10000, dtype=np.int16), {}), 'int16 green':(filled(REFLECTANCE, None, -32768, None, dtype=np.int16), {}),
    'int32 lowest':(filled(REFLECTANCE, -2**31, dtype=np.int32), {}), 'fractions 0':(filled(REFLECTANCE/1e4, 0), {}), 'fractions -9999':(filled(REFLECTANCE/1e4, -9999), {}),
    'fractions NaN':(filled(REFLECTANCE/1e4, np.nan), {}), 'picture margin':(filled(REFLECTANCE/8, 0, dtype=np.uint8), {})}

def check_fill(path, cut, at):
    assert describe(path).invalid == .5
    assert read_raster(path).valid.all(0).mean() == .5
    assert len(cut) and cut.skipped['invalid'] == cut.skipped[f'invalid in {at}'] > 0
    assert (np.array([int(i[-5:]) for i in cut.ids]) >= N//2 - 1).all()

@pytest.mark.parametrize('place', (GRID,SHIFTED), ids=('same grid','shifted'))
@pytest.mark.parametrize('name', RADAR)
def test_radar_fill(name, place, tmp_path):
    x,kw = RADAR[name]
    write_raster(tmp_path/'s1.tif', x, 'EPSG:32631', place, names=('VV','VH'), **kw)
    write_raster(tmp_path/'s2.tif', REFLECTANCE.astype(np.uint16), 'EPSG:32631', GRID)
    cut = region(tmp_path/'s1.tif', tmp_path/'s2.tif', out=tmp_path/'out', size=8, block=0, progress=False)
    check_fill(tmp_path/'s1.tif', cut, 'radar')
    assert -30 < cut.sar.min() and cut.sar.max() < 0

@pytest.mark.parametrize('place', (GRID,SHIFTED), ids=('same grid','shifted'))
@pytest.mark.parametrize('name', OPTICAL)
def test_optical_fill(name, place, tmp_path):
    x,kw = OPTICAL[name]
    write_raster(tmp_path/'s1.tif', BACKSCATTER.astype(np.float32), 'EPSG:32631', GRID, names=('VV','VH'))
    write_raster(tmp_path/'s2.tif', x, 'EPSG:32631', place, **kw)
    cut = region(tmp_path/'s1.tif', tmp_path/'s2.tif', out=tmp_path/'out', size=8, block=0, resolution=10, progress=False)
    check_fill(tmp_path/'s2.tif', cut, 'optical')
    assert cut.opt.min() > 0

@pytest.mark.parametrize('units', ('dB','linear','amplitude'))
def test_units_mean_the_same(units, tmp_path):
    x = {'dB':BACKSCATTER, 'linear':POWER, 'amplitude':POWER**.5}[units].astype(np.float32)
    write_raster(tmp_path/'s1.tif', x, 'EPSG:32631', SHIFTED, names=('VV','VH'))
    write_raster(tmp_path/'db.tif', BACKSCATTER.astype(np.float32), 'EPSG:32631', SHIFTED, names=('VV','VH'))
    write_raster(tmp_path/'s2.tif', REFLECTANCE.astype(np.uint16), 'EPSG:32631', GRID)
    cut = [region(tmp_path/f, tmp_path/'s2.tif', out=tmp_path/f'out_{f}', size=8, sar_units=u, progress=False) for f,u in (('s1.tif',units), ('db.tif','dB'))]
    np.testing.assert_allclose(cut[0].sar.astype(float), cut[1].sar.astype(float), atol=.02)

@pytest.mark.parametrize('scale, offset', ((1e-4,-.1), (5e-5,0.), (2.75e-5,-.2)))
def test_scales_are_applied(scale, offset, tmp_path):
    import rasterio
    write_raster(tmp_path/'s1.tif', BACKSCATTER.astype(np.float32), 'EPSG:32631', GRID, names=('VV','VH'))
    write_raster(tmp_path/'s2.tif', np.round((REFLECTANCE/1e4 - offset)/scale).astype(np.uint16), 'EPSG:32631', GRID)
    with rasterio.open(tmp_path/'s2.tif', 'r+') as f: f.scales,f.offsets = (scale,)*3,(offset,)*3
    cut = region(tmp_path/'s1.tif', tmp_path/'s2.tif', out=tmp_path/'out', size=8, order='RGB', progress=False)
    assert abs(cut.opt.mean() - REFLECTANCE.mean()) < 1

def test_dark_water_stays_data(tmp_path):
    x = (REFLECTANCE + 1000).astype(np.uint16)
    x[:,:20] = 990
    write_raster(tmp_path/'s1.tif', BACKSCATTER.astype(np.float32), 'EPSG:32631', GRID, names=('VV','VH'))
    write_raster(tmp_path/'s2.tif', x, 'EPSG:32631', GRID)
    cut = region(tmp_path/'s1.tif', tmp_path/'s2.tif', out=tmp_path/'out', size=8, block=0, offset=-1000, order='RGB', progress=False)
    assert len(cut) == 64 and cut.opt.min() == 1
