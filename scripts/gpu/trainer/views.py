"""From packed images to what a network sees: at random for training, exactly as a prediction does it, turned."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .family import Family
from .galaxies import CANVAS

#: Pixels of the crop that networks see.
CROP = 212
#: Random changes for every family: a factor of the light.
LIGHT = (0.9, 1.2)
MEAN = STD = 0.5
#: Quarter turns and reflections, in the order in which the package takes 1, 2, 4 or 8 of them.
VIEWS = {1: [0], 2: [0, 4], 4: [0, 1, 2, 3], 8: list(range(8))}


def shrinking(size: int) -> Tensor:
    """The matrix (size, CROP) of Pillow's bilinear resize, as `tuningfork.training.device_images.triangle`."""
    scale = CROP / size
    support = max(scale, 1.0)
    matrix = torch.zeros(size, CROP, dtype=torch.float64)
    for row in range(size):
        centre = (row + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), CROP)
        at = torch.arange(low, high, dtype=torch.float64)
        weights = (1 - ((at - centre + 0.5) / support).abs()).clamp(min=0)
        matrix[row, low:high] = weights / weights.sum()
    return matrix.float()


class Views:
    """From packed pictures to a network's input, at random for training or exactly as a prediction does it."""

    def __init__(self, family: Family, device: torch.device):
        self.family = family
        self.matrix = shrinking(family.size).to(device)
        centres = torch.arange(CROP, device=device, dtype=torch.float32) + 0.5 - CROP / 2
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        self.grid = torch.stack([x, y], -1).reshape(1, -1, 2)

    def random(self, pictures: Tensor) -> Tensor:
        """Turned, flipped, shifted, zoomed, lit and made noisy: (B, 3, 240, 240) uint8 → (B, 3, size, size) float32.

        Sampled at the frame's own resolution, then shrunk; beyond the packed middle the sky is reflected.
        """
        count, device, family = len(pictures), pictures.device, self.family
        angle = uniform(count, -math.radians(family.angle), math.radians(family.angle), device)
        zoom = torch.exp(uniform(count, -family.zoom, family.zoom, device))
        flip = (torch.rand(count, 2, device=device) < 0.5).float() * 2 - 1
        shift = uniform((count, 1, 2), -family.shift * CROP, family.shift * CROP, device)
        cos, sin = torch.cos(angle), torch.sin(angle)
        turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
        turn = turn * flip[:, None, :] / zoom[:, None, None]
        at = (self.grid @ turn.transpose(1, 2) + shift) * (2 / CANVAS)
        at = at.reshape(count, CROP, CROP, 2)
        cut = functional.grid_sample(pictures.float(), at, "bilinear", "reflection", align_corners=False)
        light = uniform((count, 1, 1, 1), LIGHT[0], LIGHT[1], device)
        light = light * uniform((count, 3, 1, 1), 1 - family.tint, 1 + family.tint, device)
        noise = torch.randn_like(cut) * uniform((count, 1, 1, 1), 0, family.noise, device)
        return scaled(self.shrunk((cut * light + noise).clamp(0, 255)))

    def exact(self, pictures: Tensor) -> Tensor:
        """As `Preprocess` and Pillow give it, rounded to bytes after each axis: (B, 3, size, size) of whole numbers."""
        edge = (CANVAS - CROP) // 2
        cut = pictures[:, :, edge : edge + CROP, edge : edge + CROP].float()
        across = (cut @ self.matrix.T + 0.5).floor().clamp(0, 255)
        return (self.matrix @ across + 0.5).floor().clamp(0, 255)

    def shrunk(self, cut: Tensor) -> Tensor:
        return self.matrix @ cut @ self.matrix.T


def scaled(pixels: Tensor) -> Tensor:
    return (pixels / 255 - MEAN) / STD


def turned(pictures: Tensor, view: int) -> Tensor:
    """One of the eight turns and reflections of (B, 3, S, S)."""
    pictures = torch.rot90(pictures, view % 4, (2, 3))
    return pictures.flip(3) if view >= 4 else pictures


def uniform(shape: Any, low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(shape, device=device) * (high - low) + low
