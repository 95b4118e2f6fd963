"""Example galaxies: for each answer and each class, the simulated galaxies that show it most clearly."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..votes.clean_samples import class_margins
from ..votes.fractions import cumulative_from_conditional
from .galaxy import Galaxy, draw
from .volunteers import answer_probabilities, gz2

__all__ = ["answer_example", "answer_examples", "class_examples"]

#: Galaxies drawn to choose from; rare answers (arcs, dust lanes) need thousands.
POPULATION = 4000
#: Resolution elements in petroR90 at which details begin to show; larger galaxies come first.
RESOLVED = 8.0
#: Of each answer the first of `answer_examples`, by its number in population `_SEED`: what a page shows must not wait
#: until thousands of galaxies are drawn.
_SEED = 2
_FIRST = {
    "Class1.1": 1854,
    "Class1.2": 942,
    "Class1.3": 2695,
    "Class2.1": 1937,
    "Class2.2": 942,
    "Class3.1": 511,
    "Class3.2": 942,
    "Class4.1": 942,
    "Class4.2": 511,
    "Class5.1": 3968,
    "Class5.2": 663,
    "Class5.3": 3878,
    "Class5.4": 1470,
    "Class6.1": 2290,
    "Class6.2": 1854,
    "Class7.1": 1854,
    "Class7.2": 3432,
    "Class7.3": 2468,
    "Class8.1": 1365,
    "Class8.2": 3251,
    "Class8.3": 819,
    "Class8.4": 3000,
    "Class8.5": 1278,
    "Class8.6": 2290,
    "Class8.7": 425,
    "Class9.1": 1937,
    "Class9.2": 859,
    "Class9.3": 3915,
    "Class10.1": 942,
    "Class10.2": 663,
    "Class10.3": 2512,
    "Class11.1": 2893,
    "Class11.2": 3648,
    "Class11.3": 2894,
    "Class11.4": 942,
    "Class11.5": 932,
    "Class11.6": 573,
}


def answer_examples(column: str, count: int = 1, seed: int = _SEED) -> tuple[Galaxy, ...]:
    """Return the simulated galaxies that most volunteers would give an answer of Galaxy Zoo 2's tree.

    Parameters
    ----------
    column : str
        The answer's column, such as ``Class3.1`` (bar: yes).
    count : int, 1 or more
    seed : int
        Of the population to choose from.

    Raises
    ------
    KeyError
        If the tree has no such column.

    Examples
    --------
    >>> answer_examples("Class3.1")[0].bar > 0.5
    True
    """
    columns = gz2().columns
    if column not in columns:
        raise KeyError(f"no column {column!r} in the tree of Galaxy Zoo 2; Class1.1 to Class11.6 are its columns")
    return _clearest(_fractions(seed)[0][:, columns.index(column)], count, seed)


def answer_example(column: str) -> Galaxy:
    """Return the first of `answer_examples` at once.

    Examples
    --------
    >>> answer_example("Class3.1").bar > 0.5
    True
    """
    return _undisturbed(draw(_SEED, _FIRST[column]))


def class_examples(number: int, count: int = 1, seed: int = _SEED) -> tuple[Galaxy, ...]:
    """Return the simulated galaxies whose votes pass a class's thresholds by most.

    Parameters
    ----------
    number : int, 0 to 6
        The class, as in Galaxy Zoo 2's tree.
    count, seed : int
        As in `answer_examples`.

    Examples
    --------
    >>> class_examples(3)[0].kind
    'disk'
    """
    return _clearest(class_margins(_fractions(seed)[0], gz2())[:, number], count, seed)


def _clearest(values: NDArray[np.float64], count: int, seed: int) -> tuple[Galaxy, ...]:
    """By value, and among similar values by how well they are resolved."""
    resolution = _fractions(seed)[1]
    order = np.argsort(-(values - values.min()) * (1 - np.exp(-resolution / RESOLVED)), kind="stable")
    return tuple(_undisturbed(draw(seed, int(index))) for index in order[:count])


def _undisturbed(galaxy: Galaxy) -> Galaxy:
    """The same galaxy in a good night, without anything else in its frame."""
    return replace(galaxy, seeing=1.0, noise=0.6, neighbours=0)


@lru_cache(maxsize=2)
def _fractions(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(POPULATION, 37) cumulative fractions that many volunteers would give, and the (POPULATION,) resolutions."""
    galaxies = [_undisturbed(draw(seed, index)) for index in range(POPULATION)]
    conditional = np.stack([answer_probabilities(galaxy) for galaxy in galaxies])
    # A star that spoils the frame is no example of anything but itself.
    resolution = np.array([0.0 if g.bright_star and g.kind != "star" else g.resolution for g in galaxies])
    return cumulative_from_conditional(conditional, gz2()), resolution
