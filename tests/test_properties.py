"""What must hold for any input, tried on inputs that hypothesis looks for."""
import json, math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import FrozenInstanceError, fields, replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from irm_nb import clouds, raster, world
from irm_nb.batches import Batches, channel_stats, channels
from irm_nb.clouds import CloudSpec
from irm_nb.core import IrmError, compute
from irm_nb.scenes import PairedScenes, Scenes, SceneSet, arrays_of, join
from irm_nb.tasks import Task, make_task

settings.register_profile('few', max_examples=25, deadline=None, derandomize=True, database=None,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile('few')

shares = st.floats(0, 1, allow_subnormal=False)
covers = st.floats(0.01, 1)|st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1))
seeds = st.integers(0, 2**40)
skies = st.builds(CloudSpec, content=shares, cover=covers, thin=shares, seed=seeds, softness=st.floats(0.05, 3))
names = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=24, unique=True)

# Decibels

@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(-49.9, 40)))
def test_db_round_trip(x):
    np.testing.assert_allclose(raster.db(raster.linear(x)), x, atol=1e-9)

@given(arrays(np.float64, st.integers(2, 50), elements=st.floats(1e-5, 1e4)))
def test_linear_round_trip(p):
    d = raster.db(p)
    np.testing.assert_allclose(raster.linear(d), p, rtol=1e-12)
    assert (np.diff(d[np.argsort(p)]) >= 0).all() # and in order

@given(st.floats(-1e3, 1e-5, exclude_max=True))
def test_db_has_a_floor(p): assert raster.db(p) == pytest.approx(-50, abs=1e-12)

# Composition

def image(dtype): return arrays(dtype, (2,3,5,4), elements=st.integers(0, np.iinfo(dtype).max))
images = st.sampled_from([np.uint8, np.uint16]).flatmap(image)
opacities = arrays(np.uint8, (2,5,4), elements=st.integers(0, 255))

@given(images, opacities, st.floats(0.01, 1))
def test_a_cloudy_pixel_lies_between_ground_and_cloud(x, a, w):
    white = max(1, round(w*np.iinfo(x.dtype).max))
    y = clouds.compose(x, a, white).astype(float)
    cloud = white*(0.85 + 0.15*a/255)[:,None]
    assert (y >= np.minimum(x, cloud) - 1).all() and (y <= np.maximum(x, cloud) + 1).all()

@given(images, opacities, shares)
def test_no_cloud_is_the_ground_and_full_cloud_is_white(x, a, shadow):
    y = clouds.compose(x, a)
    np.testing.assert_array_equal(y.transpose(0,2,3,1)[a == 0], x.transpose(0,2,3,1)[a == 0])
    assert (y.transpose(0,2,3,1)[a == 255] == clouds.WHITE[x.dtype]).all()
    np.testing.assert_array_equal(clouds.compose(x, 0*a, shadow=shadow), x)

@given(images, opacities, opacities)
def test_more_opacity_is_nearer_to_white(x, a, b):
    x = np.minimum(x, np.uint16(0.8*clouds.WHITE[x.dtype])).astype(x.dtype)
    assert (clouds.compose(x, np.maximum(a, b)) >= clouds.compose(x, a)).all()

@given(images, opacities)
def test_a_band_in_the_short_wave_infrared_keeps_more_of_the_ground(x, a):
    y = clouds.compose(x, a, bands=('R','NIR','B11'))
    np.testing.assert_array_equal(y[:,:2], clouds.compose(x, a)[:,:2])
    kept = clouds.compose(0*x, a, bands=('B11','R','SWIR2'))
    assert (kept[:,0] <= kept[:,1]).all() and (kept[:,2] <= kept[:,0]).all()

@given(images)
def test_a_pair_without_change_has_no_cloud(x):
    assert not clouds.opacity_from_pairs(x, x, workers=1).any()

# Clouds by id

