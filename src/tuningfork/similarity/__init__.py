"""Similar galaxies: embeddings as an index on disk, and the nearest ones in it. Asking needs the extra `similar`."""

from .build import Block, Built, Tables, blocks_of_predictions, build
from .index import Index, Neighbour
from .index_file import SimilarError
from .query import Found, asked

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
