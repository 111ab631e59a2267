"What files of a data set say is used or refused, and what is left out is named: kinds of files, trees and kept sets."
import os, shutil, struct, threading, time, unicodedata, warnings, zlib
from pathlib import Path

import numpy as np, pytest, rasterio
from affine import Affine

from irm_nb import datasets, folders, sheets
from irm_nb.core import *
from irm_nb.datasets import *
from irm_nb.folders import *
from irm_nb.sheets import *
from irm_nb.raster import linear, write_image
from irm_nb.regions import region, write_patches

N = 32
T = Affine(10, 0, 500000, 0, -10, 4400000)
LEFT = np.arange(N) < N//2
MASK = np.where(LEFT, 0, 255).astype(np.uint8)[None].repeat(N, 0)

def reflect(seed=0): return np.random.default_rng(seed).integers(300, 3000, (3,N,N)).astype(np.uint16)
def decibels(seed=0):
    return (np.array([-10,-17])[:,None,None] + np.random.default_rng(seed).normal(0, 2, (2,N,N))).astype(np.float32)
def half(v): return lambda x: np.where(LEFT, v, x).astype(x.dtype)
def dot(v): return lambda x: np.where((np.indices((N,N)) == 3).all(0), v, x).astype(x.dtype)

def tif(path, x, names=(), mask=None, scale=None, offset=0, tags=None, crs='EPSG:32650', transform=T, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = dict(driver='GTiff', count=len(x), height=x.shape[1], width=x.shape[2], dtype=x.dtype, crs=crs,
        transform=transform)
    with rasterio.open(path, 'w', **profile, **options) as d:
        d.write(x)
        for b,name in enumerate(names, 1): d.set_band_description(b, name)
        if mask is not None: d.write_mask(mask)
        if scale is not None: d.scales,d.offsets = (scale,)*len(x),(offset,)*len(x)
        d.update_tags(**(tags or {}))
    return path

def pairs(root, kind=None, change=lambda x: x, every=True, **said):
    "Four pairs in two classes; the files of one kind are changed, all of them or the first"
    for i in range(4):
        for k,x in (('opt',reflect(i)), ('sar',decibels(i))):
            here = k == kind and (every or i == 0)
            tif(root/k/'ab'[i%2]/f'{i}.tif', change(x) if here else x, **(said if here else {}))
    return root

def load(root, **args): return paired_folder(root, progress=False, n_workers=1, **args)

@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    monkeypatch.setenv('IRM_NB_STORE', str(tmp_path/'store'))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', SkippedFiles)
        warnings.simplefilter('ignore', PartialCopy)
        yield

# --- fill and units: the first of four files, and what is said of it ------------------------------------
def as_type(t, factor=1): return lambda x: (x*factor).round().astype(t)

REFUSED = {
    'radar -9999':('sar', half(-9999), {}, 'without data'),
    'radar -9999 declared':('sar', half(-9999), dict(nodata=-9999), 'without data'),
    'radar -32768':('sar', half(-32768), {}, 'without data'),
    'radar 0':('sar', half(0), {}, 'without data'),
    'radar 0 declared':('sar', half(0), dict(nodata=0), 'without data'),
    'radar masked':('sar', lambda x: x, dict(mask=MASK), 'without data'),
    'radar lowest float':('sar', half(-3.4e38), {}, 'without data'),
    'one pixel of -9999':('sar', dot(-9999), {}, 'without data'),
    'one pixel declared':('sar', dot(0), dict(nodata=0), 'without data'),
    'one polarisation':('sar', lambda x: np.stack([x[0], half(-9999)(x[1])]), dict(nodata=-9999), 'without data'),
    'radar NaN':('sar', half(np.nan), {}, 'NaN'),
    'radar infinite':('sar', dot(np.inf), {}, 'infinite'),
    'optical 0':('opt', half(0), {}, 'without data'),
    'optical 0 declared':('opt', half(0), dict(nodata=0), 'without data'),
    'optical 65535 declared':('opt', half(65535), dict(nodata=65535), 'without data'),
    'optical masked':('opt', lambda x: x, dict(mask=MASK), 'without data'),
    'optical -10000':('opt', lambda x: half(-10000)(x.astype(np.int16)), {}, 'without data'),
    'linear power':('sar', linear, {}, 'negative'),
    'amplitude':('sar', lambda x: linear(x/2), {}, 'negative'),
    'digital amplitude':('sar', lambda x: 900*linear(x/2), {}, 'negative'),
    'stretched to 0-1':('sar', lambda x: (x+30)/35, {}, 'negative'),
    'a dark stretch in floats':('sar', lambda x: (x+26)*3, {}, 'values from'),
    'stretched to 0-255 in floats':('sar', lambda x: (x+30)*7, {}, 'negative'),
    'integers':('sar', as_type(np.int16, 100), {}, 'int16'),
    'swapped':('sar', lambda x: x[::-1], {}, 'VV at'),
    'three bands':('sar', lambda x: x[[0,1,1]], {}, '3 bands'),
    'complex':('sar', lambda x: x.astype(np.complex64), {}, 'complex'),
    'one scale a band':('sar', lambda x: x, dict(scale=float('nan')), 'scales'),
    'scale 0':('opt', lambda x: x, dict(scale=0.), 'a scale of 0'),
    '16-bit picture':('opt', as_type(np.uint16, 21), {}, 'a reflectance of'),
    'floats':('opt', lambda x: (x/1e4).astype(np.float32), {}, 'float32 values'),
    'two offsets':('opt', lambda x: x+1000, dict(scale=1e-4, tags={'BOA_ADD_OFFSET':'-1000'}), 'offsets of'),
    'a tag in words':('opt', lambda x: x, dict(tags={'BOA_ADD_OFFSET':'many'}), 'BOA_ADD_OFFSET'),
    'near infrared first':('opt', lambda x: x, dict(names=('B8','B4','B3')), 'bands named B8'),
    'another place':('sar', lambda x: x, dict(transform=T@Affine.translation(N, 0)), 'pixels off'),
    'another zone':('sar', lambda x: x, dict(crs='EPSG:32651'), 'pixels off'),
    'another pixel size':('sar', lambda x: x, dict(transform=T@Affine.scale(2)), 'pixels off'),
    'a local system':('sar', lambda x: x, dict(crs='LOCAL_CS["x",UNIT["metre",1]]'), 'LOCAL_CS'),
    'another size':('sar', lambda x: x[:,::2,::2], {}, '16×16 pixels')}

@pytest.mark.parametrize('what', REFUSED)
def test_one_of_four_is_left_out_by_name(tmp_path, what):
    kind,change,said,reason = REFUSED[what]
    p = load(pairs(tmp_path, kind, change, False, **said))
    assert list(p.skipped) == ['a/0'] and reason in p.skipped['a/0'] and len(p) == 3
    with pytest.raises(IrmError, match='/a/0.tif: found'): load(tmp_path, on_bad='error')

@pytest.mark.parametrize('what', [k for k in REFUSED if k != 'another size'])
def test_all_of_four_are_an_error(tmp_path, what):
    kind,change,said,_ = REFUSED[what]
    with pytest.raises(IrmError, match='tif: found'): load(pairs(tmp_path, kind, change, **said))

# --- what is applied: the set is that of the plain files ---------------------------------------------------
PLAIN = dict(opt=np.stack([reflect(i) for i in (0,2,1,3)]), sar=np.stack([decibels(i) for i in (0,2,1,3)]))
APPLIED = {
    'scale and offset':('opt', lambda x: x+1000, dict(scale=1e-4, offset=-.1), {}),
    'scale':('opt', lambda x: x*2, dict(scale=5e-5), {}),
    'offset alone':('opt', lambda x: x+1000, dict(scale=1., offset=-1000.), {}),
    'BOA_ADD_OFFSET':('opt', lambda x: x+1000, dict(tags={'BOA_ADD_OFFSET':'-1000'}), {}),
    'both that agree':('opt', lambda x: x+1000, dict(scale=1e-4, offset=-.1, tags={'BOA_ADD_OFFSET':'-1000'}), {}),
    'offset=':('opt', lambda x: x+1000, {}, dict(offset=-1000)),
    'int16':('opt', as_type(np.int16), {}, {}),
    'reflectance 0-1':('opt', lambda x: (x/1e4).astype(np.float32), {}, dict(opt_units='reflectance01')),
    'reflectance in floats':('opt', as_type(np.float32), {}, dict(opt_units='reflectance')),
    'blue first by name':('opt', lambda x: x[::-1], dict(names=('B02','B03','B04')), {}),
    'four named bands':('opt', lambda x: x[[0,1,2,0]], dict(names=('red','green','blue','nir')), {}),
    'power':('sar', linear, {}, dict(sar_units='linear')),
    'amplitude':('sar', lambda x: linear(x/2), {}, dict(sar_units='amplitude')),
    'scaled integers':('sar', as_type(np.int16, 100), dict(scale=.01), {}),
    'scaled floats':('sar', lambda x: x/10, dict(scale=10.), {}),
    'double':('sar', lambda x: x.astype(np.float64), {}, {}),
    'VH first by name':('sar', lambda x: x[::-1], dict(names=('VH','VV')), {}),
    'with an angle':('sar', lambda x: np.concatenate([x, 0*x[:1]+39]), dict(names=('VV','VH','angle')), {}),
    'names and pols':('sar', lambda x: x, dict(names=('Sigma0_VV_db','Sigma0_VH_db')), dict(pols=('vv','vh'))),
    'pols in one word':('sar', lambda x: x, {}, dict(pols='VV,VH')),
    'with the ratio':('sar', lambda x: np.concatenate([x, x[:1]-x[1:]]), {}, dict(pols=('VV','VH','VV/VH'))),
    'half a pixel off':('sar', lambda x: x, dict(transform=T@Affine.translation(.5, .5)), {}),
    'no place':('sar', lambda x: x, dict(crs=None, transform=None), {})}

@pytest.mark.parametrize('what', APPLIED)
def test_what_is_said_is_applied(tmp_path, what):
    kind,change,said,args = APPLIED[what]
    p = load(pairs(tmp_path, kind, change, **said), **args)
    assert p.skipped == {} and p['sar'].bands == ('VV','VH') and p['opt'].units == 'reflectance'
    assert np.abs(p.opt.astype(int) - PLAIN['opt']).max() <= 1 and np.abs(p.sar - PLAIN['sar']).max() < .01

@pytest.mark.parametrize('args, error', [
    (dict(sar_units='linear'), UnitsError),
    (dict(sar_units='stretch8'), UnitsError),
    (dict(opt_units='reflectance01'), UnitsError),
    (dict(opt_units='optical8'), UnitsError),
    (dict(pols=('VH','VV')), UnitsError),
    (dict(pols=5), OptionError),
    (dict(pols=('VV','VV')), OptionError),
    (dict(pols=()), OptionError),
    (dict(opt_units='dB'), OptionError),
    (dict(offset='x'), OptionError),
    (dict(offset=float('nan')), OptionError),
    (dict(size=True), OptionError),
    (dict(size=10**7), OptionError),
    (dict(size=64.), OptionError),
    (dict(classes=[]), LabelError),
    (dict(classes=['a','a']), LabelError),
    (dict(classes=5), LabelError),
    (dict(groups=5), OptionError),
    (dict(opt=5), OptionError),
    (dict(sar=()), OptionError),
    (dict(sar='opt'), OptionError),
    (dict(n_workers=0), OptionError)])
def test_what_the_caller_says_wrongly(tmp_path, args, error):
    with pytest.raises(error): paired_folder(pairs(tmp_path), **{**dict(progress=False), **args})

def test_names_contradict_pols(tmp_path):
    with pytest.raises(ShapeError, match='bands named VH, VV'):
        load(pairs(tmp_path/'a', 'sar', lambda x: x[::-1], names=('VH','VV')), pols=('VV','VH'))
    with pytest.raises(ShapeError, match='bands named VV'):
        load(pairs(tmp_path/'b', 'sar', lambda x: x[:1], names=('VV',)), pols='VH')
    assert load(tmp_path/'b')['sar'].bands == ('VV',)

def test_mixed_files_are_named(tmp_path):
    with pytest.raises(ShapeError, match='sar/a/0.tif: found uint8'):
        load(pairs(tmp_path/'a', 'sar', lambda x: ((x+30)*7).astype(np.uint8), False))
    with pytest.raises(ShapeError, match='opt/a/0.tif: found uint8'):
        load(pairs(tmp_path/'b', 'opt', lambda x: (x//12).astype(np.uint8), False))
    with pytest.raises(ShapeError, match='sar/a/0.tif: found float32'):
        load(pairs(tmp_path/'c', 'sar', lambda x: x[:1], False))
    for c,names in (('a','VV'), ('b','VH')):
        [tif(tmp_path/'d'/'sar'/c/f'{i}.tif', decibels(i)[:1], (names,)) for i in range(2)]
    for c in 'ab': [tif(tmp_path/'d'/'opt'/c/f'{i}.tif', reflect(i)) for i in range(2)]
    with pytest.raises(ShapeError, match='found bands V'): load(tmp_path/'d')
    with pytest.warns(UserWarning, match='dark water, or pictures of 8 bits stored in 16. a/0'):
        load(pairs(tmp_path/'e', 'opt', lambda x: x//12, False))
    with pytest.raises(UnitsError, match="opt_units='optical8'"): load(pairs(tmp_path/'f', 'opt', lambda x: x//12))

def test_a_few_empty_pixels_are_black_and_not_noise(tmp_path):
    p = load(pairs(tmp_path, 'opt', dot(65535), nodata=65535))
    assert (p.opt[:,:,3,3] == 0).all() and p.skipped == {}

# --- trees and names ----------------------------------------------------------------------------------------
def moved(root, a, b):
    (root/b).parent.mkdir(exist_ok=True)
    os.rename(root/a, root/b)
    return root

def test_members_belong_together(tmp_path):
    with pytest.raises(PairError, match='a/0: no partner in sar, which has sar/b/0'):
        load(moved(pairs(tmp_path/'1'), 'sar/a/0.tif', 'sar/b/0.tif'))
    with pytest.raises(PairError, match='which has opt/a/0'): load(moved(pairs(tmp_path/'2'), 'sar/a', 'sar/A'))
    d = pairs(tmp_path/'3')
    shutil.copy(d/'opt'/'a'/'0.tif', d/'opt'/'a'/'0.tiff')
    with pytest.raises(PairError, match='with the same name'): load(d)

def test_forms_of_unicode(tmp_path):
    d,nfc,nfd = pairs(tmp_path),*(unicodedata.normalize(f, 'é.tif') for f in ('NFC','NFD'))
    moved(moved(d, 'opt/a/0.tif', f'opt/a/{nfd}'), 'sar/a/0.tif', f'sar/a/{nfc}')
    assert 'a/é' in load(d).ids
    shutil.copy(d/'opt'/'a'/nfd, d/'opt'/'a'/nfc)
    with pytest.raises(UnreadableFile, match='differ in their Unicode form'): load(d)
    with pytest.raises(UnreadableFile, match='differ in their Unicode form'): scene_folder(d/'opt')

def test_names_of_another_age(tmp_path):
    d = pairs(tmp_path)
    for k in ('opt','sar'): os.rename(d/k/'a'/'0.tif', os.fsencode(d/k/'a') + b'/caf\xe9.tif')
    p = load(d)
    assert p.skipped == {r'a/caf\xe9':'a name that is no UTF-8'}

def test_unlabelled_patches_come_back_unlabelled(tmp_path):
    x,s = np.tile(reflect(), (1,4,4)),np.tile(decibels(), (1,4,4))
    labels = np.where(np.indices((4*N,4*N))[1] < 2*N, 1, 0).astype(np.uint8)[None]
    p = region(tif(tmp_path/'s1.tif', s, ('VV','VH')), tif(tmp_path/'s2.tif', x, ('B04','B03','B02')),
        out=tmp_path/'out', labels=tif(tmp_path/'l.tif', labels, nodata=0), classes={1:'lake'}, size=N, block=0,
        progress=False)
    q = load(write_patches(p, tmp_path/'patches', progress=False))
    assert q.classes == ('lake',) and sorted(q.labels.tolist()) == sorted(p.labels.tolist()) and -1 in q.labels
    assert load(tmp_path/'patches', classes='lake').labels.min() == 0
    assert set(scene_folder(pictures(tmp_path/'some', ('lake','unlabelled')), progress=False).labels) == {-1,0}

def test_links_and_odd_entries(tmp_path):
    d = pairs(tmp_path)
    for k in ('opt','sar'):
        (d/k/'a'/'gone.png').symlink_to('/nowhere/x.png')
        (d/k/'a'/'loop.png').symlink_to('loop.png')
        (d/k/'a'/'folder.png').mkdir()
        os.mkfifo(d/k/'a'/'pipe.png')
        for name in ('._0.tif','Thumbs.db','.DS_Store'): (d/k/'a'/name).write_bytes(b'\0')
    assert set(load(d).skipped) == {'a/gone','a/loop','a/folder','a/pipe'}
    (d/'sar'/'c').symlink_to('/unmounted/c')
    with pytest.raises(UnreadableFile, match='sar/c: found No such file'): load(d)
    assert len(load(d, classes=['a','b'])) == 4

def pictures(root, classes=('a','b'), n=3):
    for c in classes:
        for i in range(n):
            write_image(root/c/f'{i}.png', np.random.default_rng(i).integers(0, 255, (3,N,N)).astype(np.uint8))
    return root

def test_broken_pictures_are_named(tmp_path):
    whole = (pictures(tmp_path)/'a'/'0.png').read_bytes()
    head = struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack('>I', 13) + b'IHDR' + head + struct.pack('>I', zlib.crc32(b'IHDR' + head))
    huge = whole[:8] + chunk + whole[-12:]
    for name,b in (('empty',b''), ('cut',whole[:500]), ('page',b'<html>404'), ('huge',huge)):
        (tmp_path/'a'/f'{name}.png').write_bytes(b)
    for name,x in (('grey',[0]), ('nir',[0,1,2,0])):
        write_image(tmp_path/'a'/f'{name}.tif', np.zeros((3,N,N), np.uint8)[x])
    tif(tmp_path/'a'/'masked.tif', np.full((3,N,N), 90, np.uint8), mask=MASK)
    tif(tmp_path/'a'/'scaled.tif', np.full((3,N,N), 90, np.uint8), scale=1/255)
    s = scene_folder(tmp_path, progress=False)
    assert len(s) == 6 and all(s.skipped.values())
    assert {Path(k).stem for k in s.skipped} == {'empty','cut','page','huge','grey','nir','masked','scaled'}

def test_a_thousand_files_with_three_bad_ones(tmp_path):
    for c in ('lake','wood'): (tmp_path/c).mkdir()
    write_image(tmp_path/'one.png', np.full((3,2,2), 7, np.uint8))
    for i in range(1000): os.link(tmp_path/'one.png', tmp_path/('lake' if i % 2 else 'wood')/f'{i}.png')
    for i in (77,500,999):
        f = tmp_path/('lake' if i % 2 else 'wood')/f'{i}.png'
        f.unlink()
        f.write_bytes(b'')
    s = scene_folder(tmp_path, size=1, progress=False)
    assert len(s) == 997 and set(s.skipped) == {'lake/77.png','wood/500.png','lake/999.png'}

@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='root reads everything')
def test_a_folder_that_may_not_be_read(tmp_path):
    (pictures(tmp_path)/'b').chmod(0)
    try:
        with pytest.raises(UnreadableFile, match='/b'): scene_folder(tmp_path, progress=False)
    finally: (tmp_path/'b').chmod(0o755)

LOADERS = [scene_folder, paired_folder, hunan_cloud, aid, resisc45, sen12ms_cloud, sen12ms_cr, cloud_pairs]

@pytest.mark.parametrize('call', [*LOADERS, class_folders, AID.check, SEN12MS_CR.check])
@pytest.mark.parametrize('path', ['~/not there', 'a\0b', None, 5])
def test_paths(call, path, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(IrmError, match='not there|null byte|path'): call(path)

def test_home(tmp_path, monkeypatch):
    pairs(tmp_path/'p')
    pictures(tmp_path/'s', ('Beach','Pond'))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(load('~/p')) == 4 and len(aid('~/s', cache='~/kept', progress=False)) == 6 and (tmp_path/'kept').is_dir()

def test_transparency_is_no_polarisation(tmp_path):
    from PIL import Image
    for c in 'ab':
        for i in range(2):
            a = np.random.default_rng(i).integers(0, 255, (N,N)).astype(np.uint8)
            tif(tmp_path/'opt'/c/f'{i}.tif', reflect(i))
            (tmp_path/'sar'/c).mkdir(parents=True, exist_ok=True)
            Image.fromarray(a).convert('LA').save(tmp_path/'sar'/c/f'{i}.png')
    p = load(tmp_path, pols='VH')
    assert p.sar.shape == (4,1,N,N) and p['sar'].units == 'stretch8'

# --- kept sets ------------------------------------------------------------------------------------------------
def triplets(root, kind=None, change=lambda x: x, **said):
    "SEN12MS-CR of four patches, the last of another season; one file of the first is changed"
    for i in range(4):
        season,scene = ('ROIs1158_spring',3) if i == 3 else ('ROIs1868_summer',7)
        wide = [np.concatenate([reflect(s)]*5)[:13] for s in (i, i+9)]
        for k,x in (('s1',decibels(i)), ('s2',wide[0]), ('s2_cloudy',wide[1])):
            here = k == kind and i == 0
            tif(root/season/f'{k}_{scene}'/f'{season}_{k}_{scene}_p{i}.tif', change(x) if here else x,
                transform=T@Affine.translation(N*i, 0), **(said if here else {}))
    return root

def cr(root, **args):
    return sen12ms_cr(root, **{**dict(size=16, cache=root.parent/'kept', progress=False, n_workers=1), **args})

@pytest.mark.parametrize('kind, change, said, reason', [
    ('s1', half(-9999), {}, 'without data'),
    ('s1', half(0), {}, 'without data'),
    ('s1', half(np.nan), {}, 'NaN'),
    ('s1', linear, {}, 'negative'),
    ('s1', lambda x: x, dict(names=('VH','VV')), 'bands named VH, VV'),
    ('s2', half(0), {}, 'without data'),
    ('s2_cloudy', half(65535), dict(nodata=65535), 'without data'),
    ('s2', lambda x: (x//12).astype(np.uint8), {}, 'uint8'),
    ('s2', as_type(np.uint16, 20), {}, 'a reflectance of'),
    ('s2', lambda x: (x/1e4).astype(np.float32), {}, 'values up to 0.3')])
def test_patches_are_left_out_by_name(tmp_path, kind, change, said, reason):
    p = cr(triplets(tmp_path/'in', kind, change, **said))
    assert list(p.skipped) == ['ROIs1868_summer_7_p0'] and reason in p.skipped['ROIs1868_summer_7_p0'] and len(p) == 12
    assert np.isfinite(p.sar).all() and p.opt.max() < 3000

@pytest.mark.parametrize('kind, change, said', [
    ('s2', lambda x: x*2, dict(scale=5e-5)),
    ('s2', lambda x: x+1000, dict(tags={'BOA_ADD_OFFSET':'-1000'})),
    ('s1', as_type(np.int16, 100), dict(scale=.01)),
    ('s1', dot(0), {})])
def test_patches_whose_tags_are_applied(tmp_path, kind, change, said):
    p,q = cr(triplets(tmp_path/'in', kind, change, **said)),cr(triplets(tmp_path/'plain'))
    far = np.abs(p.sar.astype(np.float32) - q.sar) > .02
    assert p.skipped == {} and (p.clear == q.clear).all() and far.sum() <= 2

def test_a_part_of_a_copy(tmp_path, monkeypatch):
    d,opened = triplets(tmp_path/'in'),[]
    layer = datasets._layer
    monkeypatch.setattr(datasets, '_layer', lambda path, *a, **k: opened.append(path) or layer(path, *a, **k))
    assert set(cr(d, only='spring').groups) == {'ROIs1158_spring_3'} and len(opened) == 3
    (tmp_path/'list.txt').write_text('ROIs1868_summer/s1_7\n')
    assert set(cr(d, only=tmp_path/'list.txt').groups) == {'ROIs1868_summer_7'}
    two,three = (set(cr(d, limit=k).ids) for k in (2,3))
    assert two < three and len(two) == 8
    for bad in ('winter', [], 5, tmp_path/'none.txt'):
        with pytest.raises(IrmError): cr(d, only=bad)
    monkeypatch.setattr(sheets, '_memory', lambda: 10**6)
    with pytest.raises(OptionError, match='4 triplets, 0.0 GB decoded'): cr(d, size=8)

def test_two_files_of_a_kind(tmp_path):
    f = next(triplets(tmp_path/'in').rglob('*_s2_7_p0.tif'))
    shutil.copy(f, f.with_name(f.stem + '_B4B3B2.tif'))
    assert 'two files of s2' in cr(tmp_path/'in').skipped['ROIs1868_summer_7_p0']

def test_what_was_left_out_is_said_each_time(tmp_path):
    d = triplets(tmp_path/'in')
    f = next(d.rglob('*_s1_7_p0.tif'))
    f.unlink()
    f.symlink_to('/nowhere')
    for _ in range(2):
        with pytest.warns(SkippedFiles, match='3 of 4 loaded, 1 left out'):
            assert list(cr(d).skipped) == ['ROIs1868_summer_7_p0']
    with pytest.raises(UnreadableFile, match='s1_7_p0.tif: found No such file'): cr(d, on_bad='error')

TORN = {'no note':lambda h: (h/'skipped.json').unlink(),
    'note of nothing':lambda h: (h/'skipped.json').write_text('{}'),
    'note of a list':lambda h: (h/'skipped.json').write_text('[]'),
        'note of bytes':lambda h: (h/'skipped.json').write_bytes(b'\xff\xfe'),
    'an unknown error':lambda h: (h/'skipped.json').write_text('{"of":4,"bad":{"x":["Foo",1]}}'),
    'no meta':lambda h: (h/'set'/'meta.json').unlink(),
        'no set':lambda h: shutil.rmtree(h/'set'),
    'half an array':lambda h: (h/'set'/'opt.npy').write_bytes((h/'set'/'opt.npy').read_bytes()[:999]),
        'a flipped bit':lambda h: (h/'set'/'opt.npy').write_bytes((h/'set'/'opt.npy').read_bytes()[:-1] + b'\x99')}

@pytest.mark.parametrize('what', TORN)
def test_torn_sets_are_built_again(tmp_path, what):
    d = triplets(tmp_path/'in')
    before = cr(d).fingerprint
    TORN[what](next((tmp_path/'kept').iterdir()))
    assert cr(d).verify().fingerprint == before

def test_nothing_of_others_is_replaced(tmp_path):
    d = triplets(tmp_path/'in')
    cr(d)
    home = next((tmp_path/'kept').iterdir())
    (home/'thesis.txt').write_text('three years')
    (home/'skipped.json').unlink()
    with pytest.raises(OutputError, match='thesis.txt'): cr(d)
    assert (home/'thesis.txt').read_text() == 'three years'

def test_keys_hold_what_changes_a_set(tmp_path):
    d = triplets(tmp_path/'in')
    for args in (dict(), dict(size=8), dict(only='spring'), dict(limit=2)): cr(d, **args)
    pictures(tmp_path/'AID', ('Beach','Pond'))
    for args in (dict(), dict(size=8), dict(draft=False), dict(classes='Pond'), dict(classes=['Pond','Beach'])):
        aid(tmp_path/'AID', **{**dict(size=16, cache=tmp_path/'kept', progress=False), **args})
    assert len(list((tmp_path/'kept').iterdir())) == 9

def test_one_interrupt_ends_an_import(tmp_path, monkeypatch):
    import _thread
    pictures(tmp_path/'AID', ('Beach','Pond'), 60)
    done = []
    def slow(path, *a, **k):
        time.sleep(.02)
        done.append(path)
        return scene(path, *a, **k)
    scene = folders._scene
    monkeypatch.setattr(folders, '_scene', slow)
    timer = threading.Timer(.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt): aid(tmp_path/'AID', cache=tmp_path/'kept', n_workers=2, progress=False)
    timer.join()
    assert len(done) < 80 and not (tmp_path/'kept').exists()

# --- options without effect, sheets and skies -------------------------------------------------------------------
@pytest.mark.parametrize('args', [dict(purity=.5), dict(per_class=5), dict(seed=1), dict(only='spring'), dict(limit=3)])
def test_options_without_effect(tmp_path, args):
    with pytest.raises(OptionError, match='holds class folders'): sen12ms_cloud(pairs(tmp_path), progress=False, **args)

def test_sheets_name_what_they_cannot_read(tmp_path):
    f = next(triplets(tmp_path).rglob('*_s1_7_p0.tif'))
    f.unlink()
    f.symlink_to('/nowhere')
    assert SEN12MS_CR.check(tmp_path).found == dict(s1=4, s2=4, s2_cloudy=4)
    with pytest.raises(UnreadableFile, match='s1_7_p0.tif'): SEN12MS_CR.check(tmp_path, checksum=True)

def skies(root, change=lambda x: x, **said):
    for i in range(3):
        for k in ('cloudy','clear'):
            tif(root/k/f'{i}.tif', change(reflect(i)) if i == 0 and k == 'clear' else reflect(i),
                **(said if i == 0 and k == 'clear' else {}))
    return root

SKIES = [
    (half(0), {}), (lambda x: x, dict(mask=MASK)), (as_type(np.uint16, 20), {}), (lambda x: x[:,:16], {}),
    (lambda x: (x//12).astype(np.uint8), {}), (lambda x: x, dict(transform=T@Affine.translation(N, 0)))]

@pytest.mark.parametrize('change, said', SKIES)
def test_skies_are_left_out(tmp_path, change, said):
    assert len(cloud_pairs(skies(tmp_path, change, **said), progress=False)[0]) == 2
    with pytest.raises(IrmError, match='0.tif: found'): cloud_pairs(tmp_path, on_bad='error', progress=False)

def test_skies_twice(tmp_path):
    shutil.copytree(skies(tmp_path/'a'), tmp_path/'a'/'a')
    assert len(cloud_pairs(tmp_path/'a', progress=False)[0]) == 6
    shutil.copy(tmp_path/'a'/'clear'/'0.tif', tmp_path/'a'/'clear'/'0.tiff')
    with pytest.raises(PairError, match='with the same name'): cloud_pairs(tmp_path/'a', progress=False)
