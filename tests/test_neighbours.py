"Answers that would be wrong without a word: one test for each kind, on neighbours of the cases that were met first."
import json, os
from dataclasses import replace
from unittest import mock

import numpy as np, pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

import small_net # noqa: F401, it enters a network
from irm_nb import world
from irm_nb.cells import Cell, uncovered
from irm_nb.cli import answers_for, main
from irm_nb.clouds import CloudSpec
from irm_nb.cog import hectares
from irm_nb.core import *
from irm_nb.domains import CLOUD_SCENARIOS, open_pairs
from irm_nb.experiments import answers, keep_result, read_records, run, to_run
from irm_nb.folders import paired_folder, scene_folder
from irm_nb.grids import Grid
from irm_nb.labelling import Labels
from irm_nb.labels import features
from irm_nb.mapping import compare, predict_map, score
from irm_nb.mapview import MapViewer
from irm_nb.models import new_model
from irm_nb.patches import Scene
from irm_nb.raster import raster_digest, write_raster
from irm_nb.regions import region
from irm_nb.report import read_results
from irm_nb.scenes import Modality
from irm_nb.sheets import split_list
from irm_nb.stac import outline, stac_scene, _box_of
from irm_nb.store import Store
from irm_nb.transfer import Predictor

CPU = Compute('cpu', 'float32')
PLACE = Affine(10, 0, 600000, 0, -10, 5700000)
ELSEWHERE = Affine(10, 0, 650000, 0, -10, 5700000)
CUT = dict(size=16, block=0, progress=False)

def raster(path, x, place=PLACE, names=(), **how):
    "A file whose size and date tell nothing"
    path.parent.mkdir(exist_ok=True)
    write_raster(path, x, 'EPSG:32631', place, names, compress='none', **how)
    os.utime(path, (10**9, 10**9))
    return path

@pytest.fixture(scope='module')
def ground():
    draw = np.random.default_rng(0)
    bands = draw.integers(500, 2000, (3,128,128)).astype(np.uint16)
    echoes = np.float32([-10, -17])[:,None,None] + draw.normal(0, 1, (2,128,128)).astype(np.float32)
    return bands,echoes

def scene(folder, ground, place=PLACE, factor=1):
    bands,echoes = ground
    return (raster(folder/'s1.tif', echoes, place, ('VV','VH')),
            raster(folder/'s2.tif', (bands*factor).astype(np.uint16), place, ('B04','B03','B02')))

@pytest.fixture(scope='module')
def optical():
    state = new_model('small', 3, 3, 'x').state_dict()
    state['fc.weight'] *= 20
    inputs = {'opt':world.target(4)['opt'].input}
    return Predictor('small', inputs, ('wood','lake','town'), dict(mean=[.4]*3, std=[.2]*3), state, size=(64,64))

@pytest.fixture
def mapped(optical, tmp_path):
    x = np.repeat(np.linspace(5, 250, 320)[None,None], 320, 1).repeat(3, 0).astype(np.uint8)
    x[1] = x[1,:,::-1]
    def make(name, place=PLACE, turned=False):
        f = raster(tmp_path/name/'s2.tif', x[:,:,::-1] if turned else x, place)
        return predict_map(optical, dict(s2=f), tmp_path/f'{name}.tif', store=Store(tmp_path/'store'), comp=CPU,
                           progress=False, decided=False)
    return make

def test_two_scenes_of_one_name_size_and_date(mapped):
    may,july = mapped('may'),mapped('july', turned=True)
    assert compare(may, july).share > 0.1

def test_two_regions_of_one_name_size_and_date(ground, tmp_path):
    north = region(*scene(tmp_path/'north', ground), **CUT)
    south = region(*scene(tmp_path/'south', ground, ELSEWHERE, .5), **CUT)
    assert south.transform[2] == 650000
    np.testing.assert_allclose(2*south.opt.mean(), north.opt.mean(), rtol=1e-2)

def test_maps_of_two_places(mapped):
    with pytest.raises(PairError): compare(mapped('here'), mapped('east', ELSEWHERE))

def test_a_scenario_under_a_name_of_the_library():
    cell = Cell(samples=40)
    seen = []
    for cover in (.4, .9):
        with mock.patch.dict(CLOUD_SCENARIOS, half=dict(cover=cover)): seen.append(cell.inputs)
    assert len({*seen, cell.inputs}) == 3

