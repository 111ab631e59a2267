"""What an installed irm_nb does without its repository: run by a Python that has it, in an empty folder. Not collected by pytest."""
import os, subprocess, sys, tempfile
from pathlib import Path

os.environ |= dict(IRM_NB_STORE=tempfile.mkdtemp(), TQDM_DISABLE='1')
os.environ.pop('PYTHONPATH', None)
COMMAND = Path(sys.executable).parent/'irm_run'
SMALL = '''from torch import nn
from irm_nb.models import BACKBONES, Backbone
class Small(nn.Module):
    def __init__(self, n_classes, in_channels=3):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(in_channels, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(16, n_classes)
    def forward(self, x): return self.fc(self.conv1(x).flatten(1))
BACKBONES['small'] = Backbone(Small, first='conv1.0', top=('fc',))
'''

def run(*args):
    done = subprocess.run([str(a) for a in (COMMAND, *args)], text=True, capture_output=True)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout

def main():
    import irm_nb
    from importlib.metadata import metadata
    home = Path(irm_nb.__file__).resolve().parent
    assert Path(sys.prefix).resolve() in home.parents, f'{home} is not installed in {sys.prefix}'
    m = metadata('irm_nb')
    assert m['Version'] == irm_nb.__version__ and m['License-Expression'] == 'Apache-2.0', m['Version']
    import pkgutil, importlib
    names = [n.name for n in pkgutil.walk_packages(irm_nb.__path__, 'irm_nb.')]
    for n in names: importlib.import_module(n)
    import torch
    from irm_nb import world
    from irm_nb.irm import discrepancy_ratio, information_contribution
    from irm_nb.tables import paper_table
    opinions = dict(opt=torch.tensor([[.82,.09,.06,.03]]), sar=torch.tensor([[.24,.46,.19,.11]]))
    rho = discrepancy_ratio({k: information_contribution(p.log()) for k,p in opinions.items()})
    assert abs(float(rho['opt']) - .46/.82) < 1e-6
    assert len(world.target(12)) == 12 and len(paper_table('I')) # a table that is data of the package
    assert 'irm_run train' in run('--help') and irm_nb.__version__ in run('--version')
    Path('small.py').write_text(SMALL)
    roles = [f'{r}_arch=small' for r in ('source', 'auxiliary', 'target')]
    quick = ['--samples', 160, '--per-class', 2, '--set', 'epochs=1', 'tau=0', *roles]
    said = run('train', '--methods', 'ours', 'without-irm', '--out', 'runs', '--save', 'networks', '--device', 'cpu', '--use', 'small.py', *quick)
    assert 'Ours' in said and Path('runs/results.csv').is_file() and len([*Path('networks').iterdir()]) == 2
    print(f'{len(names)} modules, version {irm_nb.__version__}, in {home}\n{said}')

if __name__ == '__main__': main()
