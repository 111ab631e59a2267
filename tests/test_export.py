"""Exported predictors of every form answer like the predictor, in a process without irm_nb."""
import re, subprocess, sys
from unittest import mock
import numpy as np, pytest
from torch import nn

from irm_nb import world
from irm_nb.batches import Batches, channel_stats
from irm_nb.core import OptionError, OutputError, compute
import irm_nb.export, irm_nb.methods.translate # noqa: F401, they add to Predictor and to BACKBONES
from irm_nb.models import BACKBONES, Backbone, new_model, reestimate_bn
from irm_nb.transfer import trained

CPU = compute('cpu', 'float32')
LOAD = '''
import sys
sys.modules['irm_nb'] = None # importing it fails
import json, numpy as np, torch
given = np.load('given.npz')
note = json.load(open('folder/export.json', encoding='utf-8'))
images = [given[i['name']].astype(np.float32) for i in note['inputs']]
with torch.no_grad(): logits = torch.export.load('folder/program.pt2').module()(*map(torch.from_numpy, images))
np.save('logits.npy', logits.numpy())
if 'onnx' in sys.argv:
    import onnxruntime
    net = onnxruntime.InferenceSession('folder/predictor.onnx')
    np.save('onnx.npy', net.run(None, {i['name']: x for i,x in zip(note['inputs'], images)})[0])
'''

def sketch(n_classes, in_channels):
    conv = nn.Conv2d(in_channels, 8, 5, stride=4)
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, n_classes))

@pytest.fixture(autouse=True)
def small():
    with mock.patch.dict(BACKBONES, sketch=Backbone(sketch, head='5', first='0')): yield

@pytest.fixture(scope='module')
def pairs(): return world.target(7, seed=1, bands=('R','G','B','NIR'), height=True)

def untrained(arch, s): # with statistics of the set, so that answers differ
    stats = channel_stats(s)
    m = new_model(arch, len(s.classes), len(stats['mean']), 0)
    return trained(reestimate_bn(m, Batches(s, stats, CPU)), arch, s, stats, [])

def run(code, folder, *args):
    done = subprocess.run([sys.executable, '-c', code, *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

FORMS = [
    ('googlenet', 'opt', False),
    ('googlenet', 'opt sar', False),
    ('branches:sketch:opt=4,sar=3', 'opt sar', False),
    ('translated:8:1:googlenet', 'sar', False),
    ('translated:8:1:sketch', 'sar', True),
    ('sketch', 'opt sar dem', True)]

@pytest.mark.parametrize('arch,names,onnx', FORMS)
def test_the_same_logits(tmp_path, pairs, arch, names, onnx):
    s = pairs.select(*names.split())
    p = untrained(arch, s)
    p.export(tmp_path/'folder', onnx=onnx)
    np.savez(tmp_path/'given.npz', **{k: m.values for k,m in s.modalities.items()})
    run(LOAD, tmp_path, *['onnx']*onnx)
    own = p.logits(s, CPU).numpy()
    assert own.std(0).min() > 1e-3
    for f in ['logits.npy'] + ['onnx.npy']*onnx:
        np.testing.assert_allclose(np.load(tmp_path/f), own, atol=1e-3*own.std())

def test_the_examples_run(tmp_path, pairs):
    folder = untrained('sketch', pairs.select('sar')).export(tmp_path/'folder', onnx=True)
    examples = re.findall(r'```python\n(.*?)```', (folder/'README.md').read_text(encoding='utf-8'), re.S)
    assert len(examples) == 2
    run("import sys\nsys.modules['irm_nb'] = None\n" + '\n'.join(examples), folder)

def test_refusals(tmp_path, pairs, monkeypatch):
    p = untrained('sketch', pairs.select('sar'))
    (tmp_path/'notes.txt').write_text('of mine')
    with pytest.raises(OutputError, match='notes.txt'): p.export(tmp_path, onnx=False)
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(OptionError, match=r"pip install 'irm_nb\[export\]'"): p.export(tmp_path/'new', onnx=True)
    assert [f.name for f in tmp_path.iterdir()] == ['notes.txt']
