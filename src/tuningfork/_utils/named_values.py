"""Values by name: a dictionary whose KeyError names the nearest key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from .text import nearest

__all__ = ["NamedValues"]

Value = TypeVar("Value")


class NamedValues(dict[str, Value]):
    """A dictionary of values by name.

    Parameters
    ----------
    values : mapping, or iterable of (name, value)
    kind : str
        What a name stands for, for the error.

    Examples
    --------
    >>> NamedValues({"bar_yes": 0.8}, "fraction")["bar_yse"]
    Traceback (most recent call last):
        ...
    KeyError: "no fraction 'bar_yse'; did you mean 'bar_yes'?"
    """

    def __init__(self, values: Mapping[str, Value] | Iterable[tuple[str, Value]] = (), kind: str = "value") -> None:
        super().__init__(values)
        self._kind = kind

    def __missing__(self, name: Any) -> NoReturn:
        raise KeyError(f"no {self._kind} {name!r}{nearest(str(name), self)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedValues, (dict(self), self._kind)
