"""A catalogue of positions → a folder of pictures and a table that tells where each comes from."""

from .making import CutoutError, Made, make_cutouts
from .places import Frame, Place, places, survey
from .table import CARRIED, TABLE, is_cutouts

__all__ = [
    "CARRIED",
    "TABLE",
    "CutoutError",
    "Frame",
    "Made",
    "Place",
    "is_cutouts",
    "make_cutouts",
    "places",
    "survey",
]
