"""Choice of the arithmetic: bfloat16 where the processor has it and the model's intervals are wide enough for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .ensemble import Running
from .image_reader import LoadedImage
from .model import Model
from .options import InferenceOptions
from .runtime import RuntimeUnavailable

__all__ = ["N_COMPARED", "PrecisionChoice", "choose_precision"]

#: Images whose predictions are compared.
N_COMPARED = 64
#: Largest root-mean-square deviation of an answer, as a share of half its intervals' mean width. An independent error
#: of a tenth of another one makes their sum wider by half a percent.
MOST = 0.1


@dataclass(frozen=True, slots=True)
class PrecisionChoice:
    """Which arithmetic was chosen, and why.

    Parameters
    ----------
    precision : "f32" or "bf16"
    reason : str
    rms, largest : float
        Of the deviations of the fractions from those in float32; NaN if they were not compared.
    of_interval : float
        The largest ratio, over the answers, of the root-mean-square deviation to half the intervals' mean width; NaN
        if they were not compared.
    """

    precision: str
    reason: str
    rms: float = np.nan
    largest: float = np.nan
    of_interval: float = np.nan


def choose_precision(
    model: Model, images: Sequence[LoadedImage], options: InferenceOptions = InferenceOptions()
) -> tuple[Model, PrecisionChoice]:
    """Compare bfloat16 with float32 on images, and return the model to predict with.

    bfloat16 is chosen if each answer's deviations are, as root mean square, below a tenth of half the mean width of its
    intervals, and no fraction leaves its interval.

    Parameters
    ----------
    model : Model
        Opened in float32.
    images : sequence of LoadedImage
        Such as will be predicted; those that could not be read are ignored.
    options : InferenceOptions
        Views, since intervals hold for one number of them.

    Returns
    -------
    Model, PrecisionChoice
        `model` itself, or the same bundle in bfloat16.
    """
    good = [image for image in images if image.inputs is not None][:N_COMPARED]
    options = InferenceOptions(options.n_views, options.batch_size or 8)
    if model.calibration_of(options.n_views).intervals is None:
        return model, PrecisionChoice("f32", "the model has no intervals for so many views, by which to judge bf16")
    if not good:
        return model, PrecisionChoice("f32", "no image could be read to compare bf16 with")
    running: Running = {**model.running, "precision": "bf16"}
    try:
        faster = Model(model.bundle, **running, framing=model.framing)
    except RuntimeUnavailable as error:
        return model, PrecisionChoice("f32", str(error))
    reference, reduced = (each.predict_loaded(good, options) for each in (model, faster))
    off = np.abs(reduced.fractions - reference.fractions)
    half = (reference.high - reference.low) / 2
    # Questions that nobody would reach have no fraction; answers without intervals cannot be judged.
    known = np.isfinite(off) & np.isfinite(half)
    off, half = np.where(known, off, 0), np.where(known, half, 0)
    count = np.maximum(known.sum(0), 1)
    rms, width = np.sqrt((off**2).sum(0) / count), half.sum(0) / count
    of_interval = float(np.max(rms / np.maximum(width, 1e-9), initial=0, where=known.any(0)))
    inside = ((reduced.fractions >= reference.low) & (reduced.fractions <= reference.high))[known].all()
    enough = of_interval < MOST and inside and not any(reduced.errors) and known.any()
    reason = f"on {len(good)} images bf16 deviates by at most {of_interval:.2f} of half an interval, {MOST} is allowed"
    if not inside:
        reason += "; a fraction leaves its interval"
    total = float(np.sqrt((off**2).sum() / max(int(known.sum()), 1)))
    choice = PrecisionChoice("bf16" if enough else "f32", reason, total, float(off.max(initial=0)), of_interval)
    return (faster if enough else model), choice
