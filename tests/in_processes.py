"""Trains small networks in as many processes as torchrun starts, and leaves what the first one holds: FOLDER [kill]."""
import os, sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from irm_nb.batches import Batches, channel_stats
from irm_nb.core import joined, rank_and_size
from irm_nb.distill import HardLabels
from irm_nb.irm import REGULATIONS, RegulatedLoss
from irm_nb.scenes import SceneSet
from irm_nb.store import save_tensors
from irm_nb.train import Epochs, Student, TrainConfig, fit

N,K = 42,3 # two batches of 16 and a small one, of 10

def images():
    rng = np.random.default_rng(0)
    labels = np.arange(N) % K
    pixels = rng.integers(0, 120, (N,3,16,16))
    pixels[labels != 0,:,::4] += 120
    pixels[labels != 1,:,:,::4] += 120
    return SceneSet(images=pixels.clip(0, 255).astype(np.uint8), labels=labels, classes=tuple('abc'), ids=range(N))

def regulated(s, how, **more):
    def opinions(i): return 3*torch.randn(N, K, generator=torch.Generator().manual_seed(i))
    return RegulatedLoss({k:opinions(i) for i,k in enumerate(('opt','sar','source'))}, REGULATIONS[how], {}, s.labels, **more)

LOSSES = dict(hard=lambda s: HardLabels(s.labels), batch=lambda s: regulated(s, 'batch'),
              sample=lambda s: regulated(s, 'sample', teach=True))

def plain(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, K))

def with_norms():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(32, 16), nn.BatchNorm1d(16, momentum=None), nn.Dropout(0.3), nn.Linear(16, K))

class Frozen(nn.Sequential):
    "Batch norm that stays in eval mode"
    def train(self, mode=True): return super().train(False)

def frozen(): return Frozen(*with_norms())

NETS = dict(plain=plain, norms=with_norms, frozen=frozen)

def trained(s, net, loss, comp, optimizer='sgd', **choices): # -> (losses of the rounds, weights, all that was logged)
    torch.manual_seed(0)
    m = NETS[net]()
    cfg = TrainConfig(epochs=3, batch=16, lr=0.05, optimizer=optimizer, drawn_clouds=0., **choices)
    history = fit(Student(m, LOSSES[loss](s).on(comp.device)), Epochs(Batches(s, channel_stats(s), comp), range(N), cfg), 'parts')
    return torch.tensor([h['loss'] for h in history]),m.state_dict(),history

ASKED = [('plain','hard',1), ('plain','batch',1), ('plain','sample',1), ('norms','batch',1), ('norms','hard',2), ('frozen','batch',4)]

def answers(comp, asked=ASKED): # -> {name: tensor}
    s = images()
    out = {}
    for net,loss,k in asked:
        losses,state,history = trained(s, net, loss, comp, accumulate=k)
        name = f'{net}-{loss}-{k}'
        out |= {f'{name}-loss':losses} | {f'{name}.{p}':v for p,v in state.items()}
        out |= {f'{name}-{n}':torch.tensor([h[n] for h in history]) for n in history[0]}
    return out

if __name__ == '__main__':
    folder = Path(sys.argv[1])
    with joined('cpu', 'float32') as comp:
        rank,size = rank_and_size()
        (folder/f'pid-{rank}').write_text(str(os.getpid()))
        if sys.argv[2:] == ['forever']:
            cfg = TrainConfig(epochs=10**6, batch=16)
            s = images()
            fit(Student(plain(), LOSSES['hard'](s).on('cpu')), Epochs(Batches(s, channel_stats(s), comp), range(N), cfg), 'on and on')
        found = answers(comp)
        save_tensors(folder/f'answers-{rank}.safetensors', found)
