"""Train, validation and test split, stratified; near-duplicate images stay in one part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PARTS", "SIGNATURE", "near_duplicates", "signature", "split"]

PARTS = ("train", "validation", "test")
#: Correlation of two signatures above which two images show the same galaxy in the same frame.
#: (Of 2,000 galaxies of Galaxy Zoo 2 no two exceed 0.983; one saved again as JPEG of quality 60 stays above 0.997.)
SAME = 0.99
_SIDE = 32
#: Numbers in a signature.
SIGNATURE = _SIDE * _SIDE


def signature(image: NDArray[np.uint8], part: float = 0.5) -> NDArray[np.float32]:
    """A small unit vector (32·32,) of the central `part` of an image (H, W, 3): what two files of one galaxy share."""
    from PIL import Image

    height, width = image.shape[:2]
    box = tuple((1 + sign * part) / 2 * side for sign in (-1, 1) for side in (width, height))
    small = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX, box=box)
    # The root lets faint outskirts count beside the core; the pedestal keeps the sky's noise from counting.
    vector = np.sqrt(np.asarray(small, np.float32) + 8).ravel()
    vector -= vector.mean()
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector


def near_duplicates(signatures: NDArray[np.float32], same: float = SAME, block: int = 2048) -> NDArray[np.int64]:
    """Group numbers (N,) such that images that correlate above `same` share one. Signatures: (N, D)."""
    count = len(signatures)
    group = np.arange(count)

    def root(i: int) -> int:
        while group[i] != i:
            group[i] = group[group[i]]
            i = int(group[i])
        return i

    for start in range(0, count, block):
        rows = signatures[start : start + block]
        for other in range(start, count, block):
            close = rows @ signatures[other : other + block].T > same
            for a, b in zip(*np.nonzero(close), strict=True):
                i, j = root(start + int(a)), root(other + int(b))
                if i != j:
                    group[max(i, j)] = min(i, j)
    return np.array([root(i) for i in range(count)])


def split(
    strata: Sequence[object],
    groups: NDArray[np.int64],
    *,
    validation: float,
    test: float,
    seed: int,
    folds: int = 0,
    fold: int = 0,
    tests: Callable[[str, int], int | None] = lambda stratum, galaxies: None,
) -> NDArray[np.str_]:
    """The part of each galaxy: "train", "validation" or "test".

    Parameters
    ----------
    strata : (N,) hashable
        Each value's galaxies are shared out in the given proportions (a group has its first member's).
    groups : (N,) int
        Galaxies of one group go to one part.
    validation, test : float
        Fractions of the galaxies.
    seed : int
        The same seed, strata and groups give the same parts.
    folds, fold : int
        With `folds` above 0 all that is not tested on is dealt into so many, of which number `fold` is the
        validation part: over all folds each galaxy is validated on once. `validation` then says nothing.
    tests : function of (stratum as text, its galaxies)
        How many of them to test on, where that is prescribed; None: the fraction, rounded. A group that is
        partly of such a stratum is not tested on, so that the number is met.
    """
    rng = np.random.default_rng(seed)
    members: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(row)
    by_stratum: dict[str, list[int]] = {}
    for group, rows in members.items():
        by_stratum.setdefault(str(strata[rows[0]]), []).append(group)
    prescribed = {stratum: tests(stratum, count) for stratum, count in Counter(map(str, strata)).items()}

    def untested(rows: list[int]) -> bool:
        within = {str(strata[row]) for row in rows}
        return len(within) > 1 and any(prescribed[stratum] is not None for stratum in within)

    parts = np.full(len(groups), "train", dtype="U10")
    dealt = 0  # goes on from stratum to stratum, so that small ones do not all fall to the first fold
    for stratum in sorted(by_stratum):
        shuffled = rng.permutation(by_stratum[stratum])
        total = sum(len(members[int(g)]) for g in shuffled)
        fixed = prescribed[stratum]
        want = {
            "test": round(test * total) if fixed is None else fixed,
            "validation": 0 if folds else round(validation * total),
        }
        have = {"test": 0, "validation": 0}
        for group in shuffled:
            rows = members[int(group)]
            for part in ("test", "validation"):
                if have[part] + len(rows) <= want[part] and not (part == "test" and untested(rows)):
                    parts[rows] = part
                    have[part] += len(rows)
                    break
            else:
                if folds:
                    if dealt % folds == fold:
                        parts[rows] = "validation"
                    dealt += 1
    return parts