@pytest.fixture
def labelled_by_hand(tmp_path):
    choices = dict(epochs=1, batch=16, tau=0., source_arch='small', auxiliary_arch='small', target_arch='small')
    task = Cell(samples=120, per_class=1, choices=choices).task()
    truth = [np.flatnonzero(task._truth == j) for j in range(10)]
    file = tmp_path/'labels.csv'
    def write(turn):
        lines = [f'{task.train.ids[rows[turn]]},{task.train.classes[j]}' for j,rows in enumerate(truth)]
        file.write_text('\n'.join(['id,label', *lines]))
    return Cell(samples=120, choices=choices, labels=str(file), method='SL'),write

@pytest.mark.filterwarnings('ignore:.*made of other files')
def test_labels_that_change_between_two_runs_of_a_notebook(labelled_by_hand, tmp_path):
    cell,write = labelled_by_hand
    write(0)
    run([cell], tmp_path/'store', out=tmp_path/'out', comp=CPU)
    first = cell.task().labelled
    assert not to_run(tmp_path/'out', [cell])
    write(1)
    assert to_run(tmp_path/'out', [cell])
    assert not np.array_equal(cell.task().labelled, first)

@pytest.mark.filterwarnings('ignore:.*says|.*answers of another')
@pytest.mark.parametrize('field,value', [('method', 'Ours'), ('seed', 7), ('AA', .99), ('kappa', .99), ('OA', .99)])
def test_a_record_that_was_edited(labelled_by_hand, tmp_path, field, value):
    cell,write = labelled_by_hand
    write(0)
    run([cell], tmp_path/'store', out=tmp_path/'out', comp=CPU)
    f = tmp_path/'out'/'cells'/f'{cell.key}.json'
    f.write_text(json.dumps(json.loads(f.read_text()) | {field:value}))
    assert field in read_records(tmp_path/'out')[cell.key] and to_run(tmp_path/'out', [cell])

