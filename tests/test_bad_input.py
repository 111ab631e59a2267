"Bad input of many kinds: each gives the named error or a counted skip, never a library's traceback, and nothing half-written stays behind."
import dataclasses, itertools, json, os, shutil, unicodedata, warnings
from pathlib import Path

import numpy as np, pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings, strategies as st

from irm_nb.core import *
from irm_nb.clouds import CloudSpec, cloud_bank, compose, opacity_from_pairs
from irm_nb.datasets import *
from irm_nb.describe import *
from irm_nb.folders import *
from irm_nb.raster import *
from irm_nb.regions import region, write_patches
from irm_nb.scenes import PairedScenes, SceneSet, Scenes
from irm_nb.tasks import *

# --- tiny good inputs -------------------------------------------------------------------------------
RNG = np.random.default_rng(0)
OPT = RNG.integers(300, 3000, (3,32,32)).astype(np.uint16)
SAR = (np.array([-10,-17])[:,None,None] + RNG.normal(0, 1, (2,32,32))).astype(np.float32)
PIC = RNG.integers(0, 256, (3,8,8)).astype(np.uint8)
CODES = (np.arange(32*32).reshape(1,32,32)//512).astype(np.uint8)
NAN = np.full_like(SAR, np.nan)

def geo(path, x, crs='EPSG:32631', x0=600000, y0=5700000, step=10, **kw):
    write_raster(path, x, crs, crs and Affine(step, 0, x0, 0, -step, y0), **kw)
    return path

def cut_off(path, share=.6):
    path.write_bytes((b := path.read_bytes())[:int(len(b)*share)])
    return path

def scarred(path):
    "Compressed pixels overwritten, with the header as it was"
    import rasterio
    with rasterio.open(path) as d: at = int(d.get_tag_item('BLOCK_OFFSET_0_0', 'TIFF', bidx=1))
    b = bytearray(path.read_bytes()); b[at:at+16] = bytes(16)
    path.write_bytes(b)
    return path

def text(path, s):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(s)
    return path

def junk(path, n=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(range(1, 200))[:n])
    return path

def cutting(d, **kw):
    "A job of `region` on good files, apart from what `kw` names"
    job = {**dict(s1=geo(d/'in'/'s1.tif', SAR), s2=geo(d/'in'/'s2.tif', OPT), out=d/'out', size=8, progress=False), **kw}
    return lambda: region(**job)

def classes(d, names=('lake','wood'), n=3, suffix='png', x=PIC):
    for c,i in itertools.product(names, range(n)): write_image(d/'in'/c/f'{i}.{suffix}', x)
    return d/'in'

def scenes(d, **kw): return lambda: scene_folder(d/'in', **{**dict(size=8, progress=False), **kw})

def twins(d, names=('Forest','Water'), n=3, opt=PIC, sar=SAR[:,:8,:8]):
    for c,i in itertools.product(names, range(n)):
        write_image(d/'in'/'opt'/c/f'{i}.png', opt); write_raster(d/'in'/'sar'/c/f'{i}.tif', sar)
    return d/'in'

def paired(d, **kw): return lambda: paired_folder(d/'in', **{**dict(progress=False), **kw})

S2 = RNG.integers(300, 3000, (13,16,16)).astype(np.uint16)
S1,LC = SAR[:,:16,:16],np.repeat(np.where(np.arange(16)[None,:,None] < 8, 1, 17), 16, 2).repeat(4, 0).astype(np.uint8)

def patches(d, n=2, **other):
    "SEN12MS of a few patches"
    for i,(k,x) in itertools.product(range(n), {**dict(s1=S1, s2=S2, lc=LC), **other}.items()): geo(sen(d, k, i), x, x0=600000+160*i)
    return d/'in'
def sen(d, kind, i=0): return d/'in'/'ROIs1868_summer'/f'{kind}_7'/f'ROIs1868_summer_{kind}_7_p{i}.tif'
def sen12ms(d, **kw): return lambda: sen12ms_cloud(d/'in', **{**dict(size=8, cache=d/'out', progress=False), **kw})
def triplets(d, **other): return patches(d, **{**dict(s2_cloudy=S2), **other})
def sen12cr(d, **kw): return lambda: sen12ms_cr(d/'in', **{**dict(size=8, cache=d/'out', progress=False), **kw})

def kept(d):
    SceneSet(np.stack([PIC]*4), labels=[0,0,1,1], classes=('lake','wood'), ids='abcd').save(d/'in'/'set')
    return d/'in'/'set'

def pairs(n=4, **kw): return PairedScenes(**{**dict(opt=np.stack([PIC]*n), sar=np.stack([SAR[:,:8,:8]]*n), labels=[i%2 for i in range(n)], classes=('lake','wood'), ids=[str(i) for i in range(n)]), **kw})

# --- the table --------------------------------------------------------------------------------------
CASES = []

def kind(expected, at=''):
    "Enter a bad input: `expected` is an error, a number of skipped files, or None where it is to work; `at` is in the place that the error names"
    def enter(f):
        CASES.append(pytest.param(f, expected, at, id=f.__name__))
        return f
    return enter

# rasters
@kind(UnreadableFile, 'none.png')
def raster_missing(d): return lambda: read_image(d/'none.png')
@kind(UnreadableFile, 'in')
def raster_is_a_folder(d): return lambda: read_image(d/'in')
@kind(UnreadableFile, 'empty.tif')
def raster_of_no_bytes(d): return lambda p=junk(d/'in'/'empty.tif'): describe(p)
@kind(UnreadableFile, 'cut.tif')
def tiff_truncated(d): return lambda p=cut_off(geo(d/'in'/'cut.tif', OPT)): read_raster(p)
@kind(UnreadableFile, 'cut.png')
def png_truncated(d):
    write_image(d/'in'/'cut.png', PIC)
    return lambda p=cut_off(d/'in'/'cut.png'): read_image(p)
@kind(UnreadableFile, 'cut.jpg')
def jpeg_truncated(d):
    write_image(d/'in'/'cut.jpg', OPT.astype(np.uint8))
    return lambda p=cut_off(d/'in'/'cut.jpg'): read_image(p)
@kind(UnreadableFile, 'bit.png')
def png_with_a_flipped_bit(d):
    write_image(p := d/'in'/'bit.png', PIC)
    b = bytearray(p.read_bytes()); b[len(b)//2] ^= 4; p.write_bytes(b)
    return lambda: read_image(p)
@kind(UnreadableFile, 'page.jpg')
def web_page_named_jpg(d): return lambda p=text(d/'in'/'page.jpg', '<!doctype html><p>404'): read_image(p)
@kind(UnreadableFile, 'a.tif')
def numpy_array_named_tif(d):
    with open(d/'in'/'a.tif', 'wb') as f: np.save(f, PIC)
    return lambda: describe(d/'in'/'a.tif')
@kind(UnreadableFile, 'loop.png')
def link_to_itself(d):
    (d/'in'/'loop.png').symlink_to(d/'in'/'loop.png')
    return lambda: read_image(d/'in'/'loop.png')
@kind(UnreadableFile, 'vast.tif')
def header_of_a_vast_raster(d):
    import rasterio
    with rasterio.open(d/'in'/'vast.tif', 'w', driver='GTiff', width=100000, height=100000, count=3, dtype='uint8', sparse_ok=True, tiled=True): pass
    return lambda: read_image(d/'in'/'vast.tif')
@kind(UnreadableFile, 'nul')
def nul_in_a_path(d): return lambda: read_image('nul\0.png')
@kind(ShapeError, 'a.tif')
def bands_it_has_not(d): return lambda p=geo(d/'in'/'a.tif', OPT): read_raster(p, [4])
@kind(ShapeError, 'a.tif')
def window_outside(d): return lambda p=geo(d/'in'/'a.tif', OPT): read_raster(p, window=((0,40),(0,8)))
@kind(None)
def raster_all_nan(d): return lambda p=geo(d/'in'/'a.tif', NAN): (describe(p).kind, read_raster(p).valid.any())
@kind(None)
def raster_of_one_pixel(d): return lambda p=geo(d/'in'/'a.tif', OPT[:,:1,:1]): describe(p)
@kind(None)
def raster_of_huge_values(d): return lambda p=geo(d/'in'/'a.tif', np.where(SAR > -13, 3e38, -3e38).astype(np.float32)): describe(p)
@kind(None)
def raster_of_complex_numbers(d): return lambda p=geo(d/'in'/'a.tif', SAR.astype(np.complex64)): describe(p)
@kind(None)
def space_and_letters_in_a_raster_name(d): return lambda p=geo(d/'in'/'Dòng Tíng 洞庭 湖 %20#.tif', OPT): read_image(p)
@kind(OptionError, 'suffix')
def write_gif(d): return lambda: write_image(d/'out.gif', PIC)
@kind(ShapeError, 'out.png')
def write_two_dimensions(d): return lambda: write_image(d/'out.png', PIC[0])
@kind(OutputError, 'out.png')
def write_floats_as_png(d): return lambda: write_image(d/'out.png', SAR)
@kind(OutputError, 'out.png')
def write_below_a_file(d): return lambda p=junk(d/'in'/'file', 9): write_image(p/'out.png', PIC)
@kind(OutputError, 'taken.png')
def write_over_a_folder(d):
    (d/'in'/'taken.png'/'x').mkdir(parents=True)
    return lambda: write_image(d/'in'/'taken.png', PIC)
@kind(OutputError, 'out.tif')
def write_with_an_unknown_crs(d): return lambda: write_raster(d/'out.tif', OPT, 'EPSG:999999', Affine.identity())

@kind(OptionError, 'nodata')
def describe_with_true_for_nodata(d): return lambda p=geo(d/'in'/'a.tif', OPT): describe(p, nodata=True)
@kind(OptionError, 'kind')
def describe_as_an_unknown_kind(d): return lambda p=geo(d/'in'/'a.tif', OPT): describe(p, kind='radar')
@kind(None)
def palette_of_16_bits(d):
    import rasterio
    with rasterio.open(d/'in'/'p.tif', 'w', driver='GTiff', width=4, height=4, count=1, dtype='uint16', photometric='palette') as f:
        f.write(np.full((1,4,4), 999, np.uint16)); f.write_colormap(1, {i:(i%256,0,0,255) for i in range(1000)})
    return lambda: read_image(d/'in'/'p.tif')

# regions
@kind(UnreadableFile, 's1.tif')
def region_without_radar(d): return cutting(d, s1=d/'in'/'no'/'s1.tif')
@kind(UnreadableFile, 'cut.tif')
def region_with_truncated_optical(d): return cutting(d, s2=cut_off(geo(d/'in'/'cut.tif', OPT)))
@kind(UnreadableFile, 'cut.tif')
def region_with_truncated_radar(d): return cutting(d, s1=cut_off(geo(d/'in'/'cut.tif', SAR)), sar_units='dB')
@kind(UnitsError, 'nan.tif')
def region_with_radar_all_nan(d): return cutting(d, s1=geo(d/'in'/'nan.tif', NAN))
@kind(PairError)
def region_told_units_of_nan(d): return cutting(d, s1=geo(d/'in'/'nan.tif', NAN), sar_units='dB')
@kind(PairError, 'nowhere.tif')
def region_without_crs(d): return cutting(d, s1=geo(d/'in'/'nowhere.tif', SAR, None))
@kind(PairError, 'far.tif')
def region_without_overlap(d): return cutting(d, s1=geo(d/'in'/'far.tif', SAR, x0=700000))
@kind(PairError, 'wrong.tif')
def region_in_the_wrong_zone(d): return cutting(d, s1=geo(d/'in'/'wrong.tif', SAR, 'EPSG:32649'))
@kind(PairError, 'degrees.tif')
def region_of_metres_called_degrees(d): return cutting(d, s1=geo(d/'in'/'degrees.tif', SAR, 'EPSG:4326'))
@kind(ShapeError, 'one.tif')
def region_with_one_optical_band(d): return cutting(d, s2=geo(d/'in'/'one.tif', OPT[:1]))
@kind(ShapeError, 's1')
def region_with_three_radar_bands(d): return cutting(d, s1=geo(d/'in'/'three.tif', SAR[[0,1,1]]), sar_units='dB')
@kind(PairError, 'swapped.tif')
def region_with_vv_and_vh_swapped(d): return cutting(d, s1=geo(d/'in'/'swapped.tif', SAR[::-1]))
@kind(UnitsError, 'a.tif')
def region_with_optical_as_radar(d): return cutting(d, s1=geo(d/'in'/'a.tif', OPT))
@kind(UnitsError, 'b.tif')
def region_with_radar_as_optical(d): return cutting(d, s2=geo(d/'in'/'b.tif', SAR[[0,1,0]]))
@kind(ShapeError, 'overlap')
def region_of_one_pixel(d): return cutting(d, s2=geo(d/'in'/'dot.tif', OPT[:,:1,:1]), opt_units='reflectance')
@kind(UnitsError, 'huge.tif')
def region_of_huge_values(d): return cutting(d, s1=geo(d/'in'/'huge.tif', np.full_like(SAR, 1e30)))
@kind(PairError, 'labels.tif')
def region_with_labels_of_another_place(d): return cutting(d, labels=geo(d/'in'/'labels.tif', CODES, x0=900000))
@kind(None)
def region_with_labels_of_another_grid(d): return cutting(d, labels=geo(d/'in'/'labels.tif', CODES, x0=599993, step=17))
@kind(LabelError, 'labels.tif')
def region_with_labels_of_floats(d): return cutting(d, labels=geo(d/'in'/'labels.tif', SAR[:1]))
@kind(UnreadableFile, 'labels.tif')
def region_with_truncated_labels(d): return cutting(d, labels=cut_off(geo(d/'in'/'labels.tif', CODES)))
@kind(UnreadableFile, 'mask.tif')
def region_with_truncated_cloud_mask(d): return cutting(d, cloud_mask=cut_off(geo(d/'in'/'mask.tif', CODES)))
@kind(UnreadableFile, 'labels.tif')
def region_with_damaged_labels(d): return cutting(d, labels=scarred(geo(d/'in'/'labels.tif', CODES, compress='deflate')))
@kind(UnreadableFile, 'labels.tif')
def region_with_damaged_named_labels(d): return cutting(d, classes=('lake','wood'), labels=scarred(geo(d/'in'/'labels.tif', CODES, compress='deflate')))
@kind(UnreadableFile, 'mask.tif')
def region_with_damaged_cloud_mask(d): return cutting(d, cloud_mask=scarred(geo(d/'in'/'mask.tif', CODES, compress='deflate')))
@kind(UnreadableFile, 'torn.tif')
def region_with_damaged_optical(d): return cutting(d, s2=scarred(geo(d/'in'/'torn.tif', OPT, compress='deflate')))
@kind(UnreadableFile, 'torn.tif')
def region_with_damaged_radar_on_another_grid(d): return cutting(d, s1=scarred(geo(d/'in'/'torn.tif', SAR, x0=599994, compress='deflate')))
@kind(UnreadableFile, 'labels.json')
def region_with_torn_polygons(d): return cutting(d, labels=text(d/'in'/'labels.json', '{"type": "FeatureColl'))
@kind(UnreadableFile, 'labels.gpkg')
def region_with_a_geopackage_of_no_bytes(d): return cutting(d, labels=junk(d/'in'/'labels.gpkg'))
@kind(OutputError, 'out')
def region_into_a_file(d): return cutting(d, out=junk(d/'in'/'out', 9))
@kind(OutputError, 'out')
def region_below_a_file(d): return cutting(d, out=junk(d/'in'/'file', 9)/'out')
@kind(OutputError, 'out')
def region_over_a_torn_note(d):
    text(d/'in'/'out'/'region.json', '{"key": "ab')
    return cutting(d, out=d/'in'/'out')
# what regions refuse rather than guess
LIN = 10**(SAR/10)
def odd(d, x=None, **kw): return geo(d/'in'/'odd.tif', OPT if x is None else x, **kw)
def scaled(path, scales, offsets):
    import rasterio
    with rasterio.open(path, 'r+') as f: f.scales,f.offsets = scales,offsets
    return path
def polygons(d, geometry, properties=None, **top):
    feature = dict(type='Feature', properties={'class':'lake'} if properties is None else properties, geometry=geometry)
    return text(d/'in'/'labels.json', json.dumps(dict(type='FeatureCollection', features=[feature], **top)))
def ring(*points): return dict(type='Polygon', coordinates=[list(points)])
GROUND = ring([4,51], [5,51], [5,52], [4,52], [4,51])

@kind(UnitsError, 'odd.tif')
def region_of_amplitude_or_power(d): return cutting(d, s1=odd(d, LIN**.5, names=('VV','VH')))
@kind(None)
def region_of_amplitude(d): return cutting(d, s1=odd(d, LIN**.5, names=('VV','VH')), sar_units='amplitude')
@kind(UnitsError, 'odd.tif')
def region_of_power_told_as_db(d): return cutting(d, s1=odd(d, LIN), sar_units='dB')
@kind(UnitsError, 'odd.tif')
def region_of_db_told_as_power(d): return cutting(d, s1=odd(d, SAR), sar_units='linear')
@kind(UnitsError, 'odd.tif')
def region_of_int16_told_as_8_bits(d): return cutting(d, s1=odd(d, (SAR*100).astype(np.int16)), sar_units='stretch8')
@kind(UnitsError, 'odd.tif')
def region_of_complex_radar(d): return cutting(d, s1=odd(d, SAR.astype(np.complex64)), sar_units='dB')
@kind(UnitsError, 'odd.tif')
def region_of_16_bits_told_as_8(d): return cutting(d, s2=odd(d), opt_units='optical8')
@kind(UnitsError, 'odd.tif')
def region_with_an_offset_that_may_be_due(d): return cutting(d, s2=odd(d, OPT + np.uint16(1000)))
@kind(None)
def region_with_an_offset_that_is_said(d): return cutting(d, s2=odd(d, OPT + np.uint16(1000)), offset=-1000)
@kind(OptionError, 'offset')
def region_with_an_offset_of_fractions(d): return cutting(d, s2=odd(d, (OPT/1e4).astype(np.float32)), offset=-1000)
@kind(UnitsError, 'odd.tif')
def region_with_three_scales(d): return cutting(d, s2=scaled(odd(d), (1e-4,1e-4,2e-4), (0,0,0)))
@kind(UnitsError, 'odd.tif')
def region_with_two_offsets_in_a_tag(d): return cutting(d, s2=odd(d, tags={'BOA_ADD_OFFSET':'-1000, 0'}))
@kind(ShapeError, 'odd.tif')
def region_with_infrared_for_red(d): return cutting(d, s2=odd(d, names=('B08','B04','B03')))
@kind(ShapeError, 'odd.tif')
def region_with_an_order_that_names_deny(d): return cutting(d, s2=odd(d, names=('B02','B03','B04')), order='RGB')
@kind(ShapeError, 'odd.tif')
def region_with_pols_that_names_deny(d): return cutting(d, s1=odd(d, SAR[::-1], names=('VH','VV')), pols=('VV','VH'))
@kind(ShapeError, 'odd.tif')
def region_with_one_file_for_three_bands(d): return cutting(d, s2=dict.fromkeys(('B04','B03','B02'), odd(d)))
@kind(PairError, 'B04.tif')
def region_with_two_files_of_one_band(d):
    files = [geo(d/'in'/k/f'{b}.tif', OPT[i:i+1]) for k in 'ab' for i,b in enumerate(('B04','B03','B02'))]
    return cutting(d, s2=files)
@kind(UnitsError, 'B02.tif')
def region_of_bands_in_two_units(d):
    files = [geo(d/'in'/f'{b}.tif', OPT[i:i+1]/np.float32(1e4 if i == 2 else 1)) for i,b in enumerate(('B04','B03','B02'))]
    return cutting(d, s2=files)
@kind(None)
def region_of_angle_vv_and_vh(d): return cutting(d, s1=odd(d, np.concatenate([40 + SAR[:1]/9, SAR]), names=('angle','Sigma0_VV_db','Sigma0_VH_db')))
@kind(None)
def region_of_pols_in_small_letters(d): return cutting(d, pols=('vv','vh'))
@kind(OptionError, 'cloud_scheme')
def region_with_codes_of_an_unknown_scheme(d): return cutting(d, cloud_mask=odd(d, CODES*4))
@kind(None)
def region_with_codes_that_are_said(d): return cutting(d, cloud_mask=odd(d, CODES*4), cloud_scheme={4})
@kind(OptionError, 'cloud_threshold')
def region_with_percent_beside_fractions(d): return cutting(d, cloud_mask=odd(d, (CODES/2).astype(np.float32)), cloud_threshold=40)
@kind(OptionError, 'cloud_threshold')
def region_with_a_fraction_beside_percent(d): return cutting(d, cloud_mask=odd(d, CODES*90), cloud_threshold=.4)
@kind(LabelError, 'odd.tif')
def region_with_a_coloured_map(d): return cutting(d, labels=odd(d, np.repeat(CODES, 4, 0), photometric='RGB', alpha='yes'))
@kind(LabelError, 'labels.json')
def region_with_a_misspelt_class(d): return cutting(d, labels=polygons(d, GROUND), classes=['lake','wod'])
@kind(LabelError, 'labels.shp')
def region_with_a_shapefile(d): return cutting(d, labels=junk(d/'in'/'labels.shp', 9))
@kind(LabelError, 'labels.json')
def region_with_a_curved_polygon(d): return cutting(d, labels=polygons(d, dict(type='CurvePolygon', geometries=[dict(type='CircularString', coordinates=[])])))
@kind(UnreadableFile, 'labels.json')
def region_with_text_for_coordinates(d): return cutting(d, labels=polygons(d, ring(['4','51'], ['5','51'], ['5','52'])))
@kind(UnreadableFile, 'labels.json')
def region_with_null_for_coordinates(d): return cutting(d, labels=polygons(d, ring([None,None], [5,51], [5,52])))
@kind(UnreadableFile, 'labels.json')
def region_with_nan_for_a_coordinate(d): return cutting(d, labels=polygons(d, ring([float('nan'),51], [5,51], [5,52])))
@kind(UnreadableFile, 'labels.json')
def region_with_a_coordinate_of_400_digits(d): return cutting(d, labels=polygons(d, ring([10**400,51], [5,51], [5,52])))
@kind(PairError, 'labels.json')
def region_with_metres_called_degrees(d): return cutting(d, labels=polygons(d, ring([600000,5700000], [600100,5700000], [600100,5699000])))
@kind(ShapeError, 'odd.tif')
def region_with_one_file_as_vv_and_vh(d): return cutting(d, s1=[odd(d, SAR[:1])]*2)
@kind(ShapeError, 'odd.tif')
def region_with_one_file_as_three_bands(d): return cutting(d, s2=[odd(d, OPT[:1])]*3)
@kind(PairError, 'odd.tif')
def region_with_names_that_numbers_deny(d): return cutting(d, s1=odd(d, SAR, names=('VH','VV')))
@kind(None)
def region_with_names_that_are_repeated(d): return cutting(d, s1=odd(d, SAR, names=('VH','VV')), pols=('VH','VV'))
@kind(UnitsError, 'odd.tif')
def region_of_8_bits_with_a_scale(d):
    x = scaled(odd(d, (SAR*8 + 250).astype(np.uint8), names=('VV','VH')), (.125,.125), (-31.25,-31.25))
    return cutting(d, s1=x, sar_units='stretch8')
@kind(OptionError, 'cloud_scheme')
def region_with_a_mask_called_scl(d): return cutting(d, cloud_mask=geo(d/'in'/'SCL.tif', CODES))
@kind(OptionError, 'cloud_threshold')
def region_with_percent_beside_codes(d): return cutting(d, cloud_mask=odd(d, CODES*9), cloud_threshold=40)
@kind(OptionError, 'cloud_threshold')
def region_with_a_threshold_of_nothing(d): return cutting(d, cloud_threshold=40)
@kind(OptionError, 'cloud_scheme')
def region_with_a_scheme_of_nothing(d): return cutting(d, cloud_scheme='scl')
@kind(OptionError, 'classes')
def region_with_classes_of_nothing(d): return cutting(d, classes=['lake'])
@kind(OptionError, 'ids')
def patches_that_would_be_hidden(d):
    p = dataclasses.replace(cutting(d)(), ids=[f'.x-r{i:05}c00000' for i in range(16)])
    return lambda: write_patches(p, d/'in'/'tiffs', progress=False)
@kind(OutputError, 'tiffs')
def patches_over_a_note_that_claims_all(d):
    text(d/'in'/'tiffs'/'thesis.txt', 'three years')
    text(d/'in'/'tiffs'/'patches.json', '{"files": ["*"]}')
    p = cutting(d)()
    return lambda: write_patches(p, d/'in'/'tiffs', progress=False)
@kind(OptionError, 'nodata')
def region_with_a_word_for_nodata(d): return cutting(d, nodata='zero')
@kind(OutputError, 'out')
def region_over_a_region_with_more_in_it(d):
    cutting(d)()
    text(d/'out'/'thesis.txt', 'three years')
    return cutting(d, size=16, overwrite=True)
@kind(OptionError, 'id')
def patches_that_would_leave_their_folder(d):
    p = dataclasses.replace(cutting(d)(), ids=[f'../../x-r{i:05}c00000' for i in range(16)])
    return lambda: write_patches(p, d/'in'/'tiffs', progress=False)
@kind(OutputError, 'tiffs')
def patches_over_a_folder_of_somebody_else(d):
    text(d/'in'/'tiffs'/'thesis.txt', 'three years')
    p = cutting(d)()
    return lambda: write_patches(p, d/'in'/'tiffs', progress=False)
@kind(None)
def space_and_letters_in_region_names(d): return cutting(d, s1=geo(d/'in'/'radar é 雷达.tif', SAR), s2=geo(d/'in'/'opt & <洞庭>.tif', OPT), out=d/'out')
@kind(None)
def region_of_two_grids_in_odd_names(d): return cutting(d, s1=geo(d/'in'/'radar é & <雷达>.tif', SAR, x0=599994))

# class folders
@kind(UnreadableFile, 'in')
def scenes_of_no_folder(d): return lambda: scene_folder(d/'in'/'none')
@kind(LabelError, 'in')
def scenes_of_an_empty_folder(d): return scenes(d)
@kind(LabelError, 'bare')
def scenes_with_an_empty_class(d):
    (classes(d)/'bare').mkdir()
    return scenes(d)
@kind(1)
def scenes_with_a_torn_image(d): cut_off(classes(d)/'lake'/'0.png'); return scenes(d)
@kind(2)
def scenes_with_no_bytes_and_text(d):
    junk(classes(d)/'lake'/'0.png'); text(d/'in'/'wood'/'9.jpg', 'no image')
    return scenes(d)
@kind(UnreadableFile, '0.png')
def scenes_strict_with_a_torn_image(d): cut_off(classes(d)/'lake'/'0.png'); return scenes(d, on_bad='error')
@kind(UnreadableFile, '.png')
def scenes_all_torn(d):
    for p in classes(d).rglob('*.png'): junk(p, 20)
    return scenes(d)
@kind(1)
def scenes_with_one_band(d): write_image(classes(d)/'lake'/'grey.png', PIC[:1]); return scenes(d)
@kind(1)
def scenes_with_16_bits(d): write_image(classes(d)/'lake'/'deep.tif', OPT); return scenes(d)
@kind(ShapeError, 'odd.png')
def scenes_of_two_sizes(d): write_image(classes(d)/'lake'/'odd.png', PIC[:,:4,:4]); return scenes(d, size=None)
@kind(None)
def scenes_of_one_pixel(d): classes(d, x=PIC[:,:1,:1]); return scenes(d)
@kind(None)
def scenes_with_links_in_a_circle(d):
    (classes(d)/'again').symlink_to(d/'in', target_is_directory=True)
    return scenes(d)
@kind(UnreadableFile, 'lost')
def scenes_with_a_class_that_links_to_itself(d):
    (classes(d)/'lost').symlink_to(d/'in'/'lost')
    return scenes(d, classes=['lost'])
@kind(1)
def scenes_with_a_link_to_nothing(d): (classes(d)/'lake'/'gone.png').symlink_to(d/'nothing.png'); return scenes(d)
@kind(None)
def space_and_letters_in_class_names(d): classes(d, ('Bäume und Sträucher', unicodedata.normalize('NFD', 'Étang'), '水 体')); return scenes(d)
@kind(LabelError, 'in')
def scenes_of_an_unknown_class(d): classes(d); return scenes(d, classes=['sea'])
@kind(OptionError, 'size')
def scenes_of_half_a_pixel(d): classes(d); return scenes(d, size=.5)
@kind(LabelError, 'in')
def resisc_of_other_classes(d): classes(d, ('mare','oceanus')); return lambda: resisc45(d/'in', size=8, cache=d/'out', progress=False)
@kind(1)
def resisc_with_a_torn_jpeg(d):
    classes(d, ('airport','beach'), suffix='jpg', x=OPT.astype(np.uint8))
    cut_off(d/'in'/'beach'/'0.jpg')
    return lambda: resisc45(d/'in', size=8, cache=d/'out', progress=False)
@kind(OutputError, 'AID')
def aid_with_a_file_as_cache(d): classes(d, ('Beach','Pond')); return lambda f=junk(d/'in.cache', 5): aid(d/'in', size=8, cache=f, progress=False)
@kind(LabelError, 'in')
def aid_with_one_class_twice(d): classes(d, ('BareLand','bare_land')); return lambda: aid(d/'in', size=8, cache=d/'out', progress=False)
@kind(None)
def aid_with_a_torn_cache(d):
    classes(d, ('Beach','Pond')); job = lambda: aid(d/'in', size=8, cache=d/'out', progress=False)
    job()
    cut_off(next((d/'out').rglob('meta.json')))
    return job

# pairs
@kind(PairError, 'sar')
def pairs_without_radar(d): shutil.rmtree(twins(d)/'sar'); return paired(d)
@kind(PairError, 'in')
def pairs_of_unequal_number(d): (twins(d)/'sar'/'Forest'/'0.tif').unlink(); return paired(d)
@kind(1)
def pairs_of_unequal_number_skipped(d): (twins(d)/'sar'/'Forest'/'0.tif').unlink(); return paired(d, unpaired='skip')
@kind(1)
def pairs_with_a_torn_radar(d): cut_off(twins(d)/'sar'/'Forest'/'0.tif'); return paired(d)
@kind(1)
def pairs_with_radar_nan(d): write_raster(twins(d)/'sar'/'Forest'/'0.tif', NAN[:,:8,:8]); return paired(d)
@kind(1)
def pairs_with_vv_and_vh_swapped_in_one(d): write_raster(twins(d)/'sar'/'Forest'/'0.tif', SAR[::-1,:8,:8]); return paired(d)
@kind(UnitsError, '.tif')
def pairs_with_vv_and_vh_swapped(d): twins(d, sar=SAR[::-1,:8,:8]); return paired(d)
@kind(UnitsError, 'sar')
def pairs_in_linear_power(d): twins(d, sar=10**(SAR[:,:8,:8]/10)); return paired(d)
@kind(ShapeError, '.tif')
def pairs_with_three_radar_bands(d): twins(d, sar=SAR[[0,1,1],:8,:8]); return paired(d)
@kind(PairError)
def pairs_of_two_grids(d): twins(d, sar=SAR[:,:12,:12]); return paired(d)
@kind(1)
def pairs_with_zeros_in_vh(d):
    x = SAR[:,:8,:8].copy()
    x[1,:,:2] = 0
    twins(d)
    write_raster(d/'in'/'sar'/'Forest'/'0.tif', x)
    return paired(d)
@kind(1)
def pairs_with_transparency_behind_vv_and_vh(d):
    clear = np.where(np.arange(8) < 4, 0, 255)*np.ones((1,8,1))
    twins(d)
    write_raster(d/'in'/'sar'/'Forest'/'0.tif', np.concatenate([SAR[:,:8,:8], clear]).astype(np.float32),
        names=('VV','VH','alpha'))
    return paired(d)
def deep(d):
    x = OPT[:,:8,:8] + np.uint16(1000)
    for c,i in itertools.product(('Forest','Water'), range(3)):
        write_raster(d/'in'/'opt'/c/f'{i}.tif', x)
        write_raster(d/'in'/'sar'/c/f'{i}.tif', SAR[:,:8,:8])
    return d/'in'
@kind(UnitsError, 'opt')
def pairs_with_an_offset_that_may_be_due(d): deep(d); return paired(d)
@kind(None)
def pairs_with_an_offset_of_zero(d): deep(d); return paired(d, offset=0)
@kind(OptionError, 'groups')
def pairs_with_a_broken_pattern(d): twins(d); return paired(d, groups='(')
@kind(UnreadableFile, 'in')
def hunan_that_is_not_there(d): return lambda: hunan_cloud(d/'in'/'none', progress=False)
@kind(1)
def hunan_with_no_bytes(d): junk(twins(d)/'sar'/'Forest'/'0.tif'); return lambda: hunan_cloud(d/'in', progress=False)

# SEN12MS and SEN12MS-CR
@kind(UnreadableFile, 'in')
def sen12ms_empty(d): return sen12ms(d)
@kind(1)
def sen12ms_without_a_partner(d): patches(d); sen(d, 's1').unlink(); return sen12ms(d)
@kind(1)
def sen12ms_truncated(d): patches(d); cut_off(sen(d, 's2')); return sen12ms(d)
@kind(PairError, 'in')
def sen12ms_without_land_cover(d): patches(d); sen(d, 'lc').unlink(); sen(d, 'lc', 1).unlink(); return sen12ms(d)
@kind(1)
def sen12ms_with_labels_of_another_size(d): patches(d); geo(sen(d, 'lc'), LC.repeat(2, 1).repeat(2, 2)); return sen12ms(d)
@kind(1)
def sen12ms_with_labels_of_another_place(d): patches(d); geo(sen(d, 'lc'), LC, x0=650000); return sen12ms(d)
@kind(1)
def sen12ms_with_radar_of_another_place(d): patches(d); geo(sen(d, 's1'), S1, x0=650000); return sen12ms(d)
@kind(1)
def sen12ms_with_labels_of_floats(d): patches(d); geo(sen(d, 'lc'), LC.astype(np.float32)); return sen12ms(d)
@kind(1)
def sen12ms_with_one_band(d): patches(d); geo(sen(d, 's2'), S2[:1]); return sen12ms(d)
@kind(1)
def sen12ms_without_data(d): patches(d); geo(sen(d, 's2'), S2*0); return sen12ms(d)
@kind(ShapeError)
def sen12ms_of_windows_larger_than_patches(d): patches(d); return sen12ms(d, size=64)
@kind(OptionError, 'bank')
def sen12ms_with_a_bank_of_floats(d): patches(d); return sen12ms(d, bank=np.zeros((2,8,8)))
@kind(None)
def sen12ms_with_links_in_a_circle(d): (patches(d)/'ROIs1868_summer'/'s1_7'/'up').symlink_to(d/'in', target_is_directory=True); return sen12ms(d)
@kind(1)
def sen12cr_with_radar_nan(d): triplets(d); geo(sen(d, 's1'), NAN[:,:16,:16]); return sen12cr(d)
@kind(1)
def sen12cr_of_two_places(d): triplets(d); geo(sen(d, 's2_cloudy'), S2, x0=0); return sen12cr(d)
@kind(PairError, 'in')
def sen12cr_without_clear_days(d):
    triplets(d)
    for i in (0,1): sen(d, 's2', i).unlink()
    return sen12cr(d)
@kind(None)
def sen12cr_of_patches_that_are_no_squares(d): triplets(d, s1=S1[:,:8], s2=S2[:,:8], s2_cloudy=S2[:,:8]); return sen12cr(d)

# cloudy and clear pictures
def skies(d, x=PIC, n=3):
    for k,i in itertools.product(('cloudy','clear'), range(n)): write_image(d/'in'/k/f'{i}.png', x)
    return d/'in'
def sky(d, **kw): return lambda: cloud_pairs(d/'in', progress=False, **kw)
@kind(PairError, 'in')
def skies_without_folders(d): return sky(d)
@kind(PairError, 'in')
def skies_without_pictures(d):
    for k in ('cloudy','clear'): (d/'in'/k).mkdir()
    return sky(d)
@kind(1)
def skies_with_a_torn_picture(d): cut_off(skies(d)/'clear'/'0.png'); return sky(d)
@kind(1)
def skies_without_a_partner(d): (skies(d)/'clear'/'0.png').unlink(); return sky(d)
@kind(ShapeError, '.png')
def skies_of_one_band(d): skies(d, PIC[:1]); return sky(d)

# arrays and sets
@kind(UnitsError, 'cloudy')
def opacity_of_floats(d): return lambda: opacity_from_pairs(PIC[None]/255, PIC[None]/255)
@kind(ShapeError, 'cloudy')
def opacity_of_one_band(d): return lambda: opacity_from_pairs(PIC[None,:1], PIC[None,:1])
@kind(PairError, 'cloudy and clear')
def opacity_of_two_sizes(d): return lambda: opacity_from_pairs(PIC[None], PIC[None,:,:4])
@kind(None)
def opacity_of_one_pixel(d): return lambda: opacity_from_pairs(PIC[None,:,:1,:1], PIC[None,:,:1,:1])
@kind(OptionError, 'bank')
def sky_without_a_bank(d): return lambda: CloudSpec(texture='real')
@kind(OptionError, 'bank')
def sky_with_an_empty_bank(d): return lambda: CloudSpec(texture='real', bank=np.zeros((0,8,8), np.uint8))
@kind(ShapeError, 'bank')
def sky_with_a_bank_of_small_textures(d): return lambda: pairs().with_clouds(CloudSpec(texture='real', bank=np.full((2,4,4), 200, np.uint8)))
@kind(OptionError, 'cover')
def sky_of_a_cover_above_one(d): return lambda: CloudSpec(cover=(.5,50))
@kind(OptionError, 'cover')
def sky_of_a_cover_of_three_numbers(d): return lambda: CloudSpec(cover=(.1,.2,.3))
@kind(OptionError, 'content')
def sky_of_a_content_in_words(d): return lambda: CloudSpec(content='half')
@kind(OptionError, 'content')
def sky_of_a_content_of_nan(d): return lambda: CloudSpec(content=float('nan'))
@kind(OptionError, 'alpha')
def bank_of_clear_skies(d): return lambda: cloud_bank(np.zeros((2,16,16), np.uint8))
@kind(ShapeError, 'alpha')
def clouds_of_another_size(d): return lambda: compose(PIC[None], np.zeros((1,4,4), np.uint8))
@kind(LabelError, 'labels[3]')
def set_with_a_label_out_of_range(d): return lambda: pairs(labels=[0,1,0,2])
@kind(PairError, 'ids')
def set_with_too_few_ids(d): return lambda: pairs(ids=['a'])
@kind(UnitsError, 'sar')
def set_in_linear_power(d): return lambda: pairs(sar=np.full((4,2,8,8), .1, np.float32))
@kind(BudgetError, 'classes')
def split_of_too_few(d): return lambda: pairs().split(min_train=20)
@kind(LabelError, 'labels')
def split_of_unlabelled(d): return lambda: pairs(labels=[-1]*4).split()
@kind(SplitError, 'groups')
def split_by_groups_without_any(d): return lambda: pairs().split('groups', min_train=1)
@kind(SplitError, 'groups')
def split_of_one_group(d): return lambda: pairs(groups=['a']*4).split('groups', min_train=1, tries=20)
@kind(SplitError)
def split_with_an_empty_test_side(d): return lambda: pairs().split(test=.01, min_train=1)
@kind(OptionError, 'test')
def split_of_more_than_all(d): return lambda: pairs().split(test=1.5, min_train=1)
@kind(StoreError, 'set')
def stored_set_without_a_note(d): (kept(d)/'meta.json').unlink(); return lambda: Scenes.load(d/'in'/'set')
@kind(StoreError, 'set')
def stored_set_with_a_torn_note(d): cut_off(kept(d)/'meta.json'); return lambda: Scenes.load(d/'in'/'set')
@kind(StoreError, 'opt.npy')
def stored_set_with_a_torn_array(d): cut_off(kept(d)/'opt.npy'); return lambda: Scenes.load(d/'in'/'set')
@kind(StoreError, 'set')
def stored_set_with_zeros_for_an_array(d):
    p = kept(d)/'opt.npy'; p.write_bytes(bytes(p.stat().st_size))
    return lambda: Scenes.load(d/'in'/'set')
@kind(StoreError, 'Scenes')
def stored_set_of_another_fingerprint(d):
    m = json.loads((p := kept(d)/'meta.json').read_text()); p.write_text(json.dumps({**m, 'fingerprint':'0'*32}))
    return lambda: Scenes.load(d/'in'/'set').verify()
@kind(StoreError, 'set')
def stored_set_with_a_label_out_of_range(d):
    m = json.loads((p := kept(d)/'meta.json').read_text()); m['fields']['labels'][0] = 7; p.write_text(json.dumps(m))
    return lambda: Scenes.load(d/'in'/'set')
@kind(OutputError, 'set')
def set_saved_below_a_file(d): return lambda f=junk(d/'in'/'file', 9): pairs().save(f/'set')

# --- what holds for all ------------------------------------------------------------------------------
def tree(d):
    "All files below a folder, with what they hold; links as they point"
    return {str(p.relative_to(d)): os.readlink(p) if p.is_symlink() else file_digest(p) for r,ds,fs in os.walk(d) for p in (Path(r, n) for n in [*fs, *ds]) if p.is_symlink() or p.is_file()}

def check_error(e, at):
    assert all(v.strip() for v in (e.where, e.found, e.expected, e.do)), e.args
    assert at in e.where, f'{at!r} is not in {e.where!r}'
    assert '\n' not in str(e) and 'Traceback' not in str(e)

def check_places(d, before, failed):
    left = [p for p in Path(d).rglob('*') if p.name.endswith('.part') or p.name.startswith('.')]
    assert not left, f'left behind: {left}'
    now = tree(d)
    if failed: assert now == before, f'a failed call changed {[k for k in now | before if now.get(k) != before.get(k)]}'
    changed = [k for k in now if now[k] != before.get(k)]
    assert all(k.split('/')[0] in ('out','store') for k in changed), changed
    if failed: return
    for p in (d/'out').rglob('meta.json'): Scenes.load(p.parent).verify()

@pytest.mark.parametrize('make, expected, at', CASES)
def test_bad_input(make, expected, at, tmp_path, monkeypatch):
    monkeypatch.setenv('IRM_NB_STORE', str(tmp_path/'store'))
    (tmp_path/'in').mkdir()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        call = make(tmp_path)
        said.clear(); before,error,out = tree(tmp_path),None,None
        try: out = call()
        except IrmError as e: error = e
    assert not [w for w in said if issubclass(w.category, RuntimeWarning)], [str(w.message) for w in said]
    if isinstance(expected, type): assert error is not None and type(error) is expected, repr(error or out); check_error(error, at)
    else:
        if error: raise error
        skips = [str(w.message) for w in said if w.category is SkippedFiles]
        assert [f'{expected} left out' in s for s in skips] == ([True] if expected else []), skips
        if hasattr(out, 'skipped') and not hasattr(out, 'transform'): assert len(out.skipped) == (expected or 0)
        if isinstance(getattr(out, 'skipped', None), dict) and expected: assert len(out.skipped) == expected and all(out.skipped.values())
    check_places(tmp_path, before, error is not None)

def test_there_are_enough_kinds(): assert len({c.id for c in CASES}) == len(CASES) >= 40

# --- random damage -----------------------------------------------------------------------------------
@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    d = tmp_path_factory.mktemp('whole')
    write_image(d/'a.png', PIC); write_image(d/'a.jpg', OPT[:,:16,:16].astype(np.uint8)); geo(d/'a.tif', OPT[:,:8,:8]); geo(d/'deflate.tif', OPT[:,:8,:8], compress='deflate', tiled=True)
    return {**{p.name:p.read_bytes() for p in d.iterdir()}, **{n:(kept_in(d)/n).read_bytes() for n in ('opt.npy','meta.json')}}, Scenes.load(d/'set').fingerprint

def kept_in(d):
    (d/'in').mkdir(exist_ok=True)
    if not (d/'set').exists(): shutil.move(kept(d), d/'set')
    return d/'set'

def damaged(b, how, at, byte, noise):
    if how == 'noise': return noise
    if how == 'cut': return b[:int(at*len(b))]
    i = int(at*len(b)); return b[:i] + bytes([byte]) + b[i+1:]

damage = dict(how=st.sampled_from(('noise','cut','flip','flip')), at=st.floats(0, .999), byte=st.integers(0, 255), noise=st.binary(max_size=64))
few = settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

@few
@given(name=st.sampled_from(('a.png','a.jpg','a.tif','deflate.tif')), head=st.booleans(), **damage)
def test_damaged_images(whole, tmp_path, name, head, how, at, byte, noise):
    "Damage in the first bytes, where a format's fields lie, or anywhere"
    b = whole[0][name]
    (p := tmp_path/name).write_bytes(damaged(b, how, at*(min(1, 200/len(b)) if head and how == 'flip' else 1), byte, noise))
    for read,result in ((read_image, np.ndarray), (read_raster, Raster), (describe, Described)):
        try: assert isinstance(read(p), result)
        except IrmError as e: check_error(e, name)
    assert [q.name for q in tmp_path.iterdir()] == [name]
    p.unlink()

@few
@given(name=st.sampled_from(('opt.npy','meta.json')), **damage)
def test_damaged_sets(whole, tmp_path, name, how, at, byte, noise):
    "A set that opens and passes its check is the one that was saved"
    (d := tmp_path/'set').mkdir(exist_ok=True)
    for n in ('opt.npy','meta.json'): (d/n).write_bytes(damaged(whole[0][n], how, at, byte, noise) if n == name else whole[0][n])
    try: assert Scenes.load(d).verify().fingerprint == whole[1]
    except IrmError as e: check_error(e, '')
