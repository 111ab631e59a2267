"""What a release says of itself agrees: version, changelog, citation, metadata."""
import re, shutil
import pytest

import check, release
from conftest import ROOT

FILES = 'settings.ini','CITATION.cff','CHANGELOG.md','setup.py','README.md'

@pytest.fixture
def tree(tmp_path):
    for f in FILES: shutil.copy(ROOT/f, tmp_path)
    return tmp_path

def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))

def test_repository(): assert not release.problems(ROOT)

@pytest.mark.parametrize('file, before, after, said', [
    ('CITATION.cff', '\nversion: ', '\nversion: 9', 'CITATION.cff says 9'),
    ('CHANGELOG.md', f'\n## {release.version()}', '\n## 9', 'has no section'),
    ('settings.ini', '\nversion = ', '\nversion = 7', 'settings.ini 7')])
def test_drift(tree, file, before, after, said):
    edit(tree/file, before, after)
    assert said in ' '.join(release.problems(tree))

def test_a_tag(tree):
    version = release.version(tree)
    assert any('tag says 9.9.9' in b for b in release.problems(tree, '9.9.9'))
    text = (tree/'CHANGELOG.md').read_text()
    (tree/'CHANGELOG.md').write_text(re.sub(r'## Unreleased.*?(?=\n## )', '', text, flags=re.S))
    assert not release.problems(tree, version)
    (tree/'CHANGELOG.md').write_text(text.replace(f'## {version}', '## Unreleased'))
    assert len(release.problems(tree, version)) == 2

def test_notes():
    said = release.notes(ROOT, release.version())
    assert said.startswith(('###', 'The')) and '\n## ' not in said and release.notes(ROOT, '9.9.9') is None

def test_metadata(tree):
    "An index shows README.md outside of the repository: no link and no figure of it is relative"
    got = check._setup_arguments(tree)
    assert got['license_expression'] == 'Apache-2.0' and 'Apache License' in (ROOT/'LICENSE').read_text()[:200]
    links = re.findall(r'\]\(([^)\s]+)', got['long_description'])
    assert len(links) > 50 and all(re.match(r'https?:|#', l) for l in links)
    figures = [l for bang,l in re.findall(r'(!?)\[[^\]]*\]\(([^)\s]+)', got['long_description']) if bang]
    assert figures and all('/raw/' in f for f in figures)
