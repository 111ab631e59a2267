"""The console script, as a shell runs it: help, bad input in one line, a tiny job."""
import csv, json, os, subprocess, sys
import pytest

from conftest import ROOT

TINY = 'train --samples 120 --per-class 1 --epochs 1 --tau 0.1 --rows ours --device cpu --precision float32'.split()

def irm_run(*args, cwd=None, **env):
    env = {k: v for k,v in os.environ.items() if not k.startswith('IRM_NB_')} | dict(PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES='') | env
    return subprocess.run([sys.executable, '-c', 'import sys; from irm_nb.cli import main; sys.exit(main())', *map(str, args)], text=True, capture_output=True, env=env, cwd=cwd, timeout=500)

@pytest.mark.parametrize('args', [['--help'], ['train','--help'], ['bench','--help']])
def test_help(args):
    done = irm_run(*args)
    assert done.returncode == 0 and 'irm_run train' in done.stdout + 'irm_run train'*(args[0] == 'bench')
    assert not done.stderr

def test_help_names_only_what_works():
    said = irm_run('--help').stdout
    assert 'train' in said and 'bench' in said and 'grid' not in said and ' map' not in said

def test_help_needs_no_heavy_import():
    code = 'import sys\nfrom irm_nb.cli import main\ntry: main(["train","--help"])\nexcept SystemExit: pass\nprint(sorted({"torch","numpy","pandas","rasterio"} & set(sys.modules)))'
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == '[]'

def test_refuses_before_training(tmp_path):
    "An unwritable place, an unknown row and a folder that isn't there: one line each, exit code 2, nothing trained"
    (tmp_path/'file').touch()
    for args,word in ((['--out', tmp_path/'file'/'out'], 'Choose another folder'), (['--rows','Theirs'], "'Theirs'"), (['--source', tmp_path/'nowhere'], 'nowhere'), (['--samples','40','--per-class','20'], 'Lower the budget')):
        done = irm_run(*TINY[:1], '--store', tmp_path/'store', '--out', tmp_path/'out', *args)
        assert done.returncode == 2 and word in done.stderr and 'Traceback' not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob('store/*.safetensors'))

def test_train(tmp_path):
    done = irm_run(*TINY, '--store', tmp_path/'store', '--out', tmp_path/'out')
    assert done.returncode == 0, done.stderr
    assert 'cpu · float32' in done.stdout and 'report.md' in done.stdout
    rows = list(csv.DictReader(open(tmp_path/'out'/'results.csv')))
    assert [r['subset'] for r in rows] == ['all','cloudy','clear'] and all(0 <= float(r['OA']) <= 1 for r in rows)
    config = json.loads((tmp_path/'out'/'config.json').read_text())
    assert config['config']['target']['epochs'] == 1 and set(config['data']) == {'source','target'} and config['versions']['torch']
    assert 'Synthetic' in (tmp_path/'out'/'report.md').read_text()
    assert (tmp_path/'out'/'predictors'/'ours-0'/'weights.safetensors').is_file()
    other = irm_run(*TINY, '--tau', '0.2', '--store', tmp_path/'store', '--out', tmp_path/'out')
    assert other.returncode == 2 and 'results of another job (tau differ)' in other.stderr
