"""`tuningfork study`: the group of the experiments' commands."""

from __future__ import annotations

from .command_line import App, app
from .groups import group_of

__all__ = ["study_app"]

study_app = App(no_args_is_help=True, help="The paper's experiments, and searches.")
app.add_typer(study_app, name="study", rich_help_panel=group_of("study"))
