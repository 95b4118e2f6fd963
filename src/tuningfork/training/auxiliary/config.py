"""Galaxies to train on beside the labelled ones: each source is named in a TOML file, with what its labels mean."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...votes.tree import DecisionTree
from ..join import TrainError

__all__ = ["KINDS", "LabelSource", "SourceError", "AuxiliaryTarget", "load_sources"]

#: What a source's labels may mean, and what one galaxy of it weighs beside a labelled one if nothing is said.
KINDS = {"votes": 1.0, "classes": 1.0, "labels": 0.1, "counts": 0.1, "teacher": 1.0}
MAX_TOML_BYTES = 2**20
MAX_SOURCES = 100
MAX_LABELS = 1000

_KEYS = {
    "votes": {"own_head"},
    "classes": {"column", "means", "ignores", "or_class"},
    "labels": {"column", "leave_out"},
    "counts": {"columns", "total"},
    "teacher": {"model"},
}
_NEEDS = {"classes": ("column", "means"), "labels": ("column",), "counts": ("columns", "total"), "teacher": ("model",)}


class SourceError(TrainError):
    """A file of sources, or a source, that cannot be used; names it and the remedy."""


@dataclass(frozen=True, slots=True)
class AuxiliaryTarget:
    """One thing that a source says of its galaxies.

    Parameters
    ----------
    kind : str
        "votes": cumulative fractions of the tree, as in the label table itself;
        "classes": a label that leaves open some of the tree's classes, hence says that votes pass thresholds;
        "labels": labels of a scheme of its own, learned by a head of their own;
        "counts": conditional fractions of another reduction of the votes, with the number of volunteers: a
        head of their own, multinomial likelihood;
        "teacher": nothing but pictures; a trained model says the votes and the class.
    weight : float
        Of one galaxy's cost, where a labelled galaxy's is 1.
    column : str
        Of "classes" and "labels".
    means : mapping
        Of "classes": label → keys of the tree's classes of which the galaxy passes one's rule.
    ignores : tuple of str
        Of "classes": keys of questions that the labels' rules did not ask, so their thresholds say nothing.
    or_class : tuple of str
        Of "classes": classes which a galaxy of any label may have beside, since a question was not asked.
    leave_out : tuple of str
        Of "labels": those that say nothing, such as "don't know".
    columns, total : str
        Of "counts": a pattern (``t*_weighted_fraction``) that the columns of all answers match, in the tree's
        order, and the column of the number of volunteers.
    model : str
        Of "teacher": a shipped model's name or a bundle's folder.
    own_head : bool
        Of "votes": whether they are another reduction than the label table's, to be learned apart.
    """

    kind: str
    weight: float
    column: str = ""
    means: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignores: tuple[str, ...] = ()
    or_class: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    columns: str = ""
    total: str = ""
    model: str = ""
    own_head: bool = False


@dataclass(frozen=True, slots=True)
class LabelSource:
    """A folder of pictures and what is known of them.

    Parameters
    ----------
    name : str
    images : tuple of Path
    labels : Path or None
        A table; None if only a teacher speaks.
    id : str
        Its column of the pictures' IDs; "": the tree's ID column, or the first.
    same_as : str
        A column of the IDs of the same galaxies in the label table, "" if there is none.
    frame : float in (0, 1]
        The part of a Galaxy Zoo frame (by side) that its pictures show; a training crops them accordingly.
    any_scale : bool
        Whether its angular scale differs from galaxy to galaxy, for the search for the same galaxy.
    tells : tuple of AuxiliaryTarget
    """

    name: str
    images: tuple[Path, ...]
    labels: Path | None
    id: str
    same_as: str
    frame: float
    any_scale: bool
    tells: tuple[AuxiliaryTarget, ...]


def load_sources(path: str | Path, tree: DecisionTree, teacher: str | Path | None = None) -> tuple[LabelSource, ...]:
    """Read a TOML file of ``[[source]]`` tables; its paths are relative to the file. Raises SourceError.

    `teacher`, a model's name or folder, teaches instead of those that the file names.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_TOML_BYTES:
            raise SourceError(f"{path}: larger than {MAX_TOML_BYTES} bytes; is it a list of sources?")
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); check its name") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not valid TOML: {error}") from None
    tables = values.pop("source", None)
    values.pop("about", None)  # where they come from, licences: for people
    if values:
        raise SourceError(f"{path}: unknown key {next(iter(values))!r}; sources are [[source]] tables")
    if not isinstance(tables, list) or not 1 <= len(tables) <= MAX_SOURCES:
        raise SourceError(f"{path}: 1 to {MAX_SOURCES} [[source]] tables are expected")
    try:
        sources = tuple(_source(table, number, path.parent, tree) for number, table in enumerate(tables, 1))
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"{path}: two sources are called {name!r}")
    if teacher is None:
        return sources
    if not any(tell.kind == "teacher" for source in sources for tell in source.tells):
        raise SourceError(f'{path}: a teacher is given, but no source has a tell of kind "teacher"')
    return tuple(
        replace(
            source,
            tells=tuple(replace(tell, model=str(teacher)) if tell.kind == "teacher" else tell for tell in source.tells),
        )
        for source in sources
    )


