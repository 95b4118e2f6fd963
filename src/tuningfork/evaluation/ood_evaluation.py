"""How well a model tells pictures that are unlike its galaxies: other surveys, contaminants, spoiled frames."""

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

from .._utils.processes import available_cores
from ..images.find import find_images
from ..images.image import ImageError
from ..images.preprocess import Preprocess
from ..images.read import read_image
from ..images.statistics import STATISTICS, appearance
from ..model.bundle import Bundle
from ..model.out_of_domain import DomainError
from ..simulation import CONTAMINANTS, contaminated
from ..tables import RowError
from ..tables.identifiers import file_id
from .metrics import auroc, binomial_interval, bootstrap

__all__ = ["Judgement", "judge", "measured"]

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
Change = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Judgement:
    """Figures as plain numbers, in `report`; pictures that could not be read, in `errors`."""

    report: dict[str, Any]
    errors: tuple[RowError, ...]


def measured(
    bundle: Bundle, pictures: Sequence[Path], progress: Progress | None = None
) -> tuple[Floats, list[RowError]]:
    """`appearance` (N, D) of the pictures that can be read, and the others with their reasons."""
    return _measured(bundle.networks[0].preprocess, [(path, None) for path in pictures], progress)


def judge(
    bundle: Bundle,
    inside: Sequence[Path],
    outside: Mapping[str, Sequence[str | os.PathLike[str]]],
    *,
    made: int = 200,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Judgement:
    """How often galaxies of the domain are flagged, and for each kind of stranger AUROC and the share flagged.

    AUROC is the probability that a stranger's score is above that of a galaxy of the domain: 0.5 is chance.

    Parameters
    ----------
    inside : pictures of galaxies like those that the domain was fitted on, but not these themselves
    outside : mapping of a kind's name → files or folders
    made : int
        So many of `inside` are spoiled in every way of `simulate.contaminants.CONTAMINANTS`; 0: none.
    resamples, seed : int
        Of the bootstrap; `seed` also of the spoiled pictures.

    Raises
    ------
    DomainError
        If the model has no domain, or a kind no picture that can be read.
    """
    if bundle.calibration is None or bundle.calibration.domain is None:
        raise DomainError(f"model {bundle.name} has no domain: it gets one by tuningfork calibrate")
    domain, preprocess = bundle.calibration.domain, bundle.networks[0].preprocess
    wanted: dict[str, list[tuple[Path, Change | None]]] = {"": [(path, None) for path in inside]}
    wanted |= {kind: [(path, None) for path in find_images(paths)] for kind, paths in outside.items()}
    for kind in CONTAMINANTS if made else ():
        wanted[f"made: {kind}"] = [
            (path, partial(contaminated, kind=kind, seed=seed, index=i, crop=preprocess.crop))
            for i, path in enumerate(inside[:made])
        ]
    total, done = sum(map(len, wanted.values())), 0
    scores, errors = {}, []
    for kind, pictures in wanted.items():

        def told(number: int, _: int, before: int = done) -> None:
            if progress:
                progress(before + number, total)

        rows, failed = _measured(preprocess, pictures, told)
        if not len(rows):
            raise DomainError(f"{kind or 'inside'}: no picture that can be read; is it the right folder?")
        scores[kind] = domain.scores(rows)
        # The same file fails again in every way of spoiling it.
        errors += failed if kind in ("", *outside) else []
        done += len(pictures)
    usual = scores.pop("")
    report = {
        "model": bundle.name,
        "promised_false_alarms": domain.rate,
        "false_alarms": _share(usual),
        "pictures": len(usual),
        "kinds": {
            kind: {
                "pictures": len(strange),
                "auroc": _auroc(usual, strange, resamples, seed),
                "flagged": _share(strange),
            }
            for kind, strange in scores.items()
        },
    }
    return Judgement(report, tuple(errors))


def _measured(
    preprocess: Preprocess, pictures: Sequence[tuple[Path, Change | None]], progress: Progress | None
) -> tuple[Floats, list[RowError]]:
    def measure(each: tuple[Path, Change | None]) -> Floats | RowError:
        path, change = each
        try:
            picture = read_image(path).rgb
        except ImageError as error:
            return RowError(str(path), 0, file_id(path.name), "", str(error))
        return appearance(preprocess.resized(change(picture) if change else picture))

    rows: list[Floats] = []
    errors: list[RowError] = []
    with ThreadPoolExecutor(max_workers=available_cores()) as pool:
        for done, found in enumerate(pool.map(measure, pictures), 1):
            (errors if isinstance(found, RowError) else rows).append(found)
            if progress:
                progress(done, len(pictures))
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
