"Numbers held against each other: the same seeds, the same setting, the bin that was asked for, the level and unit that are said."
import numpy as np, pandas as pd, pytest

from irm_nb.advice import advise, least_regret
from irm_nb.cards import card_scores
from irm_nb.comparisons import accuracy_figure, budget_figure, choices_figure, content_figure, cover_figure, methods_figure
from irm_nb.core import OptionError
from irm_nb.explore import best_methods, content_curves, content_panel, grid_points
from irm_nb.metrics import cover_masks
from irm_nb.plots import contribution_figure, shapley_figure
from irm_nb.report import cover_sheet
from irm_nb.tables import by_cover, compare

AT = dict(content=.5, cover=.5, per_class=20)

def uneven(): # B on two easy and three hard seeds, A on the easy ones alone and worse there
    easy,hard = {0:.80, 1:.82, 2:.81},{3:.50, 4:.51}
    rows = [dict(method='B', seed=s, OA=v, **AT) for s,v in (easy | hard).items()]
    return pd.DataFrame(rows + [dict(method='A', seed=s, OA=v - .05, **AT) for s,v in easy.items()])

def test_advice_by_as_many_seeds():
    a = advise(uneven())
    assert a.table.method[0] == 'B' and str(a).startswith('Measured at') and 'A 7' not in str(a).split('.')[0]
    assert best_methods(grid_points(uneven()), .5).iloc[0,0].startswith('B ')

def test_nobody_is_ahead_who_loses():
    rows = [dict(method=m, seed=s, OA=v, **AT) for m,seeds in (('A', {0:.9, 1:.6}), ('B', {0:.95, 2:.5})) for s,v in seeds.items()]
    assert 'ahead of every other' not in str(advise(pd.DataFrame(rows)))

N = 60
ACCURACY = {('f_S',0):.95, ('f_S',1):.6, ('f_S',2):.6, ('Finetune (SAR only)',0):.9, ('Ours',0):.9, ('Ours',1):.5, ('Ours',2):.5}
SEES = {'f_S':'opt', 'Finetune (SAR only)':'sar', 'Ours':'all'}

def answers(key):
    m,s = key.split('/')
    wrong = (np.random.default_rng(int(s)).random(N) > ACCURACY[m,int(s)]).astype(int)
    columns = {f'predicted{k}': wrong for k in ('','_varied','_full')}
    return pd.DataFrame(dict(id=[f'{s}:{i}' for i in range(N)], group=[f'{s}:{i//5}' for i in range(N)], label=0, **columns,
                             cover_varied=np.linspace(.06, .7, N), cover_full=1.))

def cells(): return pd.DataFrame([dict(key=f'{m}/{s}', method=m, seed=s, sees=SEES[m], OA=1 - answers(f'{m}/{s}').predicted.mean(), AA=.5,
                                       kappa=.5) for m,s in ACCURACY])

def test_bins_by_as_many_seeds():
    t = by_cover(cells(), answers, n_boot=200)
    whole = t[t.cover == 'all'].set_index('method')
    assert set(whole.best) == {'f_S'}
    assert whole.n.to_dict() == {'f_S':180, 'Finetune (SAR only)':60, 'Ours':180}
    assert card_scores(t[(t.method == 'Finetune (SAR only)') & (t.cover == 'all')])[0]['n'] == 60

def test_one_scene_in_a_bin_has_a_mean_and_no_interval():
    def told(key):
        a = answers(key)
        return a.assign(cover_varied=np.where(np.arange(N) == N - 1, .9, a.cover_varied))
    one = cells()[lambda t: t.seed == 0]
    last = by_cover(one, told, n_boot=200).query('cover == "75–100 %"')
    assert len(last) == 3 and last.OA.notna().all() and last.OA_lo.isna().all()

def test_the_best_compared_method():
    t = compare(cells().assign(method=cells().method.replace('Ours', 'SL')), None, answers, n_boot=200)
    assert any(n.startswith(('f_S is the best', 'SL is the best')) for n in t.notes)

@pytest.mark.parametrize('level', [.5, .95])
def test_levels_are_said(level):
    words = f'{100*level:g} %'
    t = by_cover(cells(), answers, n_boot=200, level=level)
    assert words in cover_sheet(t).caption
    assert words in ' '.join(x.get_text() for x in cover_figure(t).legends[0].get_texts())
    sheet = compare(cells(), None, answers, n_boot=200, level=level)
    assert any(words in name for _,name in sheet.head) and any(n.startswith(words) for n in sheet.notes)

def regrets(*bins): return pd.DataFrame([dict(cover=c, method=m, OA=.5, best='f_S', regret=r, regret_lo=r, regret_hi=r)
                                         for c in bins for m,r in (('f_S', 0.), ('Ours', .1))])

