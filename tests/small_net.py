"""A network of three convolutions under the name `small`, for tests of commands: what is trained there doesn't matter."""
from torch import nn

from irm_nb.models import BACKBONES, Backbone

class Small(nn.Module):
    "Three convolutions, with the names of modules that methods ask of a ResNet-50"
    def __init__(self, n_classes, in_channels=3, width=16):
        super().__init__()
        self.conv1 = self.block(in_channels, width)
        self.layer2 = self.block(width, 2*width)
        self.layer4 = self.block(2*width, 2*width)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2*width, n_classes)
    def block(self, i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
    def forward(self, x): return self.fc(self.pool(self.layer4(self.layer2(self.conv1(x)))).flatten(1))

SMALL = Backbone(Small, first='conv1.0', top=('layer4','fc'))
BACKBONES['small'] = SMALL
