"""The report's look inside a network: feature maps of its first layers, and Grad-CAM beside a random control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..._utils.extras import install_hint
from ...display import plots
from ...images.encode import jpeg, png
from ...images.image import ImageError
from ...images.read import read_image
from ..runs import Study
from ..scores import best_run

__all__ = ["look_inside"]

#: The paper's figure of feature maps is of this network.
_PAPERS_NETWORK = "resnet50"
_RGB = NDArray[np.uint8]


def look_inside(numbers: Mapping[str, Any], study: Study) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw feature maps and Grad-CAM of a run that has its checkpoint.

    Returns
    -------
    shown, numbers : dict
        What the page shows: ``maps``, ``cam``, and ``absent``, why there are none. And for metrics.json what was
        drawn.
    """
    shown: dict[str, Any] = {"maps": None, "cam": None, "absent": ""}
    drawn: dict[str, Any] = {}
    try:
        from .. import grad_cam
    except ImportError as error:
        absent = f"PyTorch and timm are needed to look inside ({error}): {install_hint('train')}."
        return shown | {"absent": absent}, {"absent": absent}
    runs = [run for run in study.runs if (run.folder / "best.ckpt").exists()]
    images = _example_images(numbers, study)
    if not runs or not images:
        absent = "No run has its best.ckpt any more." if not runs else "No image of a judged galaxy can be read."
        return shown | {"absent": absent}, {"absent": absent}
    best = best_run(runs, "classes") or best_run(runs, "votes") or runs[0]
    mapped = next((run for run in runs if run.network == _PAPERS_NETWORK), best)
    try:
        network, preprocess = grad_cam.load_network(mapped)
        galaxy, first = images[0]
        maps = grad_cam.feature_maps(network, preprocess(first)[None])
        shown["maps"] = {
            "run": mapped.name,
            "network": mapped.network,
            "galaxy": galaxy,
            "size": preprocess.size,
            "image": _enlarged(preprocess.resized(first)),
            "layers": [
                (f"{each.layer}: {len(each.maps)} of {each.channels} channels, {each.side}×{each.side}",
                 _tiles(each.maps))
                for each in maps
            ],
        }  # fmt: skip
        layers = [{"layer": e.layer, "shown": len(e.maps), "channels": e.channels, "side": e.side} for e in maps]
        drawn["feature_maps"] = {"run": mapped.name, "galaxy": galaxy, "layers": layers}
        if best is not mapped:
            network, preprocess = grad_cam.load_network(best)
        overlays = grad_cam.grad_cam(best, network, preprocess, [image for _, image in images])
        galaxies = [(id_, overlay) for (id_, _), overlay in zip(images, overlays, strict=True)]
        shown["cam"] = {
            "run": best.name,
            "network": best.network,
            "min_cells": grad_cam.MIN_CELLS,
            "cells": overlays[0].cells,
            "galaxies": [(id_, _panels(id_, overlay)) for id_, overlay in galaxies],
        }
        targets = [{"id": id_, "target": each.target, "cells": each.cells} for id_, each in galaxies]
        drawn["grad_cam"] = {"run": best.name, "galaxies": targets}
    except grad_cam.GradCamError as error:
        shown["absent"] = f"{error}."
        drawn["absent"] = str(error)
    return shown, drawn


def _example_images(numbers: Mapping[str, Any], study: Study) -> list[tuple[str, _RGB]]:
    """One galaxy of each class whose image can be read, or some of the first run."""
    groups = [entries for entries in numbers["galaxies"]["examples"].values() if entries]
    first = study.everything[0]
    if not groups:
        groups = [[{"id": i, "path": p}] for i, p in list(zip(first.ids, first.paths, strict=True))[:6]]
    images = []
    for entries in groups:
        for entry in entries:
            try:
                images.append((entry["id"], read_image(entry["path"]).rgb))
                break
            except (ImageError, OSError, ValueError):
                continue
    return images


def _panels(galaxy: str, overlay: Any) -> list[tuple[str, str, bytes]]:
    """Name, caption and JPEG of the image and of the two overlays."""
    grey = overlay.image.mean(-1, keepdims=True).repeat(3, -1)
    side = overlay.image.shape[0]
    panels = [("image", galaxy, _enlarged(overlay.image, 128))]
    for name, cam in (("trained", overlay.trained), ("random weights", overlay.random)):
        smooth = np.asarray(Image.fromarray(cam).resize((side, side), Image.Resampling.BILINEAR))
        mixed = (0.45 * grey + 0.55 * plots.cividis(smooth)).astype(np.uint8)
        caption = f"{name}: {overlay.target}" if name == "trained" else name
        panels.append((name, caption if cam.any() else f"{name}: nothing supports it", _enlarged(mixed, 128)))
    return panels


def _enlarged(image: _RGB, side: int = 236) -> bytes:
    return jpeg(np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)), 88)


def _tiles(maps: NDArray[np.float32], across: int = 4, side: int = 58) -> bytes:
    """Channels (C, h, w) beside each other in cividis, each between its own least and most: a PNG."""
    step, down = side + 2, -(-len(maps) // across)
    sheet = np.full((down * step - 2, across * step - 2, 3), 255, np.uint8)
    for n, each in enumerate(maps):
        low, high = float(each.min()), float(each.max())
        tile = Image.fromarray(plots.cividis((each - low) / (high - low if high > low else 1)))
        y, x = n // across * step, n % across * step
        sheet[y : y + side, x : x + side] = np.asarray(tile.resize((side, side), Image.Resampling.NEAREST))
    return png(sheet, 128)
