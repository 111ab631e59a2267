"""What a release must agree on: its tag, settings.ini, CITATION.cff and CHANGELOG.md; and the changelog's words about it."""
import argparse, re, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from check import settings

ROOT = Path(__file__).resolve().parent.parent

def version(root=ROOT): return settings(root)['version']

def notes(root, of): # -> the changelog's section of a version, None without one
    text = Path(root, 'CHANGELOG.md').read_text(encoding='utf-8')
    found = re.search(rf'^## {re.escape(of)}\b[^\n]*\n(.*?)(?=^## |\Z)', text, re.M|re.S)
    return found and found[1].strip()

def problems(root=ROOT, tag=None):
    "Where the files don't say the version of settings.ini; with a tag, whether they are ready for it"
    bad,want = [],version(root)
    cited = re.search(r'^version: (\S+)', Path(root, 'CITATION.cff').read_text(encoding='utf-8'), re.M)
    if not cited or cited[1] != want: bad.append(f'CITATION.cff says {cited and cited[1]}, settings.ini {want}. Write {want} there.')
    shown = re.search(r'version = \{(.+?)\}', Path(root, 'README.md').read_text(encoding='utf-8'))
    if not shown or shown[1] != want: bad.append(f'README.md cites version {shown and shown[1]}, settings.ini says {want}. Write it in nbs/index.ipynb and run: make sync')
    if not notes(root, want): bad.append(f'CHANGELOG.md has no section {want}, the version of settings.ini. Write what is in it.')
    if tag and tag != want: bad.append(f'The tag says {tag}, settings.ini {want}. Tag the commit whose version it is.')
    if tag and notes(root, 'Unreleased'): bad.append('CHANGELOG.md has a section Unreleased. Name it by the version that is released.')
    return bad

def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('tag', metavar='VERSION', help='of the tag, without its v')
    ap.add_argument('--notes', action='store_true', help="print the changelog's section instead")
    a = ap.parse_args(argv)
    if a.notes: print(notes(ROOT, a.tag) or '')
    bad = [] if a.notes else problems(ROOT, a.tag)
    for b in bad: print(f'  - {b}', file=sys.stderr)
    return 1 if bad else 0

if __name__ == '__main__': sys.exit(main())
