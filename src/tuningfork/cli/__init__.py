"""The command line: one file per command, and the only package that prints."""

from __future__ import annotations

from typing import Any

from .command_line import main

__all__ = ["app", "main"]


def __getattr__(name: str) -> Any:
    """`app` with all commands; `main` imports only the one that is asked for."""
    if name == "app":
        from .command_line import app, load_commands

        load_commands()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
