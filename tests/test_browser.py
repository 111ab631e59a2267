"""A notebook, opened in JupyterLab by a real browser and run from top to bottom."""
import io, json, os, re, shutil, signal, socket, subprocess, sys, time, urllib.request
import pytest
from PIL import Image, ImageOps

from conftest import ROOT

BROWSER = os.environ.get('IRM_NB_BROWSER') or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason='no Chromium found: install it (apt install chromium), or name one in IRM_NB_BROWSER')

# Run > Run All in the menu races with the kernel's start; the command, sent once the kernel has answered, doesn't.
RUN_ALL = '''async () => {
  const app = window.jupyterapp; await app.restored;
  const panel = app.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
  return panel.content.widgets.filter(w => w.model.type === 'code' && w.model.sharedModel.source.trim()).map(w => {
    const out = w.model.outputs.toJSON();
    return {count: w.model.executionCount, pictures: out.filter(o => o.data && (o.data['image/png'] || o.data['image/jpeg'])).length,
      errors: out.filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`), noise: out.filter(o => o.name === 'stderr').map(o => [].concat(o.text).join(''))};
  });
}'''
# A callback's exception has no cell to appear in: ipywidgets sends its traceback over the kernel's broadcast.
LISTEN = '''() => {
  window.kernelErrors = [];
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.iopubMessage.connect((_, m) => {
    if (m.header.msg_type === 'error') window.kernelErrors.push(`${m.content.ename}: ${m.content.evalue}`);
  });
}'''
EXECUTE = 'code => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}).done.then(r => r.content.status)'
def settled(page):
    "The kernel has answered everything that was sent before, and the page shows it"
    assert page.evaluate(EXECUTE, '') == 'ok'
    page.wait_for_timeout(200)

ARTEFACTS = ROOT/'artefacts' # what a test leaves to be looked at
PICTURES = os.environ.get('IRM_NB_PICTURES') # set by `make pictures`: all of the notebook's samples and epochs, with the small network of the other tests, and a new picture for nbs/index.ipynb

def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

