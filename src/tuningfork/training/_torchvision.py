"""Lets timm import torchvision beside a build of PyTorch that it was not compiled for.

timm imports torchvision for names only. Where its compiled operators do not load, the import stops
at the registration of `nms`; declaring the operators' signatures is enough to get past it.
"""

from __future__ import annotations

import sys

import torch

__all__: list[str] = []

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    # The library object must live as long as the operators it declares.
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _library.define(f"{operator}{_SIGNATURE}")
    import torchvision  # noqa: F401
