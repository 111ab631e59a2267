"""A map that is killed at any block is the map that was left alone; its file is what GDAL calls a COG; nothing half-written, nobody's file replaced."""
import json, os, shutil, signal, subprocess, sys
import numpy as np, pytest, rasterio
from affine import Affine
from pathlib import Path

from conftest import environment, kill_when
from irm_nb.core import *
from irm_nb.mapping import Map, predict_map
from irm_nb.models import new_model
from irm_nb.raster import write_raster
from irm_nb.scenes import Input
from irm_nb.store import Store
from irm_nb.transfer import Predictor

UTM,PLACE = 'EPSG:32649',Affine(10,0,600000, 0,-10,3250000)
RGB_IN,RADAR_IN = Input('optical', ('R','G','B'), 'reflectance'),Input('radar', ('VV','VH'), 'dB')
CPU = Compute('cpu', 'float32')

def predictor(n_classes=4, **inputs):
    inputs = inputs or dict(opt=RGB_IN, sar=RADAR_IN)
    stats = dict(mean=[.2]*3*('opt' in inputs) + [-12,-18,6]*('sar' in inputs), std=[.1]*3*('opt' in inputs) + [4]*3*('sar' in inputs))
    m = new_model('googlenet', n_classes, len(stats['mean']), 'map')
    return Predictor('googlenet', inputs, tuple(f'class {k}' for k in range(n_classes)), stats, m.state_dict(), size=(64,64))

@pytest.fixture(scope='module')
def place(tmp_path_factory):
    d,rng = tmp_path_factory.mktemp('scene'),np.random.default_rng(0)
    ground = np.kron(rng.uniform(0, 1, (8,8)), np.ones((32,32)))
    write_raster(d/'s2.tif', (500 + 2000*ground + rng.normal(0, 50, (3,256,256))).astype(np.uint16), UTM, PLACE, names=('B04','B03','B02'))
    write_raster(d/'s1.tif', (np.array([-10,-16])[:,None,None] - 6*ground + rng.normal(0, 2, (2,256,256))).astype(np.float32), UTM, PLACE, names=('VV','VH'))
    predictor().save(d/'net')
    return d

def make(place, out, store, net=None, **kw):
    files = dict(s2=place/'s2.tif', s1=place/'s1.tif') | kw.pop('files', {})
    return predict_map(net or Predictor.load(place/'net'), {k:f for k,f in files.items() if f}, out, store=Store(store), comp=CPU,
                       **{'block':3, 'decided':False, 'progress':False} | kw)

@pytest.fixture(scope='module')
def whole(place):
    make(place, place/'whole.tif', place/'store')
    return Map.open(place/'whole.tif')

CALL = '''
import sys
from irm_nb.core import Compute
from irm_nb.mapping import predict_map
from irm_nb.store import Store
from irm_nb.transfer import Predictor
d,out,store = sys.argv[1:4]
net = Predictor.load(f'{d}/net')
scene = dict(s2=f'{d}/s2.tif', s1=f'{d}/s1.tif')
def run(**kw): predict_map(net, scene, out, block=3, decided=False, progress=False, store=Store(store), comp=Compute('cpu', 'float32'), **kw)
'''
def start(place, out, store, then='run()'):
    return subprocess.Popen([sys.executable, '-c', CALL + then, place, out, store], env=environment(OMP_NUM_THREADS='1'), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

def side_files(out): return {f.name: f.read_bytes() for f in sorted(out.parent.iterdir()) if f.is_file()}

@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='needs SIGKILL')
def test_killed_and_resumed(place, whole, tmp_path):
    out,store = tmp_path/'out'/'whole.tif',tmp_path/'store'
    def blocks(): return len(list(store.glob('work/*/block-*.safetensors')))
    for n in (2, 5): # each time it comes a few blocks further
        assert kill_when(lambda: blocks() >= n, start(place, out, store))
        assert not out.exists() and 0 < blocks() < 9
    before = {f.name: f.stat().st_mtime_ns for f in store.glob('work/*/block-*.safetensors')}
    p = start(place, out, store, 'import irm_nb.patches as p\nreal = p.cut_block\nasked = []\n'
              'p.cut_block = lambda job, i, j: (asked.append(1), real(job, i, j))[1]\nrun()\nprint(len(asked))')
    said,err = p.communicate(timeout=300)
    assert p.returncode == 0, err
    assert int(said) == 9 - len(before)
    assert side_files(out) == {k: v for k,v in side_files(whole.path).items() if k.startswith('whole')}
    assert not [f for f in out.parent.iterdir() if f.name.startswith('.')]

def offset(d, name, band=1, ovr=None):
    v = d.get_tag_item(name, 'TIFF', band, ovr) if ovr is not None else d.get_tag_item(name, 'TIFF', band)
    return int(v) if v else None

