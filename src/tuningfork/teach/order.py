"""Which galaxies come first: the folder's pictures in, an order of what teaches most out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..catalog import CatalogError, RowError, read_table
from ..images import PictureError, find_pictures, load_picture
from ..labelling import blocks_of_pictures, blocks_of_table, rank
from ..model import load
from ..reading import text
from ..schema import Tree
from .database import TeachError
from .store import Look, Store
from .tally import tally

__all__ = ["GONE", "MODELS_NONE", "Order", "put_in_order", "see_folder"]

#: Instead of a model's name: no model, so the order is drawn.
MODELS_NONE = "none"
#: Compared with one another, and placed by it; what is left comes after, in an order that is drawn.
SHORTLIST, PLACED = 20_000, 2_000
GONE = "is no longer in the folder"
_READERS = 4


@dataclass(frozen=True)
class Order:
    """What decides the order: a table of `tuningfork rank` or `predict`, else a model's name, else chance by `seed`."""

    table: Path | None = None
    model: str = MODELS_NONE
    seed: int = 0


def see_folder(store: Store, folder: Path) -> list[RowError]:
    """Take in the pictures of a folder; those whose ID came before are left out and named.

    Raises
    ------
    TeachError
        If there is no picture.
    """
    found: dict[str, str] = {}
    twice = []
    for path in find_pictures([folder]):
        inside = os.path.relpath(path, folder)
        if path.stem in found:
            reason = f"its ID came before, as {text(found[path.stem])}; rename one of them"
            twice.append(RowError(text(str(path)), 0, text(path.stem), "", reason))
        elif text(inside) != inside:
            twice.append(RowError(text(str(path)), 0, text(path.stem), "", "its name is no UTF-8; rename it"))
        else:
            found[path.stem] = inside
    if not found:
        raise TeachError(f"{folder}: holds no picture; is it the right folder?")
    store.see(found.items(), GONE)
    for look in store.galaxies():
        # A picture may have been mended meanwhile.
        if look.reason not in ("", GONE) and not _why_not(folder / look.path):
            store.leave_out(look.number, "")
    return twice


def put_in_order(store: Store, folder: Path, by: Order, progress: Callable[[int, int], None] | None = None) -> bool:
    """Give every galaxy a place if a new one has none yet; a galaxy whose picture cannot be read is left out.

    What was answered counts as known, so that galaxies like it come later.

    Returns
    -------
    bool
        Whether anything was new.

    Raises
    ------
    CatalogError, BundleError
        If the table or the model cannot be used.
    """
    looks = [look for look in store.galaxies() if not look.reason]
    if all(look.rank is not None for look in looks):
        return False
    unreadable: dict[str, str] = {}
    known = frozenset(tally(store.given(), store.tree).ids)
    if by.table is None and by.model != MODELS_NONE:
        model = load(by.model)
        paths = [folder / look.path for look in looks]
        blocks = _counted(blocks_of_pictures(model, paths), len(paths), progress)
        first = _by_predictions(_told(blocks, unreadable), model.tree, known, by.seed)
    else:
        unreadable = _unreadable(folder, looks, progress)
        first = _by_table(by.table, {look.id for look in looks}, store.tree, known, by.seed) if by.table else []
    for look in looks:
        if look.id in unreadable:
            store.leave_out(look.number, unreadable[look.id])
    placed = {id_: None for id_ in first if id_ not in unreadable}
    rest = [look.id for look in looks if look.id not in placed and look.id not in unreadable]
    store.order([*placed, *np.random.default_rng(by.seed).permutation(sorted(rest)).tolist()])
    return True


def _by_table(path: Path, ids: set[str], tree: Tree, known: frozenset[str], seed: int) -> list[str]:
    table = read_table(path, text=True)
    if {"rank", "id"} <= set(table.column_names):
        try:
            ranks = [float(rank) for rank in table["rank"].to_pylist()]
        except (TypeError, ValueError):
            raise CatalogError(
                f"{path}: column 'rank' has a cell that is no number; write it with tuningfork rank"
            ) from None
        return [id_ for _, id_ in sorted(zip(ranks, table["id"].to_pylist(), strict=True)) if id_ in ids]

    def here() -> Iterator[pa.Table]:
        for block in blocks_of_table(path):
            if "id" not in block.column_names:
                raise CatalogError(f"{path}: no column 'id'; name a table of tuningfork predict or rank")
            yield block.filter(pa.array([str(id_) in ids for id_ in block["id"].to_pylist()], pa.bool_()))

    return _by_predictions(here(), tree, known, seed)


def _by_predictions(blocks: Iterable[pa.Table], tree: Tree, known: frozenset[str], seed: int) -> list[str]:
    found = rank(blocks, tree, count=PLACED, labelled=known, out_of_domain=True, shortlist=SHORTLIST, seed=seed)
    return found.table["id"].to_pylist()


def _told(blocks: Iterable[pa.Table], unreadable: dict[str, str]) -> Iterator[pa.Table]:
    """The same blocks, and a note of each picture that has no prediction."""
    for block in blocks:
        for id_, reason in zip(block["id"].to_pylist(), block["error"].to_pylist(), strict=True):
            if reason:
                unreadable[id_] = reason
        yield block


def _counted(blocks: Iterable[pa.Table], total: int, progress: Callable[[int, int], None] | None) -> Iterator[pa.Table]:
    done = 0
    for block in blocks:
        yield block
        done += block.num_rows
        if progress:
            progress(done, total)


def _unreadable(folder: Path, looks: list[Look], progress: Callable[[int, int], None] | None) -> dict[str, str]:
    reasons = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for done, (look, reason) in enumerate(
            zip(looks, pool.map(_why_not, [folder / look.path for look in looks]), strict=True), 1
        ):
            if reason:
                reasons[look.id] = reason
            if progress:
                progress(done, len(looks))
    return reasons


def _why_not(path: Path) -> str:
    """Why a picture cannot be read, "" if it can."""
    try:
        load_picture(path)
    except PictureError as error:
        return str(error)
    return ""
