"""Cutouts by position: survey services, Virtual Observatory and mosaics on disk."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cutout_table import CARRIED, TABLE, add_columns, cutouts_schema, is_cutouts
    from .download import CutoutError, CutoutFormat, CutoutSummary, download_cutouts
    from .registry import SurveyOptions, open_source, register_survey
    from .targets import Target, Targets

__all__ = [
    "CARRIED",
    "TABLE",
    "CutoutError",
    "CutoutFormat",
    "CutoutSummary",
    "SurveyOptions",
    "Target",
    "Targets",
    "add_columns",
    "cutouts_schema",
    "download_cutouts",
    "is_cutouts",
    "open_source",
    "register_survey",
]
#: Imported when they are used: the command line only needs the names of the surveys.
_MODULES = {
    "cutout_table": ("CARRIED", "TABLE", "add_columns", "cutouts_schema", "is_cutouts"),
    "download": ("CutoutError", "CutoutFormat", "CutoutSummary", "download_cutouts"),
    "registry": ("SurveyOptions", "open_source", "register_survey"),
    "targets": ("Target", "Targets"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
