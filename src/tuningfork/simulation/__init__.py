"""Galaxies of known shape, their pictures, and the votes a crowd of volunteers would give them.

For tests, demonstrations and load: labels are exact, licences no question, and any number can be had.
Galaxy `index` of population `seed` is the same in every run, whatever else is drawn.
"""

from .contaminants import CONTAMINANTS, contaminated
from .dataset import SimulationError, galaxies, galaxy_id, simulate
from .galaxy import Galaxy, draw
from .render import light, render
from .volunteers import crowd, opinions, walk

__all__ = [
    "CONTAMINANTS",
    "Galaxy",
    "SimulationError",
    "contaminated",
    "crowd",
    "draw",
    "galaxies",
    "galaxy_id",
    "light",
    "opinions",
    "render",
    "simulate",
    "walk",
]