@given(skies, names, st.integers(5, 20), st.randoms(use_true_random=False))
def test_opacity_is_a_function_of_the_id(spec, ids, size, random):
    table = clouds.assign(spec, ids)
    a = clouds.cloud_opacity(spec, ids, size)
    some = random.sample(range(len(ids)), random.randint(1, len(ids)))
    part = clouds.cloud_opacity(spec, [ids[i] for i in some], size, table[some], workers=1)
    np.testing.assert_array_equal(part, a[some])
    order = random.sample(range(len(ids)), len(ids))
    np.testing.assert_array_equal(clouds.cloud_opacity(spec, [ids[i] for i in order], size), a[order])

@given(skies, names, st.integers(5, 20))
def test_content_kind_and_cover_are_exact(spec, ids, size):
    table = clouds.assign(spec, ids)
    a = clouds.cloud_opacity(spec, ids, size)
    assert abs(table.cloudy.sum() - spec.content*len(ids)) <= 0.5 + 1e-9
    assert abs((table.kind == clouds.THIN).sum() - spec.thin*table.cloudy.sum()) <= 0.5 + 1e-9
    np.testing.assert_array_equal(a.any((1,2)), table.cloudy)
    assert (np.abs(clouds.cover(a) - table.cover) <= 1/size**2).all()

@given(skies, names, shares)
def test_more_content_moves_no_cloud(spec, ids, content):
    a,b = (clouds.cloud_opacity(replace(spec, content=c), ids, 8) for c in sorted((spec.content, content)))
    cloudy = a.any((1,2))
    np.testing.assert_array_equal(b[cloudy], a[cloudy])

# Splits and labels

