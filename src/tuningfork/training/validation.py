"""Configuration files validated by pydantic: unknown keys are refused with the nearest known one, types are strict."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["StrictModel", "explanation"]


class StrictModel(BaseModel):
    """A frozen model of a TOML table. Numbers are no texts, truth values no numbers, NaN and infinity no numbers.

    Lists are taken for tuples, since TOML knows lists alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def changed(self, **values: Any) -> Self:
        """A validated copy with some values replaced; None leaves a value as it is."""
        own = {key: getattr(self, key) for key in self.model_fields_set}
        return type(self)(**{**own, **{key: value for key, value in values.items() if value is not None}})


def explanation(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a validation in one line: key, value and what is expected instead."""
    first = error.errors(include_url=False)[0]
    place, kind, value = first["loc"], first["type"], first["input"]
    key = ".".join(part for part in place if isinstance(part, str))
    if kind == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _keys_beside(model, place), 1, 0.5)
        return f"unknown key {key!r}" + (f"; is {near[0]!r} meant?" if near else "")
    if kind == "missing":
        return f"{key} has too few values" if isinstance(place[-1], int) else f"{key} is missing"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "value_error":
        return f"{key} = {value!r}: {message}" if place else message
    return f"{key} = {value!r} is not {message}"


def _keys_beside(model: type[BaseModel], place: tuple[int | str, ...]) -> Iterable[str]:
    fields: dict[str, Any] = model.model_fields
    for name in place[:-1]:
        annotation = fields[name].annotation if name in fields else None
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                fields = inner.model_fields
    return fields