@pytest.fixture(scope='module')
def lab_root(tmp_path_factory):
    root = tmp_path_factory.mktemp('lab')
    shutil.copytree(ROOT/'nbs', root/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    return root

@pytest.fixture(scope='module')
def lab(lab_root):
    "JupyterLab on loopback, over a copy of nbs/, with settings of its own: the user's are neither read nor written"
    root,port = lab_root,free_port()
    env = {k: v for k,v in os.environ.items() if k != 'MPLBACKEND'}
    env |= {f'JUPYTER_{k}_DIR': str(root/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')} | dict(IPYTHONDIR=str(root/'ipython'), JUPYTER_PREFER_ENV_PATH='1')
    env['IRM_NB_STORE'] = str(root/'store')
    quiet = root/'config'/'lab'/'user-settings'/'@jupyterlab'/'apputils-extension'/'notification.jupyterlab-settings' # nobody is asked about news
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false"}')
    options = dict(ip='127.0.0.1', port=port, root_dir=root, allow_root=True, disable_check_xsrf=True, password='')
    args = [f'--ServerApp.{k}={v}' for k,v in options.items()] + ['--IdentityProvider.token=', '--LabApp.expose_app_in_browser=True',
        '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', '--LabApp.extension_manager=readonly', '--LabApp.news_url=']
    log = root/'lab.log'
    with open(log, 'w') as f: server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', '--no-browser', *args], env=env, stdout=f, stderr=f, start_new_session=True)
    url,deadline = f'http://127.0.0.1:{port}',time.time() + 90
    def up():
        try: return urllib.request.urlopen(f'{url}/api/status', timeout=2).status == 200
        except OSError: return False
    try:
        while not up():
            assert server.poll() is None and time.time() < deadline, log.read_text()
            time.sleep(.2)
        yield url
    finally:
        if server.poll() is None: os.killpg(server.pid, signal.SIGTERM)
        try: server.wait(15)
        except subprocess.TimeoutExpired: os.killpg(server.pid, signal.SIGKILL)

@pytest.fixture(scope='module')
def chromium():
    from playwright.sync_api import sync_playwright
    args = ['--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage']
    if hasattr(os, 'geteuid') and os.geteuid() == 0: args.append('--no-sandbox') # Chromium refuses its sandbox to root
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=BROWSER, args=args)
        yield browser
        browser.close()

class Film:
    "Widgets photographed one after the other, as one animated picture"
    def __init__(self, page, width=800):
        self.page,self.width = page,width
        self.frames,self.times = [],[]
    def shot(self, widget, seconds, wait_for=''):
        from playwright.sync_api import expect
        widget.scroll_into_view_if_needed() # cells above it may still come into being, and move it
        settled(self.page)
        expect(widget.locator('.irm-view')).to_contain_text(wait_for)
        widget.scroll_into_view_if_needed()
        settled(self.page)
        image = Image.open(io.BytesIO(widget.screenshot())).convert('RGB')
        self.frames.append(image.resize((self.width, round(image.height*self.width/image.width)), Image.Resampling.LANCZOS))
        self.times.append(round(1000*seconds))
    def save(self, path):
        page = self.width,max(f.height for f in self.frames)
        pages = [ImageOps.pad(f, page, color='white', centering=(0, 0)) for f in self.frames]
        pages[0].save(path, save_all=True, append_images=pages[1:], duration=self.times, loop=0, quality=60, method=6)

def film_of_inspector(page, inspector, cloud_lab, knob):
    "The sample inspector and the cloud lab, used: other samples, another order, other filters, more and more cloud"
    film = Film(page)
    maps = '± ' # they come last
    film.shot(inspector, 1.2, maps)
    for _ in range(2):
        inspector.get_by_role('button', name='▶').click()
        film.shot(inspector, .8, maps)
    for what,value in {'order':'most cover', 'show':'wrong', 'clouds':'clear'}.items():
        inspector.get_by_label(what, exact=True).select_option(value)
        film.shot(inspector, 1, maps)
    cover = knob(cloud_lab, 'cover')
    cover.press('Home')
    film.shot(cloud_lab, .7)
    for seconds in (.4, .4, .4, .4, .9):
        for _ in range(4): cover.press('PageUp') # a twentieth each
        film.shot(cloud_lab, seconds)
    return film

def made_small(path, changes):
    "The copy of a notebook, with other numbers in its cells"
    nb = json.loads(path.read_text(encoding='utf-8'))
    for old,new in changes.items():
        hit = [c for c in nb['cells'] if old in ''.join(c['source'])]
        assert len(hit) == 1, old
        hit[0]['source'] = ''.join(hit[0]['source']).replace(old, new)
    path.write_text(json.dumps(nb), encoding='utf-8')

SMALL = ', '.join(f"{role}_arch='small'" for role in ('source','auxiliary','target'))

def with_small_net(line):
    "An import of a notebook, and the network of the other tests after it"
    return {line: f"{line}\nimport sys; sys.path.insert(0, {str(ROOT/'tests')!r}); import small_net"}

def opened(chromium, lab, notebook, height=1000):
    "A notebook of the lab, run from top to bottom -> the page, and what its code cells came to"
    page = chromium.new_page(viewport=dict(width=1280, height=height))
    page.set_default_timeout(60_000)
    page.goto(f'{lab}/lab/tree/nbs/{notebook}?reset')
    page.locator('.jp-Notebook').wait_for()
    cells = page.evaluate(RUN_ALL)
    assert [c['errors'] for c in cells if c['errors']] == [] and [c['noise'] for c in cells if c['noise']] == []
    assert cells and all(c['count'] for c in cells)
    return page,cells

@pytest.mark.skipif(bool(PICTURES), reason='only pictures are wanted')
def test_main_notebook_runs(lab, lab_root, chromium):
    "*Run all* on the main notebook, on a few images and for an epoch a network, so that what is tested is the page and not the training"
    path = lab_root/'nbs'/'analysis'/'01_transfer.ipynb'
    made_small(path, {"replace(PRESETS['demo'], adapt=replace(PRESETS['demo'].adapt, epochs=15))": f"replace(PRESETS['demo'], tau=0., {SMALL}, **{{k:replace(PRESETS['demo'].head, epochs=1) for k in ('pretrain','head','adapt','auxiliary','target')}})",
                      **with_small_net('from irm_nb.transfer import PRESETS, evaluate, teachers, tidy'),
                      'world.source(480, seed=0)': 'world.source(42, seed=0)', 'world.target(1200, seed=0)': 'world.target(160, seed=0)', 'per_class=20': 'per_class=2'})
    pictures = sum(any('image/' in k for o in c.get('outputs', []) for k in o.get('data', {})) for c in json.loads(path.read_text(encoding='utf-8'))['cells'])
    page,cells = opened(chromium, lab, 'analysis/01_transfer.ipynb')
    try:
        assert sum(bool(c['pictures']) for c in cells) == pictures > 5 # as many as the saved notebook has
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS/'01_transfer.png')
    finally: page.close()

def test_inspector_answers(lab, lab_root, chromium):
    "Every widget of the inspector's notebook, moved by mouse and keyboard; what a callback raises would be on the kernel's broadcast"
    from playwright.sync_api import expect
    folder = lab_root/'nbs'/'analysis'
    small = {'n_source = 240': 'n_source = 48', 'n_target = 480': 'n_target = 120', 'labels = 15': 'labels = 2',
             'epochs = 25': 'epochs = 1', 'tau=0.3': f'tau=0., {SMALL}',
             **with_small_net('from irm_nb.transfer import PRESETS, evaluate, teachers')}
    if PICTURES: small = {'tau=0.3': f'tau=0.3, {SMALL}'} | with_small_net('from irm_nb.transfer import PRESETS, evaluate, teachers')
    made_small(folder/'inspect_samples.ipynb', small)
    expect.set_options(timeout=30_000)
    page,_ = opened(chromium, lab, 'analysis/inspect_samples.ipynb')
    try:
        page.evaluate(LISTEN)
        def slider(w, name): return w.locator('.widget-slider', has=page.get_by_text(name, exact=True))
        def knob(w, name): return slider(w, name).locator('.noUi-handle')
        def widget(words): return page.locator('.jp-Cell-outputArea', has=page.get_by_text(words, exact=True))
        names = 'save view','softness','smoothed','per class','undo'
        inspector,cloud_lab,losses,advisor,helper = map(widget, names)
        if PICTURES: film_of_inspector(page, inspector, cloud_lab, knob).save(ROOT/'nbs'/'images'/'inspector.webp')
        for what,value in {'clouds':'cloudy or clear', 'show':'all samples'}.items(): # networks as small as these may all say the same
            inspector.get_by_label(what, exact=True).select_option(value)
        title = inspector.locator('.irm-view b').first # read by `text_content`: a cell out of sight has no inner text
        expect(inspector.get_by_text(re.compile('^1 of (30|120)$'))).to_be_visible()
        settled(page)
        first = title.text_content()
        inspector.get_by_role('button', name='▶').click()
        expect(title).not_to_have_text(first)
        knob(inspector, 'sample').press('Home')
        expect(title).to_have_text(first)
        knob(inspector, 'sample').press('ArrowRight')
        expect(inspector.get_by_text('2 of ')).to_be_visible()
        inspector.get_by_label('show', exact=True).select_option('wrong')
        expect(inspector.locator('.irm-view')).to_contain_text('✗')
        inspector.get_by_role('button', name='save view').click()
        expect(inspector.get_by_text('written: views')).to_be_visible()
        assert [p.read_bytes()[:8] for p in (folder/'views').iterdir()] == [b'\x89PNG\r\n\x1a\n']
        assert inspector.locator('.irm-view').bounding_box()['width'] <= 1000
        heights = {round(i.bounding_box()['y']) for i in inspector.locator('.irm-view img').all()}
        assert len(heights) == 1 # all tiles in one row at 1280 px
        expect(inspector.locator('.irm-view')).to_contain_text('± ')
        ARTEFACTS.mkdir(exist_ok=True)
        inspector.screenshot(path=ARTEFACTS/'inspector.png')

        knob(cloud_lab, 'cover').press('End')
        expect(cloud_lab.locator('.irm-view')).to_contain_text('cover 1.00')
        at = knob(cloud_lab, 'content').bounding_box()
        track = slider(cloud_lab, 'content').locator('.noUi-base').bounding_box()
        middle = at['y'] + at['height']/2
        page.mouse.move(at['x'] + at['width']/2, middle)
        page.mouse.down()
        page.mouse.move(track['x'] + track['width']/2, middle, steps=4)
        page.mouse.move(track['x'] - 5, middle, steps=4)
        page.mouse.up()
        expect(cloud_lab.locator('.irm-view')).to_contain_text('not under cloud')

        losses.get_by_role('button', name='KL').click()
        expect(losses.locator('.irm-charts')).to_contain_text('KL from the teacher')
        knob(advisor, 'content').press('Home')
        expect(advisor.locator('.irm-advice')).not_to_contain_text('The paper warns that')
        knob(advisor, 'content').press('End')
        expect(advisor.locator('.irm-advice')).to_contain_text('The paper warns that')
        title = helper.locator('.irm-view b').first
        settled(page)
        first = title.text_content()
        helper.get_by_role('button', name='Harbor').click()
        expect(title).not_to_have_text(first)
        assert f'{first},Harbor' in (folder/'labels_by_hand.csv').read_text(encoding='utf-8').splitlines()
        widgets = dict(cloud_lab=cloud_lab, losses=losses, advisor=advisor, labels=helper)
        for name,w in widgets.items(): w.screenshot(path=ARTEFACTS/f'{name}.png')
        assert page.evaluate('() => window.kernelErrors') == []
        assert page.evaluate(EXECUTE, "inspector.ensemble.probes['target'] = None") == 'ok' # and if there were one, it would be heard
        inspector.get_by_role('button', name='▶').click()
        page.wait_for_function('() => window.kernelErrors.length')
        assert 'OptionError' in page.evaluate('() => window.kernelErrors')[0]
    finally: page.close()

@pytest.mark.skipif(bool(PICTURES), reason='only pictures are wanted')
def test_map_viewer(lab, chromium):
    "A click on a map shows the patch that lies there"
    page,_ = opened(chromium, lab, '69_mapview.ipynb')
    try:
        image = page.locator('.irm-map img').first
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        page.evaluate(LISTEN)
        image.click(position=dict(x=box['width']/4, y=box['height']/2))
        page.get_by_text(re.compile(r'^row 25\d, column 1[56]\d$')).first.wait_for()
        settled(page)
        assert page.evaluate('window.kernelErrors') == []
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS/'mapview.png')
    finally: page.close()

