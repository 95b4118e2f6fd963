"""Values of options that need no conversion, so that a short command does not import what converts the others.

Typer converts each value through pydantic, defaults too: a sixth of the processor's time of one image's prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

__all__ = ["converted_if_needed"]

#: Typer's name for what converts a parameter's values, imported and built when it is first called.
_CONVERTER = "get_runtime_param"


def converted_if_needed(parameters: Sequence[Any]) -> list[Any]:
    """A command's parameters, changed so that Typer converts only the values that are not yet what they should be.

    Under a version of Typer that converts in another way, they stay as they are.
    """
    for each in parameters:
        build, descriptor = getattr(each, _CONVERTER, None), getattr(each, "type_descriptor", None)
        has_own = getattr(getattr(descriptor, "parameter_info", None), "parser", None)
        if build and descriptor and not has_own and _CONVERTER not in vars(each):
            setattr(each, _CONVERTER, _Converter(each, descriptor.annotation, build).itself)
    return list(parameters)


class _Converter:
    """Typer's own, which is built only for a value that needs it, or for whatever else Typer asks of it."""

    def __init__(self, parameter: Any, annotation: Any, build: Callable[[], Any]) -> None:
        self._parameter, self._annotation, self._build = parameter, annotation, build

    def __getattr__(self, name: str) -> Any:
        return getattr(self._build(), name)

    def itself(self) -> _Converter:
        return self

    def coerce(self, value: Any, *arguments: Any, **options: Any) -> Any:
        if not _is_several(self._parameter) and (value is None or self._is_converted(value)):
            return value
        if self._annotation == list[str] and isinstance(value, list | tuple) and all(map(_is_text, value)):
            return list(value)
        return self._build().coerce(value, *arguments, **options)

    def _is_converted(self, value: Any) -> bool:
        if self._annotation is str:
            return _is_text(value)
        if type(value) is not self._annotation:
            return False
        # Ranges are checked of what users give; a default is in its range.
        return isinstance(value, Enum) or (type(value) in (int, float) and value == self._parameter.default)


def _is_several(parameter: Any) -> bool:
    return bool(parameter.multiple or parameter.nargs == -1)


def _is_text(value: Any) -> bool:
    """Whether it is text; a name of a file may hold bytes that are none, which Typer refuses."""
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
