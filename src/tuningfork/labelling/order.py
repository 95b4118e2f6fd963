"""Active learning: the order of a campaign, by a table or a model, most informative galaxies first."""

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
from .campaign import Campaign
from .image_folder import unreadable
from .rank import RankOptions, predicted_blocks, rank, table_blocks
from .records import CampaignGalaxy

__all__ = ["NO_MODEL", "OrderSource", "put_in_order"]

#: Instead of a model's name: the order is random.
NO_MODEL = "none"
#: Galaxies that are compared with one another, and those that get their place by it; the rest follows at random.
SHORTLIST, PLACED = 20_000, 2_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class OrderSource:
    """What decides the order: a table of `tuningfork rank` or `predict`, else a model, else chance by `seed`."""

    table: Path | None = None
    model: str = NO_MODEL
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.table.resolve() if self.table else self.model}, seed {self.seed}"


def put_in_order(campaign: Campaign, folder: Path, by: OrderSource, progress: Progress | None = None) -> bool:
    """Give every galaxy a place, and exclude those whose image cannot be read.

    Galaxies that somebody has answered stay in front, as they were; the others are ordered as `labelling.rank` does,
    given these. Of more than `SHORTLIST` a sample weighted by uncertainty is compared.

    Returns
    -------
    bool
        False if all have a place by this very order already, so that nothing was done.

    Raises
    ------
    CatalogError, BundleError
        If the table or the model cannot be used.
    """
    galaxies = [galaxy for galaxy in campaign.galaxies() if not galaxy.reason]
    if campaign.ordered_by == str(by) and all(galaxy.rank is not None for galaxy in galaxies):
        return False
    answered = frozenset(each.galaxy for each in campaign.answers() if not each.undone)
    in_front = [galaxy.id for galaxy in galaxies if galaxy.id in answered]
    if by.table is None and by.model != NO_MODEL:
        ranked, reasons = _by_model(by, folder, galaxies, answered, progress)
    else:
        reasons = unreadable(folder, galaxies, progress)
        ids = {galaxy.id for galaxy in galaxies} - set(reasons)
        ranked = _by_table(by.table, ids, campaign.tree, answered, by.seed) if by.table else []
    for galaxy in galaxies:
        if galaxy.id in reasons:
            campaign.exclude(galaxy.number, reasons[galaxy.id])
    rest = sorted({galaxy.id for galaxy in galaxies} - set(in_front) - set(ranked))
    shuffled = np.random.default_rng(by.seed).permutation(rest).tolist()
    order = dict.fromkeys([*in_front, *ranked, *shuffled])
    campaign.set_order([id_ for id_ in order if id_ not in reasons], str(by))
    return True


def _by_model(
    by: OrderSource,
    folder: Path,
    galaxies: Sequence[CampaignGalaxy],
    answered: frozenset[str],
    progress: Progress | None,
) -> tuple[list[str], dict[str, str]]:
    model, reasons = load(by.model), {}

    def blocks() -> Iterator[pa.Table]:
        done = 0
        for block in predicted_blocks(model, [folder / galaxy.path for galaxy in galaxies]):
            errors = zip(block["id"].to_pylist(), block["error"].to_pylist(), strict=True)
            reasons.update({id_: reason for id_, reason in errors if reason})
            yield block
            done += block.num_rows
            if progress:
                progress(done, len(galaxies))

    try:
        return _rank_blocks(blocks(), model.tree, answered, by.seed), reasons
    except CatalogError:
        # Nothing is left to rank, which is no fault if all are answered or damaged.
        if {galaxy.id for galaxy in galaxies} <= answered | set(reasons):
            return [], reasons
        raise


def _by_table(path: Path, ids: set[str], tree: DecisionTree, answered: frozenset[str], seed: int) -> list[str]:
    blocks = table_blocks(path)
    first = next(blocks, None)
    if first is None:
        raise CatalogError(f"{path}: the table has no row")
    names = set(first.column_names)
    if "id" not in names:
        raise CatalogError(f"{path}: no column 'id'; name a table of tuningfork predict or rank")
    blocks = chain([first], blocks)
    if "rank" in names:
        ranks = [pair for block in blocks for pair in zip(_ranks(block, path), _ids(block), strict=True)]
        return [id_ for _, id_ in sorted(ranks) if id_ in ids]
    # A user's own classes are ordered by the uncertainty of another tree's votes.
    trees = (tree, *map(load_tree, builtin_trees()))
    table_tree = next((each for each in trees if names >= set(each.fraction_names)), tree)
    present = (block.filter(pa.array([id_ in ids for id_ in _ids(block)], pa.bool_())) for block in blocks)
    return _rank_blocks(present, table_tree, answered, seed, str(path)) if ids - answered else []


def _rank_blocks(
    blocks: Iterable[pa.Table], tree: DecisionTree, answered: frozenset[str], seed: int, source: str = ""
) -> list[str]:
    options = RankOptions(PLACED, labelled=answered, out_of_domain=True, shortlist=SHORTLIST, seed=seed)
    return rank(blocks, tree, options, source=source).table["id"].to_pylist()


def _ids(block: pa.Table) -> list[str]:
    return [str(id_) for id_ in block["id"].to_pylist()]


def _ranks(block: pa.Table, path: Path) -> list[float]:
    try:
        return [float(rank) for rank in block["rank"].to_pylist()]
    except (TypeError, ValueError):
        raise CatalogError(
            f"{path}: column 'rank' has a cell that is no number; write it with tuningfork rank"
        ) from None
