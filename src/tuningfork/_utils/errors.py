"""The root of all errors that the package raises, and errors of inputs as a whole."""

from __future__ import annotations

__all__ = ["InputError", "TuningforkError"]


class TuningforkError(Exception):
    """The base of every error that tuningfork raises; its message names the remedy.

    Examples
    --------
    >>> import tuningfork
    >>> try:
    ...     tuningfork.load("no-such-model")
    ... except tuningfork.TuningforkError as error:
    ...     print("not a model" if "no-such-model" in str(error) else error)
    not a model
    """


class InputError(TuningforkError, ValueError):
    """An input that cannot be used as a whole."""
