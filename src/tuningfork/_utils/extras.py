"""Optional dependencies: how the extra that brings a missing library is installed."""

from __future__ import annotations

__all__ = ["install_hint"]


def install_hint(extra: str) -> str:
    """The command that installs an extra of ``pyproject.toml``, for the end of an error message.

    Examples
    --------
    >>> f"FITS needs astropy: {install_hint('sky')}"
    "FITS needs astropy: pip install '.[sky]' in the clone"
    """
    return f"pip install '.[{extra}]' in the clone"
