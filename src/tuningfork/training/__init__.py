"""Learning from votes: data, augmentation, networks, the loop, export. Needs the extra `train`."""

from . import _torchvision as _torchvision