def test_valid_cog(tmp_path, place):
    "What GDAL's validate_cloud_optimized_geotiff.py looks at: tiles, overviews, headers first, overviews before full resolution"
    rng = np.random.default_rng(0)
    write_raster(tmp_path/'s1.tif', rng.normal((-10,-16), 2, (1100,1100,2)).transpose(2,0,1).astype(np.float32), UTM, PLACE, names=('VV','VH'))
    m = make(tmp_path, tmp_path/'m.tif', tmp_path/'store', predictor(sar=RADAR_IN), files=dict(s2=None), stride=64, block=16)
    with rasterio.open(m.path) as d:
        assert d.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG' and d.block_shapes[0] == (512,512)
        assert d.overviews(1) == d.overviews(5) == [2,4]
        ifds = [offset(d, 'IFD_OFFSET'), offset(d, 'IFD_OFFSET', 1, 0), offset(d, 'IFD_OFFSET', 1, 1)]
        data = [offset(d, 'BLOCK_OFFSET_0_0', 1, 1), offset(d, 'BLOCK_OFFSET_0_0', 1, 0), offset(d, 'BLOCK_OFFSET_0_0')]
        assert ifds == sorted(ifds) and data == sorted(data) and max(ifds) < min(data)
        assert d.crs.to_string() == UTM and d.transform == PLACE and d.colormap(1)[0][3] == 255
    with rasterio.open(m.path, OVERVIEW_LEVEL=0) as d: assert set(np.unique(d.read(1))) <= {*range(4), 255}

def test_many_classes(place, tmp_path):
    m = make(place, tmp_path/'m.tif', tmp_path/'store', predictor(300))
    with rasterio.open(m.path) as d: assert d.dtypes[0] == 'uint16' and d.nodata == 65535
    assert 0 <= m.read('class').min() and m.read('class').max() < 300 and len(m.areas()) == 301

OTHER = Input('optical', ('R','G','B','NIR'), 'reflectance'),Input('optical', ('R','G','B'), 'rgb8')

@pytest.mark.parametrize('name', ('elsewhere','nowhere','bands','units','absent','small','read-only','file','theirs'))
def test_bad_input(name, place, tmp_path):
    "A named error, before a network is asked, and nothing under the map's name"
    files,net,out,error = {},None,tmp_path/'out'/'m.tif',PairError
    x = np.full((2,256,256), -10, np.float32)
    if name == 'elsewhere':
        write_raster(tmp_path/'s1.tif', x, UTM, PLACE*Affine.translation(900, 0), names=('VV','VH'))
        files = dict(s1=tmp_path/'s1.tif')
    if name == 'nowhere':
        write_raster(tmp_path/'s1.tif', x, names=('VV','VH'))
        files = dict(s1=tmp_path/'s1.tif')
    if name == 'bands': net,error = predictor(opt=OTHER[0]),ShapeError
    if name == 'units': net,error = predictor(opt=OTHER[1]),UnitsError
    if name == 'absent': files = dict(s1=None)
    if name == 'small':
        write_raster(tmp_path/'s2.tif', np.full((3,50,256), 900, np.uint16), UTM, PLACE, names=('B04','B03','B02'))
        files,error = dict(s2=tmp_path/'s2.tif'),ShapeError
    if name == 'read-only':
        if not hasattr(os, 'geteuid') or os.geteuid() == 0: pytest.skip('root writes everywhere')
        out.parent.mkdir()
        out.parent.chmod(0o500)
        error = OutputError
    if name == 'file':
        (tmp_path/'out').touch()
        error = OutputError
    if name == 'theirs':
        out.parent.mkdir()
        out.write_bytes(b'theirs')
        error = OutputError
    with pytest.raises(error): make(place, out, tmp_path/'store', net, files=files, overwrite=True)
    assert not list(tmp_path.glob('store/*.safetensors')) and not list(tmp_path.glob('out/.*'))
    if name == 'theirs': assert out.read_bytes() == b'theirs'
    else: assert not out.exists()

@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits the size of files')
def test_full_disk(place, whole, tmp_path):
    "What can't be written leaves no map, and nothing beside it; the answers stay"
    then = '''
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try: run(believe=.9)
except Exception as e: print(type(e).__name__)
'''
    p = start(place, tmp_path/'out'/'m.tif', place/'store', then)
    said,err = p.communicate(timeout=300)
    assert said.strip() == 'OutputError', (said, err)
    assert list((tmp_path/'out').iterdir()) == []

