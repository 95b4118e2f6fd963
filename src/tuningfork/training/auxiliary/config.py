"""Auxiliary sources as a TOML file: folders of images, each with what its labels mean."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, ValidationError, model_validator

from ...votes.tree import DecisionTree
from ..join import TrainError
from ..validation import StrictModel, explanation

__all__ = ["AuxiliaryTarget", "LabelSource", "SourceError", "load_sources", "matching"]

MAX_TOML_BYTES = 2**20
MAX_SOURCES = 100
MAX_LABELS = 1000

Texts = Annotated[tuple[str, ...], Strict(False)]
#: Default weight of a galaxy's loss for each kind of target, beside 1 of a labelled galaxy.
_WEIGHTS = {"votes": 1.0, "classes": 1.0, "labels": 0.1, "counts": 0.1, "teacher": 1.0}
_KEYS = {
    "votes": {"own_head"},
    "classes": {"column", "means", "ignores", "or_class"},
    "labels": {"column", "leave_out"},
    "counts": {"columns", "total"},
    "teacher": {"model"},
}
_REQUIRED = {
    "classes": ("column", "means"),
    "labels": ("column",),
    "counts": ("columns", "total"),
    "teacher": ("model",),
}


class SourceError(TrainError):
    """A file of sources, or a source, that cannot be used; names it and the remedy."""


class AuxiliaryTarget(StrictModel):
    """One target that a source has for its galaxies.

    Parameters
    ----------
    kind : str
        "votes": cumulative fractions of the tree, as in the label table itself;
        "classes": a label that leaves open some of the tree's classes, hence says that votes pass thresholds;
        "labels": labels of a scheme of its own, learned by a head of their own;
        "counts": conditional fractions of another reduction of the votes, with the number of volunteers: a
        head of their own, multinomial likelihood;
        "teacher": images without labels; a trained model predicts the votes and the class (distillation).
    weight : float
        Of one galaxy's loss, where a labelled galaxy's is 1.
    column : str
        Of "classes" and "labels".
    means : mapping
        Of "classes": label → keys of the tree's classes of which the galaxy passes one's rule.
    ignores : tuple of str
        Of "classes": keys of questions that the labels' rules do not contain, so their thresholds are unknown.
    or_class : tuple of str
        Of "classes": classes which a galaxy of any label may have beside, since a question was left out.
    leave_out : tuple of str
        Of "labels": those without information, such as "don't know".
    columns, total : str
        Of "counts": a pattern (``t*_weighted_fraction``) that the columns of all answers match, in the tree's
        order, and the column of the number of volunteers.
    model : str
        Of "teacher": a shipped model's name or a bundle's folder.
    own_head : bool
        Of "votes": whether they are another reduction than the label table's, to be learned by a head of their own.
    """

    kind: Literal["votes", "classes", "labels", "counts", "teacher"]
    weight: float = Field(gt=0, le=1000)
    column: str = ""
    means: dict[str, Annotated[Texts, Field(min_length=1)]] = Field(default_factory=dict)
    ignores: Texts = ()
    or_class: Texts = ()
    leave_out: Texts = ()
    columns: str = ""
    total: str = ""
    model: str = ""
    own_head: bool = False

    @model_validator(mode="before")
    @classmethod
    def _with_weight(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("kind"), str):
            return {"weight": _WEIGHTS.get(values["kind"], 1.0), **values}
        return values

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> AuxiliaryTarget:
        for key in _REQUIRED.get(self.kind, ()):
            if key not in self.model_fields_set:
                raise ValueError(f"{key} is missing")
        if odd := sorted(self.model_fields_set - {"kind", "weight"} - _KEYS[self.kind]):
            known = ", ".join(sorted(_KEYS[self.kind]))
            raise ValueError(f"unknown key {odd[0]!r}; kind {self.kind!r} takes weight, {known}")
        return self


class LabelSource(StrictModel):
    """A folder of images and their labels.

    Parameters
    ----------
    name : str
    images : tuple of Path
    labels : Path or None
        A table; None if all targets come from a teacher.
    id : str
        Its column of the images' IDs; "": the tree's ID column, or the first.
    same_as : str
        A column of the IDs of the same galaxies in the label table, "" if there is none.
    frame : float in (0, 1]
        The part of a Galaxy Zoo frame (by side) that its images show; a training crops them accordingly.
    any_scale : bool
        Whether its angular scale differs from galaxy to galaxy, for the search for the same galaxy.
    targets : tuple of AuxiliaryTarget
    """

    name: str = Field(min_length=1)
    images: Annotated[tuple[Annotated[Path, Strict(False)], ...], Strict(False)]
    labels: Annotated[Path, Strict(False)] | None = None
    id: str = ""
    same_as: str = ""
    frame: float = Field(1.0, ge=0.05, le=1)
    any_scale: bool = False
    targets: Annotated[tuple[AuxiliaryTarget, ...], Strict(False)]

    @model_validator(mode="before")
    @classmethod
    def _one_folder(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("images"), str):
            return {**values, "images": (values["images"],)}
        return values

    @model_validator(mode="after")
    def _has_labels(self) -> LabelSource:
        if not self.targets:
            raise ValueError("a [[source.targets]] table must describe its labels")
        if self.labels is None and any(target.kind != "teacher" for target in self.targets):
            raise ValueError("labels = FILE is missing; without labels only a teacher gives targets")
        return self


def load_sources(path: str | Path, tree: DecisionTree, teacher: str | Path | None = None) -> tuple[LabelSource, ...]:
    """Read a TOML file of ``[[source]]`` tables; its paths are relative to the file.

    `teacher`, a model's name or folder, teaches instead of those that the file names. Raises SourceError.
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
    sources = []
    for number, table in enumerate(tables, 1):
        name = table.get("name") if isinstance(table, dict) else None
        try:
            sources.append(_resolve_paths(LabelSource.model_validate(table), path.parent, tree, teacher))
        except ValidationError as error:
            which = f"source {name!r}" if name else f"source {number}"
            raise SourceError(f"{path}: {which}: {explanation(error, LabelSource)}") from None
        except SourceError as error:
            raise SourceError(f"{path}: source {name!r}: {error}") from None
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise SourceError(f"{path}: two sources are called {name!r}")
    if teacher is not None and not any(target.kind == "teacher" for source in sources for target in source.targets):
        raise SourceError(f'{path}: a teacher is given, but no source has a target of kind "teacher"')
    return tuple(sources)


def _resolve_paths(source: LabelSource, folder: Path, tree: DecisionTree, teacher: str | Path | None) -> LabelSource:
    """A source with paths relative to its file's folder and its teachers; its keys are those of the tree."""
    classes, questions = [rule.key for rule in tree.classes], [question.key for question in tree.questions]
    targets = []
    for target in source.targets:
        for key in (*(key for keys in target.means.values() for key in keys), *target.or_class):
            if key not in classes:
                raise SourceError(f"{key!r} is no class of tree {tree.name} ({', '.join(sorted(classes))})")
        for key in target.ignores:
            if key not in questions:
                raise SourceError(f"{key!r} is no question of tree {tree.name}")
        model = target.model
        if target.kind == "teacher":
            # A folder beside the file goes before a shipped model's name, which holds no path.
            model = str(teacher or (folder / model if (folder / model).exists() else model))
        targets.append(target.model_copy(update={"model": model}))
    return source.model_copy(
        update={
            "images": tuple(folder / image for image in source.images),
            "labels": source.labels and folder / source.labels,
            "targets": tuple(targets),
        }
    )


def matching(columns: list[str], pattern: str) -> list[str]:
    """Those that match a shell pattern, in their order."""
    return [column for column in columns if fnmatchcase(column, pattern)]
