"""Simulated galaxies of known shape, their images, and simulated votes of volunteers.

For tests, demonstrations and load tests: labels are exact, there are no licences, and any number can be made.
Galaxy `index` of population `seed` is the same in every run, whatever else is drawn.
"""

from .contaminants import CONTAMINANTS, contaminate
from .dataset import SimulationError, galaxies, galaxy_id, simulate
from .galaxy import Galaxy, draw
from .render import light, render
from .volunteers import answer_probabilities, simulate_counts, simulate_votes

__all__ = [
    "CONTAMINANTS",
    "Galaxy",
    "SimulationError",
    "contaminate",
    "simulate_votes",
    "draw",
    "galaxies",
    "galaxy_id",
    "light",
    "answer_probabilities",
    "render",
    "simulate",
    "simulate_counts",
]