def _source(table: Any, number: int, folder: Path, tree: DecisionTree) -> LabelSource:
    read = _Reader(table, f"source {number}")
    name = read.text("name")
    read.where = f"source {name!r}"
    images = read.texts("images") if isinstance(read.values.get("images"), list) else (read.text("images"),)
    labels = read.text("labels", "")
    frame = read.number("frame", 1.0)
    if not 0.05 <= frame <= 1:
        raise SourceError(f"{read.where}: frame = {frame:g} is not in 0.05…1")
    tells = read.values.pop("tells", None)
    source = LabelSource(
        name=name,
        images=tuple(folder / image for image in images),
        labels=folder / labels if labels else None,
        id=read.text("id", ""),
        same_as=read.text("same_as", ""),
        frame=frame,
        any_scale=read.flag("any_scale"),
        tells=tuple(_tell(entry, read.where, folder, tree) for entry in tells) if isinstance(tells, list) else (),
    )
    read.end()
    if not source.tells:
        raise SourceError(f"{read.where}: a [[source.tells]] table must say what is known of its galaxies")
    if labels == "" and any(tell.kind != "teacher" for tell in source.tells):
        raise SourceError(f"{read.where}: labels = FILE is missing; without labels only a teacher can tell anything")
    return source


def _tell(table: Any, where: str, folder: Path, tree: DecisionTree) -> AuxiliaryTarget:
    read = _Reader(table, where)
    kind = read.text("kind")
    if kind not in KINDS:
        raise SourceError(f"{where}: kind = {kind!r} is none of {', '.join(KINDS)}")
    read.where = where = f"{where}, {kind}"
    weight = read.number("weight", KINDS[kind])
    if not 0 < weight <= 1000:
        raise SourceError(f"{where}: weight = {weight:g} is not in 0…1000")
    for key in _NEEDS.get(kind, ()):
        if key not in read.values:
            raise SourceError(f"{where}: {key} is missing")
    if odd := sorted(set(read.values) - _KEYS[kind]):
        raise SourceError(f"{where}: unknown key {odd[0]!r}; it takes weight, {', '.join(sorted(_KEYS[kind]))}")
    means = read.values.pop("means", {})
    if not isinstance(means, Mapping) or not all(_are_texts(keys) and keys for keys in means.values()):
        raise SourceError(f"{where}: means must be a table of label = [keys of classes]")
    tell = AuxiliaryTarget(
        kind=kind,
        weight=weight,
        column=read.text("column", ""),
        means={label: tuple(keys) for label, keys in means.items()},
        ignores=read.texts("ignores"),
        or_class=read.texts("or_class"),
        leave_out=read.texts("leave_out"),
        columns=read.text("columns", ""),
        total=read.text("total", ""),
        model=read.text("model", ""),
        own_head=read.flag("own_head"),
    )
    known = {rule.key for rule in tree.classes}
    for key in (*(key for keys in tell.means.values() for key in keys), *tell.or_class):
        if key not in known:
            raise SourceError(f"{where}: {key!r} is no class of tree {tree.name} ({', '.join(sorted(known))})")
    for key in tell.ignores:
        if key not in {question.key for question in tree.questions}:
            raise SourceError(f"{where}: {key!r} is no question of tree {tree.name}")
    # A folder beside the file goes before a shipped model's name, which holds no path.
    local = folder / tell.model
    return replace(tell, model=str(local)) if tell.model and local.exists() else tell


def matching(columns: list[str], pattern: str) -> list[str]:
    """Those that match a shell pattern, in their order."""
    return [column for column in columns if fnmatchcase(column, pattern)]


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


class _Reader:
    """Takes typed values out of a TOML table; what is left over is an unknown key."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, Mapping):
            raise SourceError(f"{where}: a table is expected")
        self.values, self.where = dict(table), where

    def _take(self, key: str, default: Any, good: type | tuple[type, ...], what: str) -> Any:
        value = self.values.pop(key, default)
        if value is None:
            raise SourceError(f"{self.where}: {key} is missing")
        if not isinstance(value, good) or (isinstance(value, bool) and good is not bool):
            raise SourceError(f"{self.where}: {key} = {value!r}: {what} is expected")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return self._take(key, default, str, "a text")

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._take(key, [], list, "a list of texts")
        if not _are_texts(value):
            raise SourceError(f"{self.where}: {key} = {value!r}: a list of texts is expected")
        return tuple(value)

    def number(self, key: str, default: float) -> float:
        return float(self._take(key, default, (int, float), "a number"))

    def flag(self, key: str) -> bool:
        return self._take(key, False, bool, "true or false")

    def end(self) -> None:
        if self.values:
            raise SourceError(f"{self.where}: unknown key {next(iter(self.values))!r}")
