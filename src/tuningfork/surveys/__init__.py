"""A catalogue of positions → a folder of pictures and a table that tells where each comes from."""

from .cutout_table import CARRIED, TABLE, is_cutouts
from .download import CutoutError, Made, make_cutouts
from .targets import Frame, Place, places, survey

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
