"""Which galaxies come first: those that teach most, as a table or a model says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..model.model import load
from ..tables import CatalogError
from ..votes.tree import DecisionTree
from ..votes.tree_files import builtin_trees, load_tree
from .campaign import Look, Store
from .pictures import unreadable
from .rank import blocks_of_pictures, blocks_of_table, rank

__all__ = ["NO_MODEL", "Order", "put_in_order"]

#: Instead of a model's name: the order is drawn.
NO_MODEL = "none"
#: Compared with one another, and placed by it; what is left comes after, in an order that is drawn.
SHORTLIST, PLACED = 20_000, 2_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Order:
    """What decides the order: a table of `tuningfork rank` or `predict`, else a model, else chance by `seed`."""

    table: Path | None = None
    model: str = NO_MODEL
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.table.resolve() if self.table else self.model}, seed {self.seed}"


def put_in_order(store: Store, folder: Path, by: Order, progress: Progress | None = None) -> bool:
    """Give every galaxy a place, and leave those out whose picture cannot be read.

    Galaxies that somebody has answered stay in front, as they were; what the others would teach is judged beside
    them, as `labelling.rank` does. Of more than `SHORTLIST` a sample weighted by uncertainty is compared.

    Returns
    -------
    bool
        False if all have a place by this very order already, so that nothing was done.

    Raises
    ------
    CatalogError, BundleError
        If the table or the model cannot be used.
    """
    looks = [look for look in store.galaxies() if not look.reason]
    if store.ordered_by == str(by) and all(look.rank is not None for look in looks):
        return False
    answered = {each.galaxy for each in store.given() if not each.undone}
    begun = [look.id for look in looks if look.id in answered]
    if by.table is None and by.model != NO_MODEL:
        first, bad = _by_model(by, folder, looks, answered, progress)
    else:
        bad = unreadable(folder, looks, progress)
        ids = {look.id for look in looks} - set(bad)
        first = _by_table(by.table, ids, store.tree, answered, by.seed) if by.table else []
    for look in looks:
        if look.id in bad:
            store.leave_out(look.number, bad[look.id])
    rest = sorted({look.id for look in looks} - set(begun) - set(first))
    drawn = np.random.default_rng(by.seed).permutation(rest).tolist()
    store.order([id_ for id_ in dict.fromkeys([*begun, *first, *drawn]) if id_ not in bad], str(by))
    return True


def _by_model(
    by: Order, folder: Path, looks: Sequence[Look], answered: set[str], progress: Progress | None
) -> tuple[list[str], dict[str, str]]:
    model, bad = load(by.model), {}

    def told() -> Iterator[pa.Table]:
        done = 0
        for block in blocks_of_pictures(model, [folder / look.path for look in looks]):
            errors = zip(block["id"].to_pylist(), block["error"].to_pylist(), strict=True)
            bad.update({id_: reason for id_, reason in errors if reason})
            yield block
            done += block.num_rows
            if progress:
                progress(done, len(looks))

    try:
        return _ranked(told(), model.tree, answered, by.seed), bad
    except CatalogError:
        # Nothing is left to rank, which is no fault if all are answered or damaged.
        if {look.id for look in looks} <= answered | set(bad):
            return [], bad
        raise


def _by_table(path: Path, ids: set[str], tree: DecisionTree, answered: set[str], seed: int) -> list[str]:
    blocks = blocks_of_table(path)
    begin = next(blocks, None)
    if begin is None:
        raise CatalogError(f"{path}: the table has no row")
    names = set(begin.column_names)
    if "id" not in names:
        raise CatalogError(f"{path}: no column 'id'; name a table of tuningfork predict or rank")
    blocks = chain([begin], blocks)
    if "rank" in names:
        ranks = [place for block in blocks for place in zip(_numbers(block, path), _ids(block), strict=True)]
        return [id_ for _, id_ in sorted(ranks) if id_ in ids]
    # Own classes are ordered by what another tree's votes leave open.
    trees = (tree, *map(load_tree, builtin_trees()))
    told = next((each for each in trees if names >= set(each.fraction_names)), tree)
    here = (block.filter(pa.array([id_ in ids for id_ in _ids(block)], pa.bool_())) for block in blocks)
    return _ranked(here, told, answered, seed, str(path)) if ids - answered else []


def _ranked(
    blocks: Iterable[pa.Table], tree: DecisionTree, answered: set[str], seed: int, source: str = ""
) -> list[str]:
    found = rank(
        blocks,
        tree,
        source=source,
        count=PLACED,
        labelled=frozenset(answered),
        out_of_domain=True,
        shortlist=SHORTLIST,
        seed=seed,
    )
    return found.table["id"].to_pylist()


def _ids(block: pa.Table) -> list[str]:
    return [str(id_) for id_ in block["id"].to_pylist()]


def _numbers(block: pa.Table, path: Path) -> list[float]:
    try:
        return [float(rank) for rank in block["rank"].to_pylist()]
    except (TypeError, ValueError):
        raise CatalogError(
            f"{path}: column 'rank' has a cell that is no number; write it with tuningfork rank"
        ) from None
