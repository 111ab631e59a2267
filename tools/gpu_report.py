"""What tools/gpu.sh left in a folder, as one JSON and a short table."""
import argparse, json
from pathlib import Path

def read(file, otherwise=None):
    try: return json.loads(Path(file).read_text(encoding='utf-8'))
    except (OSError, ValueError): return otherwise

def steps_of(out): # [{'step', 'status', 'seconds'}], as they ran
    lines = (Path(out)/'steps.tsv').read_text(encoding='utf-8').splitlines()
    return [dict(step=a, status=b, seconds=float(c)) for a,b,c in (l.split('\t') for l in lines)]

def collect(out) -> dict: # 'machine', 'steps', 'rows', 'times'
    "Everything that was measured; a step that failed is among the steps and nowhere else"
    reports = [r for f in sorted(Path(out, 'bench').glob('*.json')) if (r := read(f))]
    rows = [row for r in reports for row in r['rows']]
    machine = reports[0]['machine'] if reports else read(Path(out)/'machine.json', {})
    return dict(machine=machine, steps=steps_of(out), rows=rows, times=read(Path(out)/'times.json', []))

def _figure(v): return '–' if v is None else f'{v:.3g}'

def table(report) -> str:
    "A few lines for the end of a log"
    m = report['machine']
    lines = [' · '.join(str(m[k]) for k in ('device','name','precision','torch') if k in m) or 'machine unknown', '']
    lines += [f'{s["status"]:8} {s["step"]:20} {s["seconds"]:7.0f} s' for s in report['steps']]
    lines += [f'{r["row"]:29} {_figure(r["ratio"]):>7}{"   " + r["skipped"] if "skipped" in r else ""}' for r in report['rows']]
    for t in report['times']:
        lines.append(f'{t["network"]} step, batch {t["batch"]:<5} {_figure(t["recorded"])} ms recorded, {_figure(t["eager"])} ms as it is')
    return '\n'.join(lines)

def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument('out', type=Path)
    out = ap.parse_args(argv).out
    report = collect(out)
    (out/'gpu.json').write_text(json.dumps(report, indent=1), encoding='utf-8')
    print(table(report))

if __name__ == '__main__': main()
