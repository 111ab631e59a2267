"Damage of all kinds to a small file of every format that is read: each call ends in a value or in a named error, soon. IRM_NB_FUZZ=120 tries 3,000 of them."
import contextlib, json, os, random, shutil, signal
from dataclasses import asdict
from unittest import mock

import numpy as np, pytest, torch

import test_bad_input as good
from irm_nb import models
from irm_nb.batches import channel_stats
from irm_nb.core import IrmError, digest
from irm_nb.datasets import *
from irm_nb.describe import *
from irm_nb.folders import *
from irm_nb.experiments import Cell, answers, keep_result, read_records
from irm_nb.models import load_weights
from irm_nb.raster import *
from irm_nb.labels import features
from irm_nb.regions import region
from irm_nb.scenes import Scenes
from irm_nb.store import Store, call, kept_about, save_tensors
from irm_nb.train import Epochs, Student, TrainConfig, fit
from irm_nb.transfer import Predictor

MUTATIONS = int(os.environ.get('IRM_NB_FUZZ', 8)) # for each target
SECONDS = 20 # for one call
TARGETS = []

def target(f):
    "Enter a target: `f(folder)` makes what is read, and gives the file to damage and the call that reads it"
    TARGETS.append(pytest.param(f, id=f.__name__))
    return f

# --- rasters ----------------------------------------------------------------------------------------
def seen(path): return describe(path), read_image(path), read_raster(path)

@target
def png(d):
    write_image(d/'a.png', good.PIC)
    return d/'a.png', seen
@target
def jpeg(d):
    write_image(d/'a.jpg', good.OPT[:,:16,:16].astype(np.uint8))
    return d/'a.jpg', seen
@target
def geotiff(d): return good.geo(d/'a.tif', good.OPT[:,:8,:8]), seen
@target
def compressed_geotiff(d): return good.geo(d/'a.tif', good.SAR, compress='deflate', tiled=True), seen
@target
def palette_geotiff(d):
    import rasterio
    with rasterio.open(d/'a.tif', 'w', driver='GTiff', width=8, height=8, count=1, dtype='uint8', photometric='palette') as f:
        f.write(good.CODES[:,:8,:8])
        f.write_colormap(1, {i:(i, 255 - i, 0, 255) for i in range(256)})
    return d/'a.tif', seen
@target
def palette_png(d):
    from PIL import Image
    Image.fromarray(good.CODES[0], 'P').save(d/'a.png')
    return d/'a.png', seen
@target
def jpeg_2000(d):
    from PIL import Image, features as formats
    if not formats.check('jpg_2000'): pytest.skip('no JPEG 2000')
    Image.fromarray(good.PIC.transpose(1, 2, 0)).save(d/'a.jp2')
    return d/'a.jp2', seen

# --- regions ----------------------------------------------------------------------------------------
def cut(d, **kw): return region(d/'s1.tif', d/'s2.tif', out=d/'out', size=8, progress=False, **kw)

def scene(d):
    good.geo(d/'s1.tif', good.SAR)
    good.geo(d/'s2.tif', good.OPT)
    return d

@target
def radar_of_a_region(d): return scene(d)/'s1.tif', lambda p: cut(p.parent)
@target
def geojson(d):
    scene(d)
    corners = [[4.44,51.40], [4.46,51.40], [4.46,51.46], [4.44,51.40]]
    areas = [dict(type='Feature', properties={'class':'lake'}, geometry=dict(type='Polygon', coordinates=[corners]))]
    return good.text(d/'l.geojson', json.dumps(dict(type='FeatureCollection', features=areas))), lambda p: cut(p.parent, labels=p)
@target
def geopackage(d):
    import sqlite3
    with contextlib.closing(sqlite3.connect(d/'l.gpkg')) as db, db:
        db.execute('create table gpkg_contents (table_name text, data_type text, identifier text, srs_id int)')
        db.execute('create table gpkg_geometry_columns (table_name text, column_name text, geometry_type_name text, srs_id int, z int, m int)')
        db.execute('create table gpkg_spatial_ref_sys (srs_name text, srs_id int, organization text, organization_coordsys_id int, definition text)')
        db.execute("insert into gpkg_contents values ('areas','features','areas',4326)")
        db.execute("insert into gpkg_geometry_columns values ('areas','geom','POLYGON',4326,0,0)")
        db.execute("insert into gpkg_spatial_ref_sys values ('WGS 84',4326,'EPSG',4326,'')")
        db.execute('create table areas (fid integer primary key, geom blob, class text)')
        ring = np.array([[4.44,51.40], [4.46,51.40], [4.46,51.46], [4.44,51.40]]).tobytes()
        wkb = b'\1\3\0\0\0\1\0\0\0\4\0\0\0' + ring
        db.execute("insert into areas values (1,?,'lake')", (b'GP\0\1\xe6\x10\0\0' + wkb,))
    return d/'l.gpkg', lambda p: features(p)
