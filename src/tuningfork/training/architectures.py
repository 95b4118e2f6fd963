"""Networks that timm lacks, under its names; `register_network` adds another."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from timm.layers import BatchNormAct2d, create_conv2d
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn

__all__ = ["dai_tong", "galaxy_se_resnet", "register_network", "sequential_cnn"]


def register_network(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Register a function that returns a network, so that recipes can name it.

    The function takes `num_classes` (0: pooled features) and what a recipe's `network_options` hold; its network has
    an attribute `num_features`, as timm's have.

    Examples
    --------
    >>> @register_network
    ... def tiny_resnet(**options):
    ...     return ResNet(BasicBlock, (1, 1, 1, 1), channels=(8, 16, 32, 64), **options)
    >>> import timm
    >>> timm.create_model("tiny_resnet", num_classes=0).num_features
    64
    """

    @wraps(make)
    def entry(pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            raise RuntimeError(f"there are no published weights of {make.__name__}")
        # timm hands every network what it knows of weights; these have none.
        known = {key: value for key, value in options.items() if not key.startswith("pretrained")}
        known.pop("cache_dir", None)
        return make(**known)

    return register_model(entry)


@register_network
def dai_tong(**options: Any) -> ResNetV2:
    """ResNet-26 after Dai & Tong 2018, arXiv:1807.10406: pre-activation bottlenecks, two a stage, first filters 6×6.

    There are no published weights. Strides and widths, where the text leaves them open, are ResNet's.
    """
    network = ResNetV2(
        layers=(2, 2, 2, 2),
        channels=(256, 512, 1024, 2048),
        stem_type="same",
        conv_layer=create_conv2d,
        norm_layer=BatchNormAct2d,
        **options,
    )
    network.stem.conv = nn.Conv2d(3, network.stem.conv.out_channels, 6, padding=3, bias=False)
    return network


@register_network
def galaxy_se_resnet(**options: Any) -> ResNet:
    """A small residual network with squeeze-and-excitation (Hu et al. 2018): eight blocks of 48 to 384 channels.

    Kalvankar et al. 2020 report such a network of their own (RMSE 0.0911) without its layers; these are ours.
    """
    return ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        channels=(48, 96, 192, 384),
        stem_width=48,
        block_args={"attn_layer": "se"},
        **options,
    )


class _SequentialCNN(nn.Module):
    """Convolutions of 3×3 with ReLU, each followed by the maximum of 2×2, then the mean over all places."""

    def __init__(self, num_classes: int = 0, channels: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.num_features = channels[-1]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise((3, *channels)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], num_classes) if num_classes else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


@register_network
def sequential_cnn(**options: Any) -> _SequentialCNN:
    """A plain sequential CNN without shortcuts or batch norm: four layers of 32 to 256 channels.

    Kalvankar et al. 2020 tried such networks first and left them for residual ones, without layers or scores; these
    layers are ours.
    """
    return _SequentialCNN(**options)
