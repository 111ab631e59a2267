#!/usr/bin/env bash
# One command for a bare machine with a GPU, torch, no network and ten minutes: everything it can show, under one folder.
# A step that fails or takes too long leaves its log and doesn't stop the others; the last lines are a short table.
set -u
usage() {
    cat <<'USAGE'
usage: tools/gpu.sh OUT [--wheels DIR] [--device cuda|cpu] [--minutes N] [--quick]

  OUT           folder for logs, figures and gpu.json; must be new or empty
  --wheels DIR  wheels to install first, into OUT/site, without a network and without what they depend on
  --device      cuda (default), or cpu: to see that the command works
  --minutes N   what all steps may take together (default 9.5)
  --quick       tiny sizes: to see that every step runs

Wheels are collected on a machine with a network, for the Python and the system of the machine with the GPU (where they are
others than here, add for instance --python-version 3.12 --platform manylinux_2_28_x86_64):
  pip download --only-binary :all: -d DIR rasterio matplotlib seaborn ipywidgets scikit-learn tqdm safetensors 'fastcore<2'

IRM_NB_DATA, when set, adds a grid on real pairs. PYTHON names the interpreter (default python3).
USAGE
}
refuse() { echo "tools/gpu.sh: $1" >&2; usage >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out= wheels= device=cuda minutes=9.5 quick=
while [ $# -gt 0 ]; do
    case $1 in
        -h|--help) usage; exit 0;;
        --wheels|--device|--minutes) [ $# -gt 1 ] || refuse "$1 needs a value"; declare "${1#--}=$2"; shift;;
        --quick) quick=yes;;
        -*) refuse "unknown option $1";;
        *) [ -z "$out" ] || refuse "one folder, not $out and $1"; out=$1;;
    esac
    shift
done
[ -n "$out" ] || refuse "a folder for the results is missing"
case $device in cuda|cpu) ;; *) refuse "--device is cuda or cpu, not $device";; esac
[[ $minutes =~ ^[0-9]+(\.[0-9]+)?$ ]] || refuse "--minutes is a number, not $minutes"
[ -z "$wheels" ] || ls "$wheels"/*.whl >/dev/null 2>&1 || refuse "no wheels in $wheels"
[ -z "$(ls -A "$out" 2>/dev/null)" ] || refuse "$out isn't empty"
mkdir -p "$out/bench" "$out/site" && out=$(cd "$out" && pwd) || refuse "can't write $out"
[ -z "$wheels" ] || wheels=$(cd "$wheels" && pwd)
[ -z "${IRM_NB_DATA:-}" ] || export IRM_NB_DATA=$(cd "$IRM_NB_DATA" && pwd)

python=${PYTHON:-python3}
export PYTHONPATH=$out/site:$root${PYTHONPATH:+:$PYTHONPATH} IRM_NB_STORE=$out/store IRM_NB_DEVICE=$device TQDM_DISABLE=1 MPLBACKEND=agg
export MPLCONFIGDIR=$out/mpl PYTHONDONTWRITEBYTECODE=1
: > "$out/steps.tsv"
end=$("$python" -c "import time; print(time.time() + 60*$minutes)")
cd "$root" || exit 1

slow=1; [ "$device" = cuda ] || slow=4 # times the limits, which are meant for a GPU

step() { # NAME SECONDS COMMAND...: its output to NAME.log, how it went to steps.tsv
    local name=$1 most=$2 left start code=0 status=ok; shift 2
    left=$("$python" -c "import time; print(int(max(0, min($slow*$most, $end - time.time()))))")
    if [ "$left" -lt 5 ]; then printf '%s\tno time\t0\n' "$name" >> "$out/steps.tsv"; return; fi
    start=$(date +%s)
    timeout --kill-after=5 "$left" "$@" > "$out/$name.log" 2>&1 || code=$?
    case $code in 0) ;; 124|137) status=timeout;; *) status=failed;; esac
    printf '%s\t%s\t%s\n' "$name" "$status" $(($(date +%s) - start)) >> "$out/steps.tsv"
    echo "$status $name" >&2
}
skip() { printf '%s\tskipped\t0\n' "$1" >> "$out/steps.tsv"; }
irm_run() { echo "import sys; from irm_nb.cli import main; sys.exit(main())"; }

install() { # where there is no pip: a wheel is a zip file
    "$python" -m pip install --quiet --no-index --no-deps --target "$out/site" "$wheels"/*.whl && return
    for w in "$wheels"/*.whl; do "$python" -m zipfile -e "$w" "$out/site" || return; done
}
bench() { # ROW
    "$python" -c "$(irm_run)" bench --json --rows "$1" ${quick:+--quick} > "$out/bench/$1.json"
}
times() {
    "$python" -c "import json; from irm_nb.limits import step_times; print(json.dumps(step_times(${quick:+(4,), 2})))" > "$out/times.json"
}
lessons() { # NOTEBOOK FLAG
    "$python" tools/run_cells.py "$1" --flags ${2:+"$2"}
}
grid() { # one process for each seed: the store has locks, and what two of them need is trained once
    local pids=() bad=0 n=4 s
    [ -z "$quick" ] || n=2
    for s in $(seq 0 $((n - 1))); do
        "$python" -c "$(irm_run)" grid "${cells[@]}" --seeds $s-$s --out "$out/grid" > "$out/grid-$s.log" 2>&1 & pids+=($!)
    done
    for p in "${pids[@]}"; do wait "$p" || bad=1; done
    "$python" -c "$(irm_run)" grid "${cells[@]}" --seeds $n --list --out "$out/grid" || bad=1
    return $bad
}
export -f install bench times lessons grid irm_run
export python out wheels quick

[ -z "$wheels" ] && skip install || step install 120 bash -c install
step machine 60 "$python" -c "import json; from irm_nb.bench import machine; print(json.dumps(machine()))"
grep -h '^{' "$out/machine.log" > "$out/machine.json"

for nb in $(grep -rlE '^ *"#\| *cuda' nbs --include='*.ipynb' | sort); do
    step "cells-$(basename "$nb" .ipynb)" 120 bash -c "lessons $nb $([ $device = cuda ] && echo cuda)"
done
step times 60 bash -c times
for row in arithmetic distil paper memory; do step "bench-$row" 75 bash -c "bench $row"; done
step notebook 180 "$python" tools/run_cells.py nbs/analysis/01_transfer.ipynb ${quick:+--before tools/gpu_quick.py}

small="--use tests/small_net.py --set source_arch=small auxiliary_arch=small target_arch=small epochs=1 tau=0"
if [ -n "${IRM_NB_DATA:-}" ]; then cells="standin --methods ours without-irm sl --cloud-scenario half ${quick:+$small}"
elif [ -n "$quick" ]; then cells="demo --samples 120 --per-class 2 $small"
else cells="demo"; fi
step grid 150 bash -c "cells=($cells); grid"
for row in naive map grid; do step "bench-$row" 120 bash -c "bench $row"; done # what can be left out when time runs short

rm -rf "$out/mpl"
"$python" tools/gpu_report.py "$out"
