"""The plan of a cross-validated comparison: rows of recipes on the same folds, read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ..training.recipe import Recipe, builtin_recipes, load_recipe
from ..training.validation import StrictModel, explanation
from .plan import StudyError

__all__ = ["FoldPlan", "FoldRow", "load_fold_plan"]

#: TOML has lists alone.
_Tuple = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)


class FoldRow(StrictModel):
    """One line of the table.

    Parameters
    ----------
    name : str
        A short name, for folders.
    what : str
        What is new, in words.
    recipe : str
        A built-in recipe's name, or a file; "" for a row that trains nothing.
    init, sources : str
        As `tuningfork train` takes them; "": none.
    teacher : str
        The row whose model of the same fold is the teacher, instead of the sources' own; "": theirs.
    mean_of : tuple of str
        Rows whose predictions are averaged; such a row trains nothing.
    views : int
        Views that predict, instead of the recipe's; 0: the recipe's.
    seeds : tuple of int
        Of repeats on every fold.
    than : str
        The row that this one is compared with, such as the one that it changes in one thing; "": the first row.
    """

    name: Annotated[str, Field(min_length=1)]
    what: str = ""
    recipe: str = ""
    init: str = ""
    sources: str = ""
    teacher: str = ""
    mean_of: Annotated[tuple[str, ...], _Tuple] = ()
    views: int = 0
    seeds: Annotated[tuple[int, ...], _Tuple, Field(min_length=1)] = (0,)
    than: str = ""

    @model_validator(mode="after")
    def _trained_or_averaged(self) -> FoldRow:
        if bool(self.mean_of) == bool(self.recipe):
            raise ValueError(f"{self.name}: either recipe or mean_of is expected")
        return self


class FoldPlan(StrictModel):
    """Rows that are compared on the same folds.

    Parameters
    ----------
    folds : int
        Folds of what the fraction `test` of the galaxies leaves.
    use : tuple of int
        The folds that are trained; empty: all.
    test : float
    row : tuple of FoldRow
    about : str
        For readers of the file.
    """

    folds: Annotated[int, Field(ge=2)] = 5
    use: Annotated[tuple[int, ...], _Tuple] = ()
    test: Annotated[float, Field(ge=0, le=0.5)] = Recipe().test
    row: Annotated[tuple[FoldRow, ...], _Tuple, Field(min_length=1)]
    about: Any = None

    @model_validator(mode="after")
    def _consistent(self) -> FoldPlan:
        if not set(self.use) <= set(range(self.folds)):
            raise ValueError(f"use = {list(self.use)}: the folds are 0…{self.folds - 1}")
        names: list[str] = []
        for row in self.row:
            if row.name in names:
                raise ValueError(f"two rows are named {row.name!r}")
            for other in filter(None, (*row.mean_of, row.teacher, row.than)):
                if other not in names:
                    raise ValueError(f"{row.name}: builds on {other!r}, which does not come before it")
            names.append(row.name)
        return self

    @property
    def used_folds(self) -> tuple[int, ...]:
        """The folds that are trained."""
        return tuple(sorted(set(self.use))) or tuple(range(self.folds))

    def row_named(self, name: str) -> FoldRow:
        """The row of that name."""
        return next(row for row in self.row if row.name == name)


def load_fold_plan(path: str | Path) -> FoldPlan:
    """Read a plan from TOML: ``folds``, ``use``, ``test`` and ``[[row]]`` tables; paths are relative to the file.

    Raises
    ------
    StudyError
        If it cannot be read, a key is unknown, or a row builds on one that does not come before it.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        plan = FoldPlan(**values)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise StudyError(f"{path}: {explanation(error, FoldPlan)}") from None
    rows = []
    for row in plan.row:
        files = {key: str(path.parent / getattr(row, key)) for key in ("init", "sources") if getattr(row, key)}
        if row.recipe and row.recipe not in builtin_recipes():
            files["recipe"] = str(path.parent / row.recipe)
        rows.append(row.changed(**files))
        try:
            if row.recipe:
                load_recipe(rows[-1].recipe)
        except ValueError as error:
            raise StudyError(f"{path}: row {row.name}: {error}") from None
    return plan.changed(row=tuple(rows))