def cut_after(path, words):
    "The copy of a notebook, up to and with the cell that holds some words"
    nb = json.loads(path.read_text(encoding='utf-8'))
    last = [k for k,c in enumerate(nb['cells']) if words in ''.join(c['source'])]
    assert len(last) == 1, words
    nb['cells'] = nb['cells'][:last[0] + 1]
    path.write_text(json.dumps(nb), encoding='utf-8')

@pytest.mark.skipif(bool(PICTURES), reason='only pictures are wanted')
def test_labels_ten_places(lab, lab_root, chromium):
    "Ten places of an unlabelled region, the first by a click on the map; the map follows, and an undo takes the last one back"
    from playwright.sync_api import expect
    expect.set_options(timeout=60_000)
    path = lab_root/'nbs'/'analysis'/'label_a_region.ipynb'
    cut_after(path, 'by_hand = Labeller(')
    made_small(path, {'n = 14 #':'n = 6 #', 'world.target(900, seed=5)':'world.target(200, seed=5)', 'TrainConfig(epochs=20':'TrainConfig(epochs=1'})
    page,_ = opened(chromium, lab, 'analysis/label_a_region.ipynb')
    try:
        page.evaluate(LISTEN)
        square,areas = page.locator('.irm-square b').first,page.locator('.irm-areas')
        image = page.locator('.irm-map img').first
        image.scroll_into_view_if_needed()
        box = image.bounding_box()
        image.click(position=dict(x=box['width']*2.5/6, y=box['height']*4.5/6))
        expect(square).to_contain_text('square 4, 2')
        names = 'Water','Residential','Barren'
        pictures,tables = [image.get_attribute('src')],[]
        for k in range(10):
            page.get_by_role('button', name=names[k % 3], exact=True).click()
            expect(page.get_by_text(re.compile(f'^{k + 1} labels, '))).to_be_visible()
            settled(page)
            pictures.append(image.get_attribute('src'))
            if k: tables.append(areas.text_content()) # one class makes no map
        assert len(set(pictures)) == 11 and len(set(tables)) > 3
        assert page.evaluate(EXECUTE, "assert len(by_hand.sitting.labels) == 10; assert next(iter(by_hand.sitting.labels.given)) == (4, 2); "
                                      "assert len(set(by_hand.map.read('class').ravel())) > 1") == 'ok'
        ARTEFACTS.mkdir(exist_ok=True)
        page.screenshot(path=ARTEFACTS/'labeller.png')
        page.get_by_role('button', name='undo', exact=True).click()
        expect(page.get_by_text(re.compile('^9 labels, '))).to_be_visible()
        settled(page)
        assert areas.text_content() == tables[-2]
        tune = page.get_by_role('button', name='tune', exact=True)
        tune.click()
        expect(page.get_by_text('Tuning needs more labels')).to_be_visible()
        page.get_by_label('propose squares under cloud').check() # there are 36 in all
        settled(page)
        for k in range(9, 18): # a third of them is held out
            page.get_by_role('button', name=names[k % 3], exact=True).click()
            expect(page.get_by_text(re.compile(f'^{k + 1} labels, '))).to_be_visible()
        tune.click()
        expect(page.get_by_text('Encoders are tuned on')).to_be_visible()
        expect(page.get_by_text('labels held out right')).to_be_visible(timeout=300_000) # the news comes by itself
        assert page.evaluate('window.kernelErrors') == []
    finally: page.close()