def test_regret_where_it_was_measured():
    with pytest.raises(OptionError, match='nothing was measured'): least_regret(regrets('0–25 %','25–50 %'), .9)
    with pytest.raises(OptionError, match='nothing was measured'): least_regret(regrets('0–25 %'), 0)
    assert set(least_regret(regrets('0–12.5 %','12.5–25 %'), .123).cover) == {'0–12.5 %'}
    assert set(least_regret(regrets('clear','0–25 %'), 0).cover) == {'clear'}
    for c in (7, 14, 28, 55, 56):
        first,second = f'0–{c} %',f'{c}–100 %'
        assert set(least_regret(regrets(first, second), c/100).cover) == {first}
    unpaired = regrets('0–25 %').replace({'regret':{.1:np.nan}})
    assert least_regret(unpaired).method.tolist() == ['f_S']

@pytest.mark.parametrize('edges', [(0,.003,.004,1), (0,.001,.003,.005,1), (0,1/3,2/3,1)])
def test_every_sample_is_in_a_bin(edges):
    cover = np.array([0, .002, .004, .008, .3, .9])
    masks = cover_masks(cover, edges)
    assert len(masks) == len(edges) and (np.sum(list(masks.values()), 0) == 1).all()

def test_single_sensors_regret_nothing():
    rows = [dict(cover=c, method=m, sees=s, n=9, OA=oa, best='f_S', regret=oa - .8, regret_lo=oa - .9, regret_hi=oa - .7)
            for c in ('all','0–50 %','50–100 %') for m,s,oa in (('f_S','opt',.8), ('Finetune (SAR only)','sar',.6), ('Ours','all',.9))]
    low = cover_figure(pd.DataFrame(rows)).axes[1]
    assert sum(l.get_marker() not in ('None', None, '') for l in low.lines) == 1

# One setting

def row(target, oa, method='Ours', seed=0): return dict(method=method, sees='all', seed=seed, target=target, OA=oa, OA_cloudy=oa, OA_clear=oa, **AT)

@pytest.mark.parametrize('figure', [budget_figure, methods_figure, content_figure])
@pytest.mark.parametrize('other', ['hunan','world'])
def test_figures_of_one_setting(figure, other):
    "Two targets, or one cell twice, have no mean"
    t = pd.DataFrame([row('world', .9), row(other, .3), row('world', .8, 'without IRM'), row(other, .2, 'without IRM')])
    with pytest.raises(OptionError): figure(t)

def test_rows_that_are_not_drawn():
    "What failed, and methods that were left out, need not be of the same setting"
    t = pd.DataFrame([row('world', .9), row('world', .8, 'without IRM'), row('hunan', .3, 'SL'), row('hunan', np.nan, 'KDHN')])
    methods_figure(t, order=['Ours','without IRM'])
    methods_figure(t[t.method != 'SL'])
    budget_figure(t, methods=['Ours','without IRM'])
    with pytest.raises(OptionError): methods_figure(t)

def test_covers_of_one_content():
    t = pd.DataFrame([row('world', v, m) | dict(cloud_scenario=k) for m in ('Ours','without IRM') for k,v in (('half', .9), ('thin', .8))])
    with pytest.raises(OptionError, match='two rows'): content_figure(t)

def test_runs_of_one_setting():
    with pytest.raises(OptionError):
        accuracy_figure(pd.DataFrame([dict(method='Ours', subset='all', oa=v, target=k) for k,v in (('world', .9), ('hunan', .3))]))

# Units, and numbers that aren't there

def test_kappa_is_no_percentage():
    t = pd.DataFrame([dict(method=m, seed=s, kappa=k + .01*s, content=c, cover=.5, per_class=20, choice=m) for c in (.3, .6)
                      for s in range(3) for m,k in (('Ours', .7), ('without IRM', .65))])
    said = advise(t, score='kappa', content=.3)
    assert 'Ours 0.710 over' in str(said) and '+0.050' in str(said) and 'points' not in str(said)
    assert '0.710' in said._repr_markdown_() and '71.0' not in said._repr_markdown_()
    assert 'points' not in choices_figure(t[t.content == .3], 'without IRM', ('kappa',)).axes[0].get_xlabel()
    low = content_figure(t, score='kappa').axes[1]
    assert low.get_ylim()[1] < 1 and 'points' not in low.get_ylabel()
    panel = content_panel(content_curves(grid_points(t, 'kappa')), score='kappa')
    assert '%' not in panel.title and max(panel.curves[0].y) < 1

def test_missing_numbers_are_left_out():
    draw = np.random.default_rng(0)
    t = pd.DataFrame({'class':['a']*40, 'cover':draw.random(40), 'S_opt':draw.random(40), 'S_sar':draw.random(40),
                      'phi_opt':1 + draw.random(40), 'phi_sar':draw.random(40), 'group':np.arange(40)})
    t.loc[0, 'S_sar'] = np.nan
    t.loc[:9, 'phi_sar'] = np.nan
    assert all(np.isfinite(l.get_xdata()).all() for l in contribution_figure(t, by=('class',)).axes[0].lines)
    assert [p.get_height() for p in shapley_figure(t, by='class').axes[1].patches] == [1, 0]