@target
def label_raster(d): return good.geo(scene(d)/'l.tif', good.CODES), lambda p: cut(p.parent, labels=p)
@target
def cloud_mask(d): return good.geo(scene(d)/'m.tif', good.CODES), lambda p: cut(p.parent, cloud_mask=p, cloud_scheme={1})
@target
def region_json(d):
    cut(scene(d))
    return d/'out'/'region.json', lambda p: cut(p.parent.parent)
@target
def product_metadata(d):
    scene(d)
    xml = '<a><QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>' \
        '<BOA_ADD_OFFSET_VALUES_LIST><BOA_ADD_OFFSET band_id="0">-1000</BOA_ADD_OFFSET></BOA_ADD_OFFSET_VALUES_LIST></a>'
    return good.text(d/'MTD_MSIL2A.xml', xml), lambda p: describe(p.parent/'s2.tif')

# --- sets -------------------------------------------------------------------------------------------
@target
def label_table(d):
    s = good.pairs()
    return good.text(d/'l.csv', 'id,label\n0,lake\n1,wood\n2,lake\n'), lambda p: s.with_labels(p)
def opened(path): return Scenes.load(path.parent).verify()
@target
def set_note(d): return good.kept(d)/'meta.json', opened
@target
def set_array(d): return good.kept(d)/'opt.npy', opened
@target
def scenes_of_a_folder(d):
    for name,i in (('lake',0), ('lake',1), ('wood',0)): write_image(d/'in'/name/f'{i}.png', good.PIC)
    return d/'in'/'lake'/'0.png', lambda p: scene_folder(p.parent.parent, size=8, progress=False)
@target
def pairs_of_a_folder(d): return good.twins(d)/'sar'/'Forest'/'0.tif', lambda p: paired_folder(p.parents[2], progress=False)
@target
def sen12ms_patch(d):
    good.triplets(d)
    return good.sen(d, 's2_cloudy'), lambda p: sen12ms_cr(p.parents[2], size=8, cache=p.parents[3]/'out', progress=False, n_workers=1)

# --- networks and results ---------------------------------------------------------------------------
class Small(torch.nn.Module):
    def __init__(self, n, c=3):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(c, 2, 3)
        self.fc = torch.nn.Linear(2, n)
    def forward(self, x): return self.fc(self.conv1(x).mean((2, 3)))

@pytest.fixture(autouse=True)
def small():
    with mock.patch.dict(models.BACKBONES, small=models.Backbone(Small)): yield

def predictor():
    s = good.pairs()
    return Predictor('small', s.inputs, s.classes, channel_stats(s), Small(2, 6).state_dict(), [dict(loss=1.)])
def asked(path): return Predictor.load(path.parent).model()
@target
def predictor_json(d): return predictor().save(d/'p')/'predictor.json', asked
@target
def predictor_weights(d): return predictor().save(d/'p')/'weights.safetensors', asked
@target
def local_weights(d):
    save_tensors(d/'w.safetensors', Small(2).state_dict())
    return d/'w.safetensors', lambda p: load_weights(Small(2), p)

def opinions(n): return dict(logits=torch.arange(n).float(), rows=list(range(n)))
@target
def kept_result(d):
    Store(d/'store')(opinions, 3)
    def read(p):
        store = Store(p.parent)
        return store(opinions, 3), store.entries(), store.verify(), kept_about(p)
    return Store(d/'store').file(call(opinions, 3)), read

class Noise:
    "Batches for a training"
    from irm_nb.core import Compute
    comp = Compute('cpu', 'float32')
    def __call__(self, rows): return torch.ones(len(rows), 3, 4, 4)
