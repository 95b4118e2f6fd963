"""tuningfork tells the morphology of galaxies from their pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from .model.model import load


def __getattr__(name: str) -> object:
    # Lazy: `tuningfork --version` should not pay for ONNX Runtime.
    if name == "load":
        from .model.model import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
