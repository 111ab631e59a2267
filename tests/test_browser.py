"""A notebook, opened in JupyterLab by a real browser and run from top to bottom."""
import os, shutil, signal, socket, subprocess, sys, time, urllib.request
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
def lab(tmp_path_factory):
    "JupyterLab on loopback, over a copy of nbs/, with settings of its own: the user's are neither read nor written"
    root,port = tmp_path_factory.mktemp('lab'),free_port()
    shutil.copytree(ROOT/'nbs', root/'nbs', ignore=shutil.ignore_patterns('.ipynb_checkpoints'))
    env = {k: v for k,v in os.environ.items() if k != 'MPLBACKEND'}
    env |= {f'JUPYTER_{k}_DIR': str(root/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')} | dict(IPYTHONDIR=str(root/'ipython'), JUPYTER_PREFER_ENV_PATH='1')
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
