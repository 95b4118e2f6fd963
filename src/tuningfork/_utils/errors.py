"""The root of all errors that the package raises, and errors of inputs as a whole."""

from __future__ import annotations

__all__ = ["InputError", "TuningforkError"]


class TuningforkError(Exception):
    """The base of every error that tuningfork raises; its message says what to do."""


class InputError(TuningforkError, ValueError):
    """An input that cannot be used as a whole."""
