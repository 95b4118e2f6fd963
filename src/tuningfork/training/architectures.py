"""Two networks that timm lacks, under its names: `dai_tong` and `galaxy_se_resnet`."""

from __future__ import annotations

from typing import Any

from timm.layers import BatchNormAct2d, create_conv2d
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from timm.models.resnetv2 import ResNetV2
from torch import nn

__all__ = ["dai_tong", "galaxy_se_resnet"]


@register_model
def dai_tong(pretrained: bool = False, **options: Any) -> ResNetV2:
    """ResNet-26 after Dai & Tong 2018, arXiv:1807.10406: pre-activation bottlenecks, two a stage, first filters 6×6.

    There are no published weights. Strides and widths, where the text leaves them open, are ResNet's.
    """
    if pretrained:
        raise RuntimeError("there are no published weights of dai_tong")
    network = ResNetV2(
        layers=(2, 2, 2, 2),
        channels=(256, 512, 1024, 2048),
        stem_type="same",
        conv_layer=create_conv2d,
        norm_layer=BatchNormAct2d,
        **_known(options),
    )
    network.stem.conv = nn.Conv2d(3, network.stem.conv.out_channels, 6, padding=3, bias=False)
    return network


@register_model
def galaxy_se_resnet(pretrained: bool = False, **options: Any) -> ResNet:
    """A small residual network with squeeze-and-excitation (Hu et al. 2018): eight blocks of 48 to 384 channels.

    Kalvankar et al. 2020 report such a network of their own (RMSE 0.0911) without its layers; these are ours.
    """
    if pretrained:
        raise RuntimeError("there are no published weights of galaxy_se_resnet")
    return ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        channels=(48, 96, 192, 384),
        stem_width=48,
        block_args={"attn_layer": "se"},
        **_known(options),
    )


def _known(options: dict[str, Any]) -> dict[str, Any]:
    # timm hands every network what it knows of weights; these have none.
    return {key: value for key, value in options.items() if not key.startswith("pretrained") and key != "cache_dir"}