def test_codes_that_begin_at_one(mapped, ground, tmp_path):
    codes = np.repeat(np.arange(128)[None]//32, 128, 0).astype(np.uint8)
    names = 'wood','lake','town'
    cover = raster(tmp_path/'cover.tif', codes[None])
    files = scene(tmp_path/'scene', ground)
    with pytest.raises(LabelError, match='codes 3 beside 3 names'): region(*files, labels=cover, classes=names, **CUT)
    s = region(*files, labels=cover, classes=dict(enumerate(names, 1)), **CUT)
    assert {s.labels[k] for k,i in enumerate(s.ids) if i.endswith('c00032')} <= {0}
    m = mapped('one')
    reference = raster(tmp_path/'reference.tif', (m.read('class') + 1).astype(np.uint8)[None], nodata=0)
    with pytest.raises(LabelError): score(m, reference)
    assert score(m, reference, classes=dict(enumerate(m.classes, 1))).scores.oa == 1

def test_answers_of_a_calibrated_network():
    pairs = world.target(60)
    stats = dict(mean=[.3]*3 + [-12,-18,6], std=[.1]*3 + [3]*3)
    state = new_model('small', 10, 6, 'y').state_dict()
    state['fc.weight'] *= 6
    p = Predictor('small', pairs.inputs, pairs.classes, stats, state, size=(64,64)).calibrated(4.)
    rates = (p.logits(pairs, CPU)/4).softmax(1).amax(1)
    np.testing.assert_allclose(answers_for(p, pairs, CPU).confidence, rates, atol=6e-5)

def test_probabilities_with_a_scale(ground, tmp_path):
    import rasterio
    stored = np.where(np.arange(128) < 64, 500, 100)[None].repeat(128, 0).astype(np.uint16)
    mask = raster(tmp_path/'p.tif', stored[None])
    with rasterio.open(mask, 'r+') as d: d.scales = (.01,)
    files = scene(tmp_path/'scene', ground)
    assert region(*files, cloud_mask=mask, cloud_threshold=40, **CUT).cover.max() == 0
    assert region(*files, cloud_mask=mask, cloud_threshold=4, **CUT).cover.mean() == .5

def collection(path, *found, **more):
    parts = [dict(type='Feature', properties=p, geometry=g) for p,g in found]
    path.write_text(json.dumps(dict(type='FeatureCollection', features=parts, **more)))
    return path

def square(left, top, side):
    x,y = transform('EPSG:32631', 'EPSG:4326', [left, left + side], [top, top - side])
    return [[x[0],y[0]], [x[1],y[0]], [x[1],y[1]], [x[0],y[1]], [x[0],y[0]]]

def test_points_among_polygons(mapped, tmp_path):
    ring = square(601000, 5699000, 1500)
    town = {'class':'town'}
    both = [(town, dict(type='Polygon', coordinates=[ring])), (town, dict(type='Point', coordinates=ring[0]))]
    m = mapped('one')
    assert score(m, collection(tmp_path/'l.geojson', both[0])).scores.n > 100
    with pytest.raises(LabelError, match='1 points beside 1 polygons'): score(m, collection(tmp_path/'l.geojson', *both))

@pytest.mark.parametrize('at', [[601000, 5699000], ['4.45','51.4'], [], [4.], [4., None], 3])
def test_points_that_are_nowhere(mapped, tmp_path, at):
    labels = collection(tmp_path/'l.geojson', ({'class':'wood'}, dict(type='Point', coordinates=at)))
    with pytest.raises(IrmError): score(mapped('one'), labels)

def test_a_coordinate_system_that_is_none(mapped, tmp_path):
    crs = dict(type='name', properties=dict(name='nonsense'))
    labels = collection(tmp_path/'l.geojson', ({'class':'wood'}, dict(type='Point', coordinates=[4., 51.])), crs=crs)
    with pytest.raises(PairError): score(mapped('one'), labels)

@pytest.mark.parametrize('block', [0, -5, 2.5, 'x'])
def test_blocks_that_are_none(mapped, tmp_path, block):
    labels = collection(tmp_path/'l.geojson', ({'class':'wood'}, dict(type='Polygon', coordinates=[square(601000, 5699000, 900)])))
    with pytest.raises(OptionError): score(mapped('one'), labels, block=block)

def test_properties_that_are_a_list(tmp_path):
    polygon = dict(type='Polygon', coordinates=[square(601000, 5699000, 900)])
    with pytest.raises(UnreadableFile): features(collection(tmp_path/'l.geojson', ([1], polygon)))

@pytest.mark.parametrize('twins', [('for\u00eat', 'fore\u0302t'), ('a b', 'a  b'), ('a b', 'a\rb')])
def test_one_name_in_two_spellings(twins, tmp_path):
    polygons = [({'class':k}, dict(type='Polygon', coordinates=[square(601000 + 1000*i, 5699000, 900)]))
                for i,k in enumerate(twins)]
    assert len({name for _,name,_ in features(collection(tmp_path/'l.geojson', *polygons))}) == 1
    labels = Labels(Grid(CRS.from_epsg(32631), PLACE, 640, 640), 64)
    for i,k in enumerate(twins): labels.give((0,i), k)
    assert len(labels.classes) == 1

def test_an_optical_modality_whose_ground_is_not_known():
    how = dict(content=.5, cover=.6, thin=0)
    cloudy = world.target(40).with_clouds(CloudSpec(seed=1, **how))
    m = cloudy['opt']
    two = cloudy.with_modality('ms', Modality(m.values, m.bands, m.units, m.sensor))
    with pytest.raises(PairError): two.with_clouds(CloudSpec(seed=2, **how))
    with pytest.raises(OptionError, match='ms'): uncovered(two, np.arange(20))
    more = two.with_clouds(CloudSpec(seed=2, **how), over='add')
    np.testing.assert_array_equal(more.opt, more.ms)

def test_other_values_have_another_ground():
    cloudy = world.target(40).with_clouds(CloudSpec())
    darker = replace(cloudy, opt=cloudy.opt//2)
    assert darker.clear is None
    with pytest.raises(PairError): darker.with_clouds(CloudSpec(content=0))
    ground = cloudy.clear//2
    np.testing.assert_array_equal(replace(cloudy, clear=ground, opt=cloudy.opt//2).with_clouds(CloudSpec(content=0)).opt, ground)

def test_names_on_a_list_that_mean_two_things(tmp_path):
    labels = np.arange(60) % 2
    some = replace(world.target(60), classes=('a','b'), labels=labels, ids=[str(i) for i in range(60)])
    scenes = replace(some, groups=[str(i//6) for i in range(60)])
    with pytest.raises(SplitError, match='a scene of others'): split_list(scenes, ['3','4'])
    alone = replace(some, groups=[str(i) for i in range(60)])
    assert set(split_list(alone, ['3','4'])[1].ids) == {'3','4'}
    twins = replace(some, ids=['x/3.tif', 'x/3.png', *map(str, range(58))])
    with pytest.raises(SplitError): split_list(twins, ['x/3.tif', '4'])
    (tmp_path/'list.txt').write_text('\ufeff3\n4', encoding='utf-8')
    assert set(split_list(some, tmp_path/'list.txt')[1].ids) == {'3','4'}

def test_two_sittings_on_one_file(tmp_path):
    grid = Grid(CRS.from_epsg(32631), PLACE, 640, 640)
    a,b = (Labels(grid, 64, ('wood','lake'), tmp_path/'l.geojson') for _ in range(2))
    for i in range(5): a.give((0,i), 'wood')
    with pytest.raises(OutputError, match='somebody else'): b.give((9,9), 'lake')
    assert not b.given
    b.read()
    b.give((9,9), 'lake')
    assert len(json.loads((tmp_path/'l.geojson').read_text())['features']) == 6

@pytest.mark.parametrize('text', ['a thesis', 'id,label\n'])
def test_answers_over_something_else(optical, tmp_path, text):
    optical.save(tmp_path/'net')
    replace(world.target(4).select('opt'), labels=np.full(4, -1)).save(tmp_path/'set')
    def ask(out): return main(['predict', str(tmp_path/'net'), str(tmp_path/'set'), '--out', str(out), '--device', 'cpu'])
    (tmp_path/'thesis.tex').write_text(text)
    for f in (tmp_path/'thesis.tex', tmp_path/'net'/'weights.safetensors'):
        before = f.read_bytes()
        assert ask(f) == 2 and f.read_bytes() == before
    (tmp_path/'answers.csv').touch()
    for _ in range(2): assert not ask(tmp_path/'answers.csv')
    assert len((tmp_path/'answers.csv').read_text().splitlines()) == 5

# Roles, places and codes of files

def test_one_file_in_two_roles(tmp_path, ground):
    "A raster of labels is no cloud mask, though it be the same file"
    s1,s2 = scene(tmp_path/'scene', ground)
    halves = np.where(np.arange(128) < 64, 1, 0)[None,None].repeat(128, 1).astype(np.uint8)
    mask = raster(tmp_path/'mask.tif', halves)
    assert region(s1, s2, labels=mask, **CUT).classes == ('0','1')
    assert region(s1, s2, cloud_mask=mask, **CUT).cover.mean() == pytest.approx(.5)

def test_which_band_lies_in_which_file(tmp_path, optical):
    "Two scenes of the same files, put together otherwise, are two maps"
    draw = np.random.default_rng(0)
    f,g = (raster(tmp_path/n, draw.integers(lo, lo + 60, (2,128,128)).astype(np.uint8)) for n,lo in (('f.tif', 0), ('g.tif', 150)))
    store = Store(tmp_path/'store')
    def mapped(green, name, store):
        made = predict_map(optical, dict(s2={'B04':(f,1), 'B03':green, 'B02':(g,1)}), tmp_path/name, store=store, comp=CPU, progress=False,
                           decided=False, probabilities=True)
        return made.read('p wood')
    first = mapped((f,2), '1.tif', store)
    again = mapped((g,2), '2.tif', store)
    assert not np.array_equal(first, again)
    assert np.array_equal(again, mapped((g,2), '3.tif', Store(tmp_path/'fresh')))

@pytest.mark.parametrize('values, how', [((0,1), {}), ((0,80), dict(cloud_threshold=40))])
def test_clear_declared_as_no_data(tmp_path, ground, values, how):
    "0 of a mask or a probability is clear sky, whatever the file declares"
    s1,s2 = scene(tmp_path/'scene', ground)
    x = np.where(np.arange(128) < 64, values[1], values[0])[None,None].repeat(128, 1).astype(np.uint8)
    for nodata in (None, 0):
        pairs = region(s1, s2, cloud_mask=raster(tmp_path/f'c{nodata}.tif', x, nodata=nodata), out=tmp_path/f'r{nodata}', **how, **CUT)
        assert len(pairs) == 64 and pairs.cover.mean() == pytest.approx(.5)

def test_names_beside_a_declared_0(tmp_path, ground):
    s1,s2 = scene(tmp_path/'scene', ground)
    codes = np.where(np.arange(128) < 64, 1, 2)[None,None].repeat(128, 1).astype(np.uint8)
    with pytest.raises(LabelError, match='0 declared as no data'):
        region(s1, s2, labels=raster(tmp_path/'codes.tif', codes, nodata=0), classes=('wood','lake','town'), **CUT)

def test_colours_that_a_file_declares(tmp_path):
    "Blue, green, red by colour interpretation, without names"
    import rasterio
    from rasterio.enums import ColorInterp as C
    for c in 'ab':
        f = tmp_path/c/'0.tif'
        f.parent.mkdir()
        x = np.stack([np.full((32,32), v, np.uint16) for v in (200,400,600)]) + np.arange(32, dtype=np.uint16)
        with rasterio.open(f, 'w', driver='GTiff', width=32, height=32, count=3, dtype='uint16', crs='EPSG:32631', transform=PLACE) as d:
            d.write(x)
            d.colorinterp = C.blue,C.green,C.red
    s = scene_folder(tmp_path, size=None, opt_units='reflectance', progress=False)
    assert s.opt.mean((0,2,3)).round().tolist() == [616, 416, 216]

def test_polarisations_that_a_file_name_says(tmp_path):
    for c in 'ab':
        for m,x in (('opt', np.full((3,32,32), 90)), ('sar', np.stack([np.full((32,32), 75), np.full((32,32), 175)]))):
            x = x + np.arange(32)
            (tmp_path/m/c).mkdir(parents=True)
            write_raster(tmp_path/m/c/'0_VH_VV.tif', x.astype(np.uint8), 'EPSG:32631', PLACE)
    s = paired_folder(tmp_path, progress=False)
    by = dict(zip(s['sar'].bands, s.sar.mean((0,2,3)).round()))
    assert by['VV'] > by['VH']

def test_jpeg_2000_in_class_folders(tmp_path):
    import rasterio
    for c in 'ab':
        (tmp_path/c).mkdir()
        x = np.random.default_rng(0).integers(0, 255, (3,32,32)).astype(np.uint8)
        with rasterio.open(tmp_path/c/'1.jp2', 'w', driver='JP2OpenJPEG', width=32, height=32, count=3, dtype='uint8', quality='100',
                           reversible='YES') as d: d.write(x)
    assert len(scene_folder(tmp_path, size=None, progress=False)) == 2

def test_the_folder_that_was_named(tmp_path):
    "A folder of new pairs, though a class of its name lies beside it"
    def fill(folder, v):
        for m,x in (('opt', np.full((3,32,32), v, np.uint8)), ('sar', np.full((1,32,32), v, np.uint8))):
            (folder(m)).mkdir(parents=True)
            write_raster(folder(m)/'0.tif', x + np.arange(32, dtype=np.uint8), names=('VH',) if m == 'sar' else ())
    fill(lambda m: tmp_path/'data'/m/'new', 200)
    fill(lambda m: tmp_path/'data'/'new'/m, 100)
    s = open_pairs(str(tmp_path/'data'/'new'))
    assert s.opt.mean() < 150 and s.ids == ('0',) and (s.labels == -1).all()

# Maps

def picture(folder, ground, place=PLACE): return raster(folder/'s2.tif', (ground[0]//8).astype(np.uint8), place)

def test_a_part_of_a_map_is_another_map(tmp_path, ground, optical):
    "What was cut from a map bears its note, and is not the map"
    import rasterio
    from rasterio.windows import Window
    s2 = picture(tmp_path, ground)
    made = predict_map(optical, dict(s2=s2), tmp_path/'m.tif', store=Store(tmp_path/'store'), comp=CPU, progress=False, decided=False)
    with rasterio.open(made.path) as d:
        x = d.read(window=Window(0, 0, 64, 64))
        profile = dict(driver='GTiff', height=64, width=64, count=d.count, dtype=d.dtypes[0], crs=d.crs, transform=d.transform, nodata=d.nodata)
        tags,names = d.tags(),d.descriptions
    with rasterio.open(tmp_path/'crop.tif', 'w', **profile) as d:
        d.write(x)
        d.update_tags(**tags)
        d.descriptions = names
    with pytest.raises(OutputError):
        predict_map(optical, dict(s2=s2), tmp_path/'crop.tif', store=Store(tmp_path/'store'), comp=CPU, progress=False, decided=False)

def test_hectares_across_the_antimeridian():
    "A pixel is a hundredth of a hectare on either side of 180°"
    across = Grid(CRS.from_epsg(32760), Affine(10, 0, 815780, 0, -10, 8116500), 100, 400)
    lon,_ = transform(across.crs, 'EPSG:4326', [815780, 815780 + 4000], [8116500]*2)
    assert lon[0]*lon[1] < 0
    assert hectares(across) == pytest.approx(np.full(100, .01), rel=.01)
    ground = outline(across)
    assert ground['type'] == 'MultiPolygon'
    west,_,east,_ = _box_of(ground)
    assert west > 179 and east < -179

def test_a_map_lies_over_its_own_scene(tmp_path, ground, optical):
    s2,far = (picture(tmp_path/k, ground, place) for k,place in (('here', PLACE), ('far', ELSEWHERE)))
    made = predict_map(optical, dict(s2=s2), tmp_path/'m.tif', store=Store(tmp_path/'store'), comp=CPU, progress=False, decided=False)
    MapViewer(made, dict(s2=s2))
    with pytest.raises(PairError, match='as the scene lies'): MapViewer(made, dict(s2=far))

# STAC

def item(assets, id='a', **properties):
    assets = {k: v if isinstance(v, dict) else dict(href=str(v)) for k,v in assets.items()}
    return dict(type='Feature', stac_version='1.0.0', id=id, geometry=None, links=[], assets=assets,
                properties=dict(datetime='2024-01-01T00:00:00Z', **properties))

def colours(folder='.'): return {b: f'{folder}/{b}.tif' for b in ('red','green','blue')}

def test_two_dates_are_two_maps():
    with pytest.raises(OptionError, match='s2 in july'): stac_scene([item(colours('may'), 'may'), item(colours('july'), 'july')])

def test_bands_before_pictures(tmp_path):
    found = stac_scene([item(colours() | dict(visual='TCI.tif'))])[0].s2
    assert set(found) == {'B02','B03','B04'}

def test_the_finest_of_a_band(tmp_path, ground):
    fine = raster(tmp_path/'fine.tif', ground[0][:1])
    coarse = raster(tmp_path/'coarse.tif', ground[0][:1,:32,:32], PLACE*Affine.scale(4))
    for first,then in (('B04_60m','B04_10m'), ('B04_10m','B04_60m')):
        files = {n: fine if n == 'B04_10m' else coarse for n in (first, then)}
        assert stac_scene([item(files)])[0].s2['B04'] == fine

@pytest.mark.parametrize('properties, offset', [({}, -1000), ({'earthsearch:boa_offset_applied':True}, None)])
def test_offsets_that_an_item_declares(properties, offset):
    said = {'raster:bands': [dict(scale=.0001, offset=-.1, nodata=0)]}
    assert stac_scene([item({k: dict(href=v) | said for k,v in colours().items()}, **properties)])[0].offset == offset

def test_two_names_of_one_file(tmp_path, ground):
    "Archives list a band once as GeoTIFF and once as JPEG 2000"
    both = {k: raster(tmp_path/f'{k}.tif', ground[0][:1]) for k in ('red','red-jp2')}
    assert stac_scene([item(both)])[0].s2['B04'] == both['red']

def test_an_item_a_polarisation():
    "Of one moment, bands of several items are one scene"
    parts = [item({k: f'{k}.tif'}, k) for k in ('vv','vh')]
    assert set(stac_scene(parts)[0].s1) == {'VV','VH'}

def test_offsets_of_an_asset():
    said = {'raster:scale':.0001, 'raster:offset':-.1}
    assert stac_scene([item({k: dict(href=v) | said for k,v in colours().items()})])[0].offset == -1000

def test_links_are_decoded(tmp_path):
    (tmp_path/'my data').mkdir()
    f = raster(tmp_path/'my data'/'red.tif', np.zeros((1,8,8), np.uint16))
    assert stac_scene([item(dict(red=f'file://{tmp_path}/my%20data/red.tif'))])[0].s2['B04'] == f

@pytest.mark.parametrize('said', [dict(type='FeatureCollection', stac_version='1.0.0', features=[]), item({'x': {'href':'x.tif', 'eo:bands':{'a':1}}})])
def test_what_is_no_item(said):
    with pytest.raises(IrmError): stac_scene([said])

# Records

SMALL = dict(epochs=1, batch=16, tau=0., source_arch='small', auxiliary_arch='small', target_arch='small')

@pytest.mark.parametrize('field, value', [('OA_cloudy', .99), ('AA_clear', .99), ('OA_varied', .99), ('n_cloudy', 1), ('recall', {'Water':1.})])
def test_other_fields_of_an_edited_record(tmp_path, field, value):
    c = Cell(samples=120, choices=SMALL, method='SL')
    run([c], tmp_path/'store', out=tmp_path/'out', comp=CPU)
    f = tmp_path/'out'/'cells'/f'{c.key}.json'
    f.write_text(json.dumps(json.loads(f.read_text()) | {field:value}))
    with pytest.warns(UserWarning, match='answers of another test'): assert to_run(tmp_path/'out', [c]) == [c]

def test_records_where_some_parts_are_empty(tmp_path):
    "Pairs that are all clear beside some that are not: nothing is lost in a table of both"
    cells = [Cell(samples=120, choices=SMALL, method='SL', cloud_scenario=k) for k in ('clear','half')]
    run(cells, tmp_path/'store', out=tmp_path/'out', comp=CPU)
    assert read_results(tmp_path/'out').error.isna().all()

def test_a_cell_that_fails_has_no_answers(tmp_path):
    c = Cell(samples=120, choices=SMALL, method='SL')
    run([c], tmp_path/'store', out=tmp_path/'out', comp=CPU)
    keep_result(tmp_path/'out', dict(key=c.key, error='it failed'), None)
    with pytest.raises(UnreadableFile): answers(tmp_path/'out', c)

def test_labels_by_hand_are_one_budget():
    assert Cell(labels='mine.csv', per_class=5).key == Cell(labels='mine.csv', per_class=50).key

# Sittings

def test_undo_takes_back_what_was_said_here(tmp_path):
    "After reading what somebody else has said, nothing of theirs is undone"
    grid = Grid(CRS.from_epsg(32631), PLACE, 640, 640)
    f = tmp_path/'labels.geojson'
    mine = Labels(grid, 64, ('wood',), f)
    mine.give((0,0), 'wood')
    Labels(grid, 64, (), f).give((0,0), 'lake')
    mine.read()
    mine.undo()
    assert Labels(grid, 64, (), f).given[0,0].name == 'lake'

def test_given_classes_have_one_spelling(tmp_path):
    grid = Grid(CRS.from_epsg(32631), PLACE, 640, 640)
    labels = Labels(grid, 64, ('for\u00eat', 'a  b'), tmp_path/'l.geojson')
    labels.give((0,0), 'fore\u0302t')
    labels.give((0,1), 'a b')
    assert len(labels.classes) == 2

# The store

def test_a_listing_beside_links_that_lead_nowhere(tmp_path):
    s = Store(tmp_path/'s')
    (s.path/f'F1-{"a"*32}.safetensors').symlink_to('/unmounted/x.safetensors')
    big = tmp_path/'elsewhere'
    big.mkdir()
    (big/'ck.pt').write_bytes(b'x')
    (s.path/'work'/('b'*32)).symlink_to(big)
    s.remove(s.entries())
    assert not s.entries() and (big/'ck.pt').exists()

# Options without effect

@pytest.mark.parametrize('said', [dict(pols=('VV',)), dict(sar_units='dB'), dict(more='x.tif'), dict(name=7), dict(cloud_threshold='40')])
def test_words_about_nothing(tmp_path, ground, said):
    _,s2 = scene(tmp_path/'scene', ground)
    with pytest.raises(OptionError): Scene(s2=s2, **said)

def test_files_read_again_within_a_tick(tmp_path):
    "A GeoPackage's log and a file rewritten at once both count"
    f = tmp_path/'labels.gpkg'
    f.write_bytes(b'same')
    before = raster_digest(f)
    (tmp_path/'labels.gpkg-wal').write_bytes(b'edit')
    assert raster_digest(f) != before
