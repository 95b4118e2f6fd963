"""Occlusion maps for the page: where the network looked, for a class or an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...images.encode import data_url, png
from ...model.class_calibration import class_probabilities
from ...model.model import Model
from ...model.occlusion import occlusion_map, overlay
from ...model.options import InferenceOptions
from ...votes.fractions import conditional_from_cumulative
from .responses import OcclusionMap

__all__ = ["MAX_SIDE", "explain"]

#: Larger images are shrunk before they are covered 121 times.
MAX_SIDE = 848

_Image = NDArray[np.uint8]
_Score = Callable[[Iterable[_Image]], NDArray[np.float64]]


def explain(model: Model, image: _Image, about: str) -> OcclusionMap:
    """Occlusion map of an image (H, W, 3).

    Parameters
    ----------
    about : str
        Column of a vote fraction; "": the most probable class.

    Raises
    ------
    ValueError
        If there is no such fraction, or the model predicts only classes.
    """
    height, width = image.shape[:2]
    score, name = _score(model, image, about)
    result = occlusion_map(image, score, model.preprocesses[0].window(height, width))
    left, top, side = result.window
    x, y = result.strongest
    return OcclusionMap(
        about=name,
        score=result.score,
        fall=np.round(result.fall, 5).tolist(),
        left=left / width,
        top=top / height,
        width=side / width,
        height=side / height,
        x=x / width,
        y=y / height,
        overlay=data_url(png(overlay(result, height, width))),
    )


def _score(model: Model, image: _Image, about: str) -> tuple[_Score, str]:
    """What to measure while the image is covered, and its name."""
    tree = model.tree

    def predict(images: Iterable[_Image]) -> Any:
        # One view: the others would rotate the map.
        return model.run([model.inputs(each) for each in images], InferenceOptions(1, 32))

    if about and about not in tree.fraction_names:
        raise ValueError(f"{about!r} is no fraction of {tree.title}; such as {tree.fraction_names[0]}")
    if not about and tree.classes:

        def classes(images: Iterable[_Image]) -> NDArray[np.float64]:
            outputs = predict(images)
            votes = outputs.cumulative if model.bundle.outputs.votes else None
            probability, none = class_probabilities(
                model.calibration.classes, tree, votes=votes, probability=outputs.class_probability
            )
            return probability * (1 - np.nan_to_num(none))[:, None]

        best = int(np.argmax(classes([image])[0]))
        return lambda images: classes(images)[:, best], tree.classes[best].name
    complete = predict([image]).cumulative[0]
    if np.isnan(complete).any():
        raise ValueError("this model predicts only classes; leave out `about`")
    at = tree.fraction_names.index(about) if about else int(np.argmax(complete[tree.slices[0]]))
    question = tree.questions[tree.question_numbers[at]]
    text = f"{question.text} {tree.answers[at].text}"
    return lambda images: conditional_from_cumulative(predict(images).cumulative, tree)[:, at], text
