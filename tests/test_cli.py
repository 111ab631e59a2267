"""The console script, as a shell runs it: help, bad input in one line, a tiny job."""
import csv, json, subprocess, sys
import pytest

from conftest import ROOT, command, environment

TINY = 'train --samples 120 --per-class 1 --epochs 1 --tau 0.1 --rows ours --device cpu --precision float32'.split()

def irm_run(*args, cwd=None, **env): return subprocess.run(command(*args), text=True, capture_output=True, env=environment(**env), cwd=cwd, timeout=500)

@pytest.mark.parametrize('args', [['--help'], ['train','--help'], ['grid','--help'], ['bench','--help']])
def test_help(args):
    done = irm_run(*args)
    assert done.returncode == 0 and (f'irm_run {args[0]}' if args[1:] else 'irm_run train') in done.stdout
    assert not done.stderr

def test_help_names_only_what_works():
    said = irm_run('--help').stdout
    assert all(c in said for c in ('train','grid','bench')) and ' map' not in said

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

def test_grid(tmp_path):
    "A cell that ends and one that can't be: the table has the one, and the exit code speaks of the other"
    one = *'grid demo --methods sl --seeds 1 --samples 120 --per-class 1 --device cpu --precision float32'.split(), '--store', tmp_path/'store', '--out', tmp_path/'out'
    done = irm_run(*one, '--set', 'epochs=1')
    assert done.returncode == 0 and '| SL' in done.stdout and '1 of 1 cells have a result' in done.stdout, done.stderr
    failed = irm_run(*one, '--set', 'epochs=1', '--sky', 'own', '--clear-labels')
    assert failed.returncode == 1 and '1 of 1 cells failed' in failed.stderr and 'were composed' in failed.stderr and 'Traceback' not in failed.stderr
    both = irm_run(*one, '--set', 'epochs=1', '--list')
    assert both.returncode == 0 and both.stdout.startswith('have')
    assert [r['error'] != '' for r in csv.DictReader(open(tmp_path/'out'/'results.csv'))].count(True) == 1
    refused = irm_run(*one, '--sky', 'grey')
    assert refused.returncode == 2 and "'hunan'" in refused.stderr and len(refused.stderr.strip().splitlines()) == 1
