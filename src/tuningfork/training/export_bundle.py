"""From a trained network to its bundle: ONNX, preprocessing, tree, data and figures."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..model.bundle import Bundle, Network, Outputs
from .export_onnx import deviation, halved, to_onnx
from .lightning_module import MorphologyModule

__all__ = ["export_bundle"]

#: Logged to the bundle: what a prediction or a repeat depends on.
_LIBRARIES = ("numpy", "pillow", "simplejpeg", "torch", "timm", "lightning", "onnx", "onnxscript", "onnxruntime")
_OUTPUTS = {
    "both": "Vote fractions of {} and its clean-sample classes",
    "votes": "Vote fractions of {}",
    "classes": "Clean-sample classes of {}",
}


def export_bundle(
    module: MorphologyModule,
    name: str,
    images: NDArray[np.float32],
    counts: Mapping[str, Any],
    scores: Mapping[str, float],
    about: Mapping[str, Any],
) -> tuple[Bundle, dict[str, float]]:
    """Export a trained module.

    Parameters
    ----------
    images : (N, 3, S, S) float32
        Inputs on which PyTorch and ONNX are compared.
    counts, scores, about : mappings
        `TrainingSet.counts`, the best epoch's validation figures, and what `about_run` gave.

    Returns
    -------
    Bundle
    deviations : dict
        Largest difference of a fraction from PyTorch's, with "float32" and "float16" weights.
    """
    recipe, tree = module.recipe, module.tree
    single = to_onnx(module.network, recipe.size)
    half = halved(single)
    outputs = Outputs.of(recipe.task, recipe.output)
    deviations = {
        "float32": deviation(module.network, tree, outputs, single, images),
        "float16": deviation(module.network, tree, outputs, half, images),
    }
    credit = about.get("credit", {})
    bundle = Bundle(
        name=name,
        title=f"{recipe.network} at {recipe.size} px, {tree.title}",
        description=f"{_OUTPUTS[recipe.task].format(tree.title)} from the central {recipe.crop:g} of an image.",
        licence=credit.get("licence", "BSD-3-Clause"),
        attribution=tuple(credit.get("attribution", ())),
        tree=tree,
        networks=(Network(half, recipe.preprocess, recipe.network),),
        outputs=outputs,
        n_views=recipe.views,
        training={
            **{key: value for key, value in about.items() if key.endswith("_sha256")},
            "counts": counts,
            "recipe": recipe.to_dict(),
            **({"auxiliary": about["auxiliary"]} if "auxiliary" in about else {}),
        },
        figures={
            "validation": {recipe.network: scores},
            "deviation": {
                f"largest difference of a fraction from PyTorch, {bits}-bit weights": deviations[f"float{bits}"]
                for bits in (32, 16)
            },
        },
        versions={
            "tuningfork": __version__,
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in _LIBRARIES},
        },
    )
    return bundle, deviations
