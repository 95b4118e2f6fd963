"""`tuningfork study`: the group of the experiments' commands."""

from __future__ import annotations

import typer

from .options import app

__all__ = ["study_app"]

study_app = typer.Typer(no_args_is_help=True, help="The paper's experiments, and searches.")
app.add_typer(study_app, name="study")