def trained(path):
    def loss(logits, batch): return logits.square().mean()
    rounds = Epochs(Noise(), range(4), TrainConfig(epochs=1, batch=2))
    return fit(Student(Small(2), loss), rounds, 0, work=path.parent)
@target
def checkpoint(d):
    trained(d/'checkpoint.safetensors')
    return d/'checkpoint.safetensors', trained

def cell_of(d):
    import pandas as pd
    cell = Cell()
    a = pd.DataFrame(dict(id=['a','b'], group=['a','b'], label=[0,1], predicted=[0,1], cloudy=[True,False], cover=np.float32([1,0]), p_max=np.float32([.9,.8])))
    about = {k:v if k != 'choices' else '' for k,v in asdict(cell).items()}
    keep_result(d, dict(about, key=cell.key, config=digest(cell.config), n=2, OA=1., AA=1., kappa=1., recall={'a':1., 'b':1.}), a)
    return cell
@target
def grid_record(d): return d/'cells'/f'{cell_of(d).key}.json', lambda p: read_records(p.parent.parent)
@target
def grid_answers(d): return d/'answers'/f'{cell_of(d).key}.npz', lambda p: answers(p.parent.parent, p.stem)

# --- damage -----------------------------------------------------------------------------------------
ODD = [None, True, -1, 0, 10**40, 1e308, float('nan'), '', 'x'*300, '\0', [], {}, [[]], {'a':None}]

def flipped(b, r):
    for _ in range(r.choice((1, 1, 2, 8))):
        i = r.randrange(min(len(b), r.choice((64, 400, len(b)))))
        b[i] ^= 1 << r.randrange(8)
def shortened(b, r): del b[r.randrange(len(b)):]
def doubled(b, r):
    i = r.randrange(len(b))
    b[i:i] = b[i:i + r.randrange(1, 64)]
def grown(b, r):
    i = r.randrange(len(b) + 1)
    b[i:i] = r.choice((b'\0'*9, b'\xff'*9, b'<!-- -->', b'99999999999999999999', r.randbytes(9)))
def removed(b, r):
    i = r.randrange(len(b))
    del b[i:i + r.randrange(1, 64)]

def places(o):
    "Every (container, key) of what a JSON holds"
    keys = range(len(o)) if isinstance(o, list) else list(o) if isinstance(o, dict) else ()
    for k in keys:
        yield o, k
        yield from places(o[k])

def with_other_values(b, r):
    "JSON whose values are of another kind, or gone; whatever else as `grown`"
    try: o = json.loads(b)
    except ValueError: return grown(b, r)
    holder,k = r.choice(list(places(o)))
    if r.random() < .2: del holder[k]
    else: holder[k] = r.choice(ODD)
    b[:] = json.dumps(o).encode()

def damage(path, r):
    b = bytearray(path.read_bytes())
    json_too = [with_other_values]*(6 if path.suffix in ('.json','.geojson') else 0)
    r.choice((flipped, flipped, flipped, shortened, doubled, grown, removed, *json_too))(b, r)
    path.write_bytes(b)

@contextlib.contextmanager
def in_time(seconds):
    "A call that takes longer is interrupted, where the system can"
    def late(*_): raise TimeoutError(f'longer than {seconds} s')
    if not hasattr(signal, 'SIGALRM'):
        yield
        return
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try: yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

@pytest.mark.parametrize('make', TARGETS)
@pytest.mark.filterwarnings('ignore')
def test_damage(make, tmp_path):
    (whole := tmp_path/'whole').mkdir()
    (whole/'in').mkdir(exist_ok=True)
    file,read = make(whole)
    place = file.relative_to(whole)
    odd = []
    for i in range(-1, MUTATIONS): # first as it is
        here = tmp_path/f'{i}'
        shutil.copytree(whole, here)
        if i >= 0: damage(here/place, random.Random(f'{make.__name__} {i}'))
        try:
            with in_time(SECONDS): read(here/place)
        except IrmError as e:
            assert i >= 0, e
            assert all((e.where.strip(), e.found.strip(), e.expected.strip(), e.do.strip())), e.args
        except Exception as e: odd.append(f'mutation {i}: {type(e).__name__}: {e}'[:300])
        shutil.rmtree(here)
    assert not odd, f'{len(odd)} of {MUTATIONS}\n' + '\n'.join(odd[:8])

def test_there_are_enough_targets(): assert len(TARGETS) >= 25