def test_unreadable_block(tmp_path):
    "A file that looks well at first sight, and can't be decoded in one place"
    x = np.random.default_rng(0).normal((-10,-16), 2, (1024,640,2)).transpose(2,0,1).astype(np.float32)
    write_raster(tmp_path/'s1.tif', x, UTM, PLACE, names=('VV','VH'))
    data = bytearray((tmp_path/'s1.tif').read_bytes())
    data[len(data)//2:len(data)//2 + 2500] = b'\xff'*2500 # between the windows that describe looks at
    (tmp_path/'s1.tif').write_bytes(data)
    with pytest.warns(UserWarning, match='could not be read whole'):
        m = make(tmp_path, tmp_path/'m.tif', tmp_path/'store', predictor(sar=RADAR_IN), files=dict(s2=None), stride=64)
    with rasterio.open(m.path) as d: n = int(d.tags()['blocks_unreadable'])
    none = m.read('class') < 0
    assert 0 < n < 24 and none.any() and not none.all() and len(m.note['faults']) == n
    assert m.areas().hectares.iloc[-1] == pytest.approx(none.sum()*.01, rel=.01)

def test_client_gives_the_same(place, whole, tmp_path):
    "Blocks on the workers of a scheduler: the same bytes"
    distributed = pytest.importorskip('distributed')
    with distributed.LocalCluster(1, processes=False, threads_per_worker=2, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        make(place, tmp_path/'whole.tif', tmp_path/'store', client=client)
    assert (tmp_path/'whole.tif').read_bytes() == whole.path.read_bytes()

def test_stac(place, tmp_path):
    pystac = pytest.importorskip('pystac')
    def item(name, **assets):
        about = dict(type='Feature', stac_version='1.0.0', id=name, geometry=None, links=[], properties=dict(datetime='2018-07-15T00:00:00Z'))
        (tmp_path/f'{name}.json').write_text(json.dumps(about | dict(assets={k:dict(href=v) for k,v in assets.items()})))
        return tmp_path/f'{name}.json'
    for f in ('s1.tif','s2.tif'): shutil.copy(place/f, tmp_path)
    items = [item('optical', s2='s2.tif'), item('radar', s1='./s1.tif')]
    m = predict_map(Predictor.load(place/'net'), items, tmp_path/'m.tif', decided=False, store=Store(tmp_path/'store'), comp=CPU, progress=False)
    made = pystac.Item.from_file(str(tmp_path/'m.json'))
    assert Path(made.assets['map'].get_absolute_href()) == m.path and made.properties['irm_nb:made_of'] == 'optical'
    assert made.bbox[0] < made.bbox[2] and made.datetime.year == 2018

def test_what_a_mask_does_not_know(place, tmp_path):
    "A sliver of a mask is not the cover of a patch; ground that a mask leaves out is not believed where a camera decided"
    scl = np.zeros((1,256,256), np.uint8) # no data
    scl[:,:,:4] = 9 # four columns of cloud
    scl[:,:,128:] = 4 # clear
    write_raster(tmp_path/'scl.tif', scl, UTM, PLACE)
    camera = predictor(opt=RGB_IN)
    m = make(place, tmp_path/'out'/'m.tif', tmp_path/'store', camera, files=dict(s1=None, cloud_mask=tmp_path/'scl.tif'), believe=0)
    cloud,doubt = m.read('cloud'),m.read('doubt')
    assert np.isnan(cloud[:,:60]).all() and (doubt[:,:60] == 1).all()
    assert (cloud[:,200:] == 0).all() and (doubt[:,200:] == 0).all()
    assert 'says nothing' in m.note['doubt']
    bare = make(place, tmp_path/'bare'/'m.tif', tmp_path/'store', camera, files=dict(s1=None), believe=0)
    assert 'cloud' not in bare.names and (bare.read('doubt') == 0).all() # without a mask it goes by the confidence

def test_pixels_of_another_size(place, tmp_path):
    "A network of 10 m asked on a grid of 20"
    net = predictor()
    net.about['metres'] = 10.
    files = {k:str(place/f'{k}.tif') for k in ('s2','s1')}
    with pytest.raises(UnitsError, match='found 20 m; expected 10 m'):
        predict_map(net, files | dict(resolution=20.), tmp_path/'m.tif', stride=32, store=Store(tmp_path/'store'), comp=CPU, progress=False)

def test_views_and_stride(place, whole, tmp_path):
    "Eight views turn with the scene: a map of the scene turned by a quarter is the map turned by a quarter"
    for f in ('s1.tif','s2.tif'):
        with rasterio.open(place/f) as d: write_raster(tmp_path/f, np.rot90(d.read(), axes=(1,2)).copy(), UTM, PLACE, names=d.descriptions)
    a = make(place, tmp_path/'a.tif', tmp_path/'store', views=True, stride=64)
    b = make(tmp_path, tmp_path/'b.tif', tmp_path/'store', Predictor.load(place/'net'), views=True, stride=64)
    assert np.nanmax(np.abs(np.rot90(a.read('confidence')) - b.read('confidence'))) <= .0051