@st.composite
def sets(draw):
    n_classes = draw(st.integers(1, 4))
    n = draw(st.integers(8, 60))
    some_rare = st.just(0)|st.integers(0, n_classes-1)
    labels = np.array(draw(st.lists(some_rare, min_size=n, max_size=n)))
    groups = [f'g{i}' for i in draw(st.lists(st.integers(0, n//3), min_size=n, max_size=n))]
    return blank(labels, draw(st.permutations([f's{i}' for i in range(n)])), groups, tuple('abcd')[:n_classes])

def blank(labels, ids, groups, classes=tuple('abcd')):
    n = len(labels)
    opt = np.zeros((n,3,2,2), np.uint8)
    sar = np.full((n,1,2,2), -9, np.float32)
    return PairedScenes(opt, sar, labels, classes, ids, groups=groups, pols=('VH',))

def side(s): return sorted(zip(s.ids, s.labels, s.groups))

@settings(max_examples=60)
@given(sets(), st.sampled_from(['random','groups','list']), st.floats(0.1, 0.5), seeds,
       st.randoms(use_true_random=False))
def test_sides_are_disjoint_and_complete(s, kind, test, seed, random):
    listed = random.sample(s.ids, max(1, int(test*len(s)))) if kind == 'list' else None
    try: a,b = s.split(kind, test=test, seed=seed, min_train=1, min_test=1, tries=200, test_ids=listed)
    except IrmError: return # refused by name; that splits are found is seen below
    assert not set(a.ids) & set(b.ids)
    assert side(s) == sorted(side(a) + side(b))
    assert a.counts.min() >= 1 and b.counts.min() >= 1
    if kind == 'groups': assert not set(a.groups) & set(b.groups)
    if kind == 'list': assert set(b.ids) == set(listed)
    c,d = s.split(kind, test=test, seed=seed, min_train=1, min_test=1, tries=200, test_ids=listed)
    assert (c.ids,d.ids) == (a.ids,b.ids)

@pytest.mark.parametrize('kind', ['random','groups'])
def test_splits_are_found(kind):
    n = 80
    s = blank(np.arange(n)%4, range(n), [f'g{i//5}' for i in range(n)])
    sides = {tuple(s.split(kind, seed=i, min_train=1)[1].ids) for i in range(10)}
    assert len(sides) == 10

@given(sets(), st.integers(1, 8), seeds, st.randoms(use_true_random=False))
def test_labels_are_chosen_by_id(s, n, seed, random):
    L = s.label_budget(n, seed, short='cap')
    assert np.bincount(s.labels[L], minlength=len(s.classes)).tolist() == np.minimum(s.counts, n).tolist()
    order = random.sample(range(len(s)), len(s))
    other = s.subset(order)
    chosen = {s.ids[i] for i in L}
    assert {other.ids[i] for i in other.label_budget(n, seed, short='cap')} == chosen
    assert {s.ids[i] for i in s.label_budget(n+1, seed, short='cap')} >= chosen

# A set's content and its hash

def cloudy_set(n=12, seed=0):
    r = np.random.default_rng(seed)
    clear = r.integers(0, 255, (n,3,8,8)).astype(np.uint8)
    sar = r.normal(-12, 3, (n,2,8,8)).astype(np.float32)
    place = dict(groups=[f'g{i//3}' for i in range(n)], crs='EPSG:32650', transform=(10.,0.,5e5,0.,-10.,4e6))
    ids = [f's{i}' for i in range(n)]
    s = PairedScenes(clear, sar, np.arange(n) % 3, ('a','b','c'), ids, skipped={'s99':'torn file'}, **place)
    return s.with_clouds(CloudSpec())

CLOUDY = cloudy_set()
NUMBERS = 'opt','sar','labels','alpha','clear','kind','cover'
OTHERS = dict(classes=('a','b','d'), crs=None, transform=(10.,0.,5e5,0.,-10.,1.))
WITHIN = dict(bands=('opt', dict(bands=('B','G','R'))), pols=('sar', dict(bands=('VH','VV'))),
              units=('sar', dict(units='stretch8', values=np.uint8(np.clip(CLOUDY.sar + 60, 0, 255)))),
              present=('sar', dict(present=np.arange(12) != 3)))
CONTENT = *NUMBERS,*OTHERS,*WITHIN,'ids','groups'

def other_number(name, v):
    if name == 'cover': return (v + 0.25) % 1
    if name in ('labels','kind'): return (v + 1) % 3
    return v - 1 if v else 1

def changed(s, name, i):
    "The set with one thing of `name` changed"
    if name in OTHERS: return replace(s, **{name:OTHERS[name]})
    if name in WITHIN:
        modality,parts = WITHIN[name]
        return s.with_modality(modality, replace(s[modality], **parts))
    if name not in NUMBERS: return replace(s, **{name:[*getattr(s, name)[:-1], f'new{i}']})
    a = getattr(s, name).copy()
    flat = a.reshape(-1)
    k = i % len(flat)
    flat[k] = other_number(name, flat[k])
    return replace(s, **{name:a})

@settings(max_examples=60)
@given(st.sampled_from(CONTENT), st.integers(0, 10**4))
def test_whatever_changes_the_content_changes_the_hash(name, i):
    before = CLOUDY.fingerprint
    other = changed(CLOUDY, name, i)
    assert other.fingerprint != before and CLOUDY.fingerprint == before
    other.verify() # hashed anew, without what is remembered

@given(st.lists(st.integers(0, 11), unique=True))
def test_what_is_derived_hashes_itself(rows):
    part = CLOUDY.subset(rows).verify()
    assert part.skipped == CLOUDY.skipped
    for k in NUMBERS:
        with pytest.raises(ValueError): getattr(part, k)[...] = 0

@given(st.integers(1, 3))
def test_parts_that_are_joined_are_the_set(k):
    parts = [CLOUDY.subset(rows) for rows in (range(3*k), range(3*k, 12))] # a scene of origin has three samples
    assert join([p for p in parts if len(p)]).fingerprint == CLOUDY.fingerprint

def test_what_the_caller_does_later_stays_outside():
    opt = np.zeros((3,3,4,4), np.uint8)
    sar = np.full((3,1,4,4), -9, np.float32)
    labels = [0,1,0]
    ids = ['a','b','c']
    s = PairedScenes(opt, sar[:], labels, ('x','y'), ids, pols=['vh'])
    before = s.fingerprint
    opt[:] = 9
    sar[:] = np.nan
    labels[0] = 1
    ids[0] = 'z'
    assert s.verify().fingerprint == before

def test_a_set_sent_to_another_process_is_as_fixed_as_before():
    with ProcessPoolExecutor(1, get_context('spawn')) as pool: back = pool.submit(CLOUDY.subset, [3,1]).result()
    assert back.fingerprint == CLOUDY.subset([3,1]).fingerprint
    assert not back.opt.flags.writeable
    with pytest.raises(FrozenInstanceError): back.labels = [0,1]

# Bad arrays and arguments

WORDS = [None, '', '../x', b'x', 'a'*300, '\udcff', ['\udcff', *'abcdefghijk'], [None]*12, ['']*12, {'a','b'}]
VALUES = [0, -1, 1.5, math.nan, math.inf, True, 1j, 10**30, [math.nan]*12, [True]*12, np.full(12, -2), np.zeros(())]
SHAPES = [[], (), {}, [[1]]*12, [[1],[1,2]], {1:2}, iter([1,2]), slice(3), object(), np.array([None]*12)]
ARRAYS = [np.zeros(12), np.zeros(12, bool), np.array(['x']*12), np.ma.zeros(12, int), np.zeros((12,3,8,8)),
          np.zeros((12,2,8,8), np.float32), np.zeros((0,3,8,8), np.uint8), np.zeros((12,3,0,0), np.uint8)]
JUNK = [*WORDS, *VALUES, *SHAPES, *ARRAYS]
junk = st.sampled_from(range(len(JUNK))).map(JUNK.__getitem__)

SOURCE = SceneSet(CLOUDY.opt, CLOUDY.labels, CLOUDY.classes, CLOUDY.ids)
CPU = compute('cpu', 'float32')
TASK = dict(source=SOURCE, train=CLOUDY.subset(range(6)), test=CLOUDY.subset(range(6, 12)), labelled=[0], seed=0)
BATCHES = dict(s=CLOUDY, stats=channel_stats(CLOUDY), comp=CPU, limit=8<<30)
SPLIT = dict(kind='random', test=0.2, seed=0, min_train=1, min_test=1, test_ids=None, tries=20)
BUDGET = dict(n=2, seed=0, short='error', file=None)
SKY = {f.name:f.default for f in fields(CloudSpec)}
COMPOSE = dict(images=CLOUDY.opt, alpha=CLOUDY.alpha, white=None, shadow=0.5, offset=(9,-6), bands=None)
PLAIN = 'opt','sar','labels','classes','ids','alpha','clear','kind','cover','groups','crs','transform'

def an_opacity(**sky): return clouds.cloud_opacity(CloudSpec(**sky), CLOUDY.ids, 8, workers=1)
def a_batch(**args): return Batches(**args)([0,1])
def derived(**field): return replace(CLOUDY, **field).subset([]).fingerprint

def attempts(v):
    "Name and call of everything that takes an argument, with `v` in the place of each"
    fine = dict(skipped=None, **{k:getattr(CLOUDY, k) for k in PLAIN})
    calls = [(derived, fine), (CLOUDY.split, SPLIT), (CLOUDY.label_budget, BUDGET), (Task, TASK), (a_batch, BATCHES),
             (an_opacity, SKY), (clouds.compose, COMPOSE)]
    for f,args in calls:
        for k in args:
            if k != 'comp': yield f'{f.__name__} {k}',partial(f, **args | {k:v})
    for f in (CLOUDY.subset, CLOUDY.with_clouds, CLOUDY.with_labels, join, clouds.cover, Batches(**BATCHES)):
        yield repr(f),partial(f, v)
    for k in ('bands','height'): yield f'world {k}',partial(world.target, 2, **{k:v})
    yield 'over',partial(CLOUDY.with_clouds, CloudSpec(), over=v)
    yield 'names',partial(join, [CLOUDY, CLOUDY], names=v)
    yield 'classes',partial(join, [CLOUDY], classes=v)
    yield 'rows',partial(channels, CLOUDY, v)
    yield 'ids',partial(clouds.assign, CloudSpec(), v)
    yield 'pairs',partial(make_task, SOURCE, v, per_class=1)
    yield 'notes',lambda: CLOUDY.noted(skipped=v).noted(report=v)

@settings(max_examples=40)
@given(junk)
def test_bad_arguments_have_errors_with_names(v):
    for what,call in attempts(v):
        try: call()
        except IrmError: pass
        except Exception as e: pytest.fail(f'{what}, {v!r:.60}: {type(e).__name__}: {e}')

@given(st.sampled_from(['sar','cover']), st.integers(0, 10**4), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_no_value_that_is_no_number_passes(name, i, value):
    a = getattr(CLOUDY, name).copy().reshape(-1)
    a[i % len(a)] = value
    where = CLOUDY.ids[i % len(a)//(len(a)//12)]
    spoilt = {name:a.reshape(getattr(CLOUDY, name).shape)}
    said = f"{name}: found 1 values .* in 1 of 12 samples, the first '{where}'"
    with pytest.raises(IrmError, match=said): replace(CLOUDY, **spoilt)

# Saved sets that somebody changed

@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sets')/'set'
    return CLOUDY.save(folder),json.loads((folder/'meta.json').read_text())

scalars = st.none()|st.booleans()|st.integers()|st.floats()|st.text(max_size=5)
strange = scalars|st.lists(st.integers(), max_size=3)|st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)

@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_changed_note_opens_or_is_refused(saved, data):
    folder,note = saved
    note = json.loads(json.dumps(note))
    part = data.draw(st.sampled_from([note, note['fields'], note['sizes'], note['ranges'], note['notes']]))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(strange)
    (folder/'meta.json').write_text(json.dumps(note))
    try: Scenes.load(folder).subset([0])
    except IrmError: pass

@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_changed_array_is_found(saved, data):
    folder,note = saved
    (folder/'meta.json').write_text(json.dumps(note))
    f = folder/data.draw(st.sampled_from(sorted(note['sizes'])))
    whole = f.read_bytes()
    at = data.draw(st.integers(0, len(whole)-1)|st.integers(0, 127))
    f.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at+1:])
    try:
        now = arrays_of(Scenes.load(folder).verify())
        for k,a in arrays_of(CLOUDY).items(): assert np.array_equal(now[k], a), f'{k} was changed, and nobody noticed'
    except IrmError: pass
    finally: f.write_bytes(whole)

# The world

@settings(max_examples=5)
@given(st.lists(st.integers(0, 39), min_size=1, max_size=5, unique=True), st.integers(0, 1000), st.integers(1, 3))
def test_a_scene_of_the_world_is_a_function_of_its_number(indices, seed, workers):
    s = world.target(40, seed, indices, workers)
    more = world.target(40, seed, indices, workers, bands=('NIR','B','G','R'), height=True)
    np.testing.assert_array_equal(more.opt[:,:0:-1], s.opt)
    np.testing.assert_array_equal(more.sar, s.sar)
    for i,k in enumerate(indices):
        one = world.target(40, seed, [k], 1, bands=('NIR',), height=True)
        np.testing.assert_array_equal(one.opt[0,0], more.opt[i,0])
        for f in ('sar','dem','labels'): np.testing.assert_array_equal(getattr(one, f)[0], getattr(more, f)[i])
        assert (one.ids[0],one.groups[0]) == (s.ids[i],s.groups[i])
