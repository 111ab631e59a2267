# Run before a notebook's cells by `tools/gpu.sh --quick`: three convolutions in place of every network, one epoch each.
import runpy
from dataclasses import fields, replace
from pathlib import Path

from irm_nb import transfer
from irm_nb.train import TrainConfig

runpy.run_path(str(Path(transfer.__file__).resolve().parent.parent/'tests'/'small_net.py'))

def _short(cfg):
    once = {f.name: replace(getattr(cfg, f.name), epochs=1) for f in fields(cfg) if f.type is TrainConfig}
    return replace(cfg, tau=0., **once, **{f'{role}_arch': 'small' for role in transfer.ROLES})

transfer.PRESETS.update({k: _short(v) for k,v in transfer.PRESETS.items()})
