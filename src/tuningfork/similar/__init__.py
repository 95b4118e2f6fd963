"""Similar galaxies: embeddings as an index on disk, and the nearest ones in it. Asking needs the extra `similar`."""

from .asking import Found, asked
from .building import Block, Built, Tables, blocks_of_predictions, build
from .file import SimilarError
from .index import Index, Neighbour

__all__ = [
    "Block",
    "Built",
    "Found",
    "Index",
    "Neighbour",
    "SimilarError",
    "Tables",
    "asked",
    "blocks_of_predictions",
    "build",
]
