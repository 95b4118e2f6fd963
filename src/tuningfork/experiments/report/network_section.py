"""The section of a report that looks into a network: feature maps, and Grad-CAM beside its control."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...display import plots as figures
from ...display.html import Markup, figure, grid, paragraph, section
from ...images.encode import jpeg
from ...images.image import ImageError
from ...images.read import read_image
from ..runs import Study
from ..scores import best_run

__all__ = ["inside"]

#: The paper's figure of feature maps is of this network.
_PAPERS_LOOK = "resnet50"


def inside(numbers: Mapping[str, Any], study: Study) -> tuple[tuple[str, str, Markup], dict[str, Any]]:
    """Feature maps and Grad-CAM of a run that has its checkpoint, and what was drawn, as numbers."""
    title = "Inside a network"
    try:
        from .. import grad_cam as look
    except ImportError as error:
        why = f"PyTorch and timm are needed to look inside ({error}): pip install 'tuningfork[train]'."
        return section("look", title, paragraph(why, "missing")), {"absent": why}
    kept = [run for run in study.runs if (run.folder / "best.ckpt").exists()]
    pictures = _some_pictures(numbers, study)
    if not kept or not pictures:
        why = "No run has its best.ckpt any more." if not kept else "No picture of a judged galaxy can be read."
        return section("look", title, paragraph(why, "missing")), {"absent": why}
    seen: dict[str, Any] = {}
    parts: list[Markup] = []
    best = best_run(kept, "classes") or best_run(kept, "votes") or kept[0]
    mapped = next((run for run in kept if run.network == _PAPERS_LOOK), best)
    try:
        network, preprocess = look.network_of(mapped)
        first_id, first = pictures[0]
        maps = look.feature_maps(network, preprocess(first)[None])
        parts.append(Markup("<h3>Feature maps of the first blocks</h3>"))
        parts.append(
            paragraph(
                f"{mapped.name} ({mapped.network}), galaxy {first_id}: the picture, then the first channels after the "
                "first layers, each between its darkest and brightest value, as in the paper's figure of a ResNet-50."
            )
        )
        shown = [figure(_enlarged(preprocess.resized(first)), f"Galaxy {first_id}", f"input, {preprocess.size} px")]
        for each in maps:
            side = each.maps.shape[-1]
            caption = f"{each.layer}: {len(each.maps)} of {each.of} channels, {side}×{side}"
            shown.append(figure(_tiles(each.maps), f"Feature maps of layer {caption}", caption))
        parts.append(grid(shown, "grid maps"))
        seen["feature_maps"] = {
            "run": mapped.name,
            "galaxy": first_id,
            "layers": [
                {"layer": e.layer, "shown": len(e.maps), "channels": e.of, "side": e.maps.shape[-1]} for e in maps
            ],
        }
        if best is not mapped:
            network, preprocess = look.network_of(best)
        overlays = look.grad_cam(best, network, preprocess, [each for _, each in pictures])
        parts.append(Markup("<h3>Grad-CAM, with a control</h3>"))
        parts.append(
            paragraph(
                f"{best.name} ({best.network}): where the last layer with at least {look.LEAST_CELLS} cells a side "
                f"({overlays[0].cells}×{overlays[0].cells} here) speaks for the predicted answer (Selvaraju et al. "
                "2017, arXiv:1610.02391). Left the picture, in the middle the trained network, right the same network "
                "with random weights as a control (Adebayo et al. 2018, arXiv:1810.03292): what both show was not "
                "learned. Yellow: most. The cells are coarse; read no detail from them."
            )
        )
        parts.append(
            grid((_triple(id_, overlay) for (id_, _), overlay in zip(pictures, overlays, strict=True)), "grid two")
        )
        seen["grad_cam"] = {
            "run": best.name,
            "galaxies": [
                {"id": i, "target": o.target, "cells": o.cells} for (i, _), o in zip(pictures, overlays, strict=True)
            ],
        }
    except look.LookError as error:
        parts.append(paragraph(f"{error}.", "missing"))
        seen["absent"] = str(error)
    return section("look", title, *parts), seen


def _some_pictures(numbers: Mapping[str, Any], study: Study) -> list[tuple[str, NDArray[np.uint8]]]:
    """One galaxy of each class whose picture can be read, or some of the first run."""
    entries = [entries for entries in numbers["galaxies"]["examples"].values() if entries]
    first = study.everything[0]
    if not entries:
        entries = [[{"id": i, "path": p}] for i, p in list(zip(first.ids, first.paths, strict=True))[:6]]
    out = []
    for each in entries:
        for entry in each:
            try:
                out.append((entry["id"], read_image(entry["path"]).rgb))
                break
            except (ImageError, OSError, ValueError):
                continue
    return out


def _triple(id_: str, overlay: Any) -> Markup:
    grey = overlay.picture.mean(-1, keepdims=True).repeat(3, -1)
    shown = [("picture", overlay.picture, id_)]
    for what, cam in (("trained", overlay.trained), ("random weights", overlay.random)):
        side = overlay.picture.shape[0]
        smooth = np.asarray(Image.fromarray(cam).resize((side, side), Image.Resampling.BILINEAR))
        mixed = 0.45 * grey + 0.55 * figures.coloured(smooth)
        shown.append((what, mixed.astype(np.uint8), _caption(what, cam, overlay.target)))
    return grid(
        [figure(_enlarged(image, 128), f"Galaxy {id_}: {what}", caption) for what, image, caption in shown],
        "mosaic triple",
    )


def _caption(what: str, cam: NDArray[np.float32], target: str) -> str:
    if not cam.any():
        return f"{what}: nothing speaks for it"
    return f"{what}: {target}" if what == "trained" else what


def _enlarged(picture_: NDArray[np.uint8], side: int = 236) -> bytes:
    image = Image.fromarray(picture_).resize((side, side), Image.Resampling.BILINEAR)
    return jpeg(np.asarray(image), 88)


def _tiles(maps: NDArray[np.float32], across: int = 4, side: int = 58) -> bytes:
    """Channels (C, h, w) beside each other in cividis, each between its own least and most: a PNG."""
    down = -(-len(maps) // across)
    sheet = Image.new("RGB", (across * (side + 2) - 2, down * (side + 2) - 2), "white")
    for n, each in enumerate(maps):
        low, high = float(each.min()), float(each.max())
        image = Image.fromarray(figures.coloured((each - low) / (high - low if high > low else 1)))
        sheet.paste(
            image.resize((side, side), Image.Resampling.NEAREST), (n % across * (side + 2), n // across * (side + 2))
        )
    stream = io.BytesIO()
    sheet.quantize(128).save(stream, "PNG", optimize=True)
    return stream.getvalue()
