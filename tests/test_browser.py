"""A notebook, opened in JupyterLab by a real browser and run from top to bottom."""
import json, os, shutil, signal, socket, subprocess, sys, time, urllib.request
import pytest

from conftest import ROOT

BROWSER = os.environ.get('IRM_NB_BROWSER') or next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(not BROWSER, reason='no Chromium found: install it (apt install chromium), or name one in IRM_NB_BROWSER')

# Run > Run All in the menu races with the kernel's start; the command, sent once the kernel has answered, doesn't.
RUN_ALL = '''async () => {
  const app = window.jupyterapp; await app.restored;
  const panel = app.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready;
  await panel.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
  return panel.content.widgets.filter(w => w.model.type === 'code' && w.model.sharedModel.source.trim())
    .map(w => ({count: w.model.executionCount, errors: w.model.outputs.toJSON().filter(o => o.output_type === 'error').map(o => `${o.ename}: ${o.evalue}`)}));
}'''

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
    env |= {f'JUPYTER_{k}_DIR': str(root/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')} | dict(IPYTHONDIR=str(root/'ipython'), JUPYTER_PREFER_ENV_PATH='1', IRM_NB_STORE=str(root/'store'))
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

@pytest.mark.parametrize('notebook', ['00_core.ipynb'])
def test_runs_in_jupyterlab(lab, chromium, notebook):
    page = chromium.new_page(viewport=dict(width=1280, height=1400))
    try:
        page.set_default_timeout(120_000)
        page.goto(f'{lab}/lab/tree/nbs/{notebook}?reset')
        page.locator('.jp-Notebook').wait_for()
        cells = page.evaluate(RUN_ALL)
    finally: page.close()
    assert [c['errors'] for c in cells if c['errors']] == []
    assert cells and all(c['count'] for c in cells)

ARTEFACTS = ROOT/'artefacts' # what a test leaves to be looked at
LISTEN = '''() => {
  window.kernelErrors = [];
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.iopubMessage.connect((_, m) => {
    if (m.header.msg_type === 'error') window.kernelErrors.push(`${m.content.ename}: ${m.content.evalue}`);
  });
}'''

def made_small(path, changes):
    "The copy of a notebook, with other numbers in its cells"
    nb = json.loads(path.read_text(encoding='utf-8'))
    for old,new in changes.items():
        hit = [c for c in nb['cells'] if old in ''.join(c['source'])]
        assert len(hit) == 1, old
        hit[0]['source'] = ''.join(hit[0]['source']).replace(old, new)
    path.write_text(json.dumps(nb), encoding='utf-8')

def test_inspector_answers(lab, lab_root, chromium):
    "Every widget of the inspector's notebook, moved by mouse and keyboard; what a callback raises would be on the kernel's broadcast"
    from playwright.sync_api import expect
    folder = lab_root/'nbs'/'analysis'
    made_small(folder/'inspect_samples.ipynb', {'240,500,12': '60,160,1', 'tau=0.3': 'tau=0.'})
    page = chromium.new_page(viewport=dict(width=1280, height=1000))
    try:
        page.set_default_timeout(240_000)
        expect.set_options(timeout=30_000)
        page.goto(f'{lab}/lab/tree/nbs/analysis/inspect_samples.ipynb?reset')
        page.locator('.jp-Notebook').wait_for()
        cells = page.evaluate(RUN_ALL)
        assert [c['errors'] for c in cells if c['errors']] == [] and all(c['count'] for c in cells)
        page.evaluate(LISTEN)
        samples,charts = (page.locator('.jp-Cell-outputArea', has=page.locator(c)) for c in ('.irm-view', '.irm-charts'))
        knob = lambda w,name: w.locator('.widget-slider', has=page.get_by_text(name, exact=True)).locator('.noUi-handle')
        inspector,sky,helper = (samples.nth(i) for i in range(3))
        losses,advisor = (charts.nth(i) for i in range(2))

        title = inspector.locator('.irm-view b').first
        first = title.inner_text()
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
        assert inspector.locator('.irm-view').bounding_box()['width'] <= 1000 and len({round(i.bounding_box()['y']) for i in inspector.locator('.irm-view img').all()}) == 1 # all tiles in one row at 1280 px
        ARTEFACTS.mkdir(exist_ok=True)
        inspector.screenshot(path=ARTEFACTS/'inspector.png')

        knob(sky, 'cover').press('End')
        expect(sky.locator('.irm-view')).to_contain_text('cover 1.00')
        at,track = knob(sky, 'content').bounding_box(),sky.locator('.widget-slider', has=page.get_by_text('content', exact=True)).locator('.noUi-base').bounding_box()
        page.mouse.move(at['x'] + at['width']/2, at['y'] + at['height']/2)
        page.mouse.down()
        page.mouse.move(track['x'] + track['width']/2, at['y'] + at['height']/2, steps=4)
        page.mouse.move(track['x'] - 5, at['y'] + at['height']/2, steps=4)
        page.mouse.up()
        expect(sky.locator('.irm-view')).to_contain_text('clear under this sky')

        losses.get_by_role('button', name='KL').click()
        expect(losses.locator('.irm-charts')).to_contain_text('KL from the teacher')
        knob(advisor, 'content').press('Home')
        expect(advisor.locator('.irm-advice')).not_to_contain_text('The paper warns that')
        knob(advisor, 'content').press('End')
        expect(advisor.locator('.irm-advice')).to_contain_text('The paper warns that')
        title = helper.locator('.irm-view b').first
        first = title.inner_text()
        helper.get_by_role('button', name='Harbor').click()
        expect(title).not_to_have_text(first)
        assert f'{first},Harbor' in (folder/'labels_by_hand.csv').read_text(encoding='utf-8').splitlines()
        page.screenshot(path=ARTEFACTS/'widgets.png')
        assert page.evaluate('() => window.kernelErrors') == []
    finally: page.close()
