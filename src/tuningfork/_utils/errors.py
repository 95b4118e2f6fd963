"""What is wrong with an input as a whole."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """An input that cannot be used as a whole; the message names it and the remedy."""
