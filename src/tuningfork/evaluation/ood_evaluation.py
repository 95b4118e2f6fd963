"""Evaluation of out-of-distribution detection: other surveys, contaminants, synthetic artefacts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._utils.binomial import binomial_interval
from .._utils.environment import available_cores
from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..images.statistics import STATISTICS, appearance
from ..model.bundle import Bundle
from ..model.out_of_domain import DomainError
from ..simulation import CONTAMINANTS, contaminate
from ..tables import RowError
from ..tables.identifiers import file_id
from .metrics import auroc, bootstrap

__all__ = ["DomainEvaluation", "evaluate_domain", "image_statistics"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class DomainEvaluation:
    """Figures as plain numbers, in `report`; images that could not be read, in `errors`."""

    report: dict[str, Any]
    errors: tuple[RowError, ...]


def image_statistics(
    bundle: Bundle, images: Sequence[Path], progress: Progress | None = None
) -> tuple[Floats, list[RowError]]:
    """Measure what the novelty detector judges images by.

    Parameters
    ----------
    bundle : Bundle
        Whose first network's crop and size the images get.
    images : sequence of N paths
    progress : callable (images done, images in all), optional

    Returns
    -------
    (M, D) float64
        `images.statistics.appearance` of the M images that can be read, in their order.
    list of RowError
        The others, with the reason.
    """
    return _statistics(bundle.networks[0].preprocess, [(path, None) for path in images], progress)


def evaluate_domain(
    bundle: Bundle,
    in_domain: Sequence[Path],
    out_of_domain: Mapping[str, Sequence[str | os.PathLike[str]]],
    *,
    n_synthetic: int = 200,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> DomainEvaluation:
    """Measure the false alarms of in-domain galaxies, and for each kind of other image the AUROC and the share flagged.

    AUROC is the probability that an out-of-domain image's score is above that of an in-domain galaxy; 0.5 is chance.

    Parameters
    ----------
    in_domain : sequence of paths
        Images of galaxies like those that the novelty detector was fitted on, but not these themselves.
    out_of_domain : mapping of a kind's name → files or folders
    n_synthetic : int
        So many of `in_domain` are altered in every way of `simulation.CONTAMINANTS`; 0: none.
    resamples, seed : int
        Of the bootstrap; `seed` also of the synthetic images.

    Raises
    ------
    DomainError
        If the model has no novelty detector, or a kind has no image that can be read.
    """
    if bundle.calibration is None or bundle.calibration.domain is None:
        raise DomainError(f"model {bundle.name} has no domain: it gets one by tuningfork calibrate")
    domain, preprocess = bundle.calibration.domain, bundle.networks[0].preprocess
    images_of: dict[str, list[tuple[Path, Change | None]]] = {"": [(path, None) for path in in_domain]}
    images_of |= {kind: [(path, None) for path in find_images(paths)] for kind, paths in out_of_domain.items()}
    for kind in CONTAMINANTS if n_synthetic else ():
        images_of[f"synthetic: {kind}"] = [
            (path, partial(contaminate, kind=kind, seed=seed, index=i, crop=preprocess.crop))
            for i, path in enumerate(in_domain[:n_synthetic])
        ]
    total, done = sum(map(len, images_of.values())), 0
    scores, errors = {}, []
    for kind, images in images_of.items():

        def count(number: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + number, total)

        rows, failed = _statistics(preprocess, images, count)
        if not len(rows):
            raise DomainError(f"{kind or 'in domain'}: no image that can be read; is it the right folder?")
        scores[kind] = domain.scores(rows)
        # The same file fails again in every way of altering it.
        errors += failed if kind in ("", *out_of_domain) else []
        done += len(images)
    usual = scores.pop("")
    report = {
        "model": bundle.name,
        "promised_false_alarms": domain.rate,
        "false_alarms": _share(usual),
        "images": len(usual),
        "kinds": {
            kind: {
                "images": len(strange),
                "auroc": _auroc(usual, strange, resamples, seed),
                "flagged": _share(strange),
            }
            for kind, strange in scores.items()
        },
    }
    return DomainEvaluation(report, tuple(errors))


def _statistics(
    preprocess: Preprocess, images: Sequence[tuple[Path, Change | None]], progress: Progress | None
) -> tuple[Floats, list[RowError]]:
    def measure(each: tuple[Path, Change | None]) -> Floats | RowError:
        path, change = each
        try:
            rgb = read_image(path).rgb
        except ImageError as error:
            return RowError(str(path), 0, file_id(path.name), "", str(error))
        return appearance(preprocess.resized(change(rgb) if change else rgb))

    rows: list[Floats] = []
    errors: list[RowError] = []
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:
        for done, result in enumerate(pool.map(measure, images), 1):
            if isinstance(result, RowError):
                errors.append(result)
            else:
                rows.append(result)
            if progress:
                progress(done, len(images))
    return np.reshape(rows, (len(rows), len(STATISTICS))), errors


def _auroc(usual: Floats, strange: Floats, resamples: int, seed: int) -> dict[str, float | None]:
    scores, count = np.concatenate([usual, strange]), len(usual)

    def score(rows: NDArray[np.int64]) -> float:
        return auroc(scores[rows[rows < count]], scores[rows[rows >= count]])

    return bootstrap(score, len(scores), resamples=resamples, seed=seed).to_dict()


def _share(scores: Floats) -> dict[str, float]:
    hits, count = int((scores > 1).sum()), len(scores)
    low, high = binomial_interval(hits, count)
    return {"value": hits / count, "low": low, "high": high}
