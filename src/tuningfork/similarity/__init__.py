"""Similarity search: an index of embeddings on disk, nearest neighbours in it, a map. Queries need `similar`."""

from .build import Block, BuildReport, EmbeddingTables, blocks_of_predictions, build_index
from .index import Index, Neighbour
from .index_file import SimilarityError
from .query import Match, query

__all__ = [
    "Block",
    "BuildReport",
    "EmbeddingTables",
    "Index",
    "Match",
    "Neighbour",
    "SimilarityError",
    "blocks_of_predictions",
    "build_index",
    "query",
]
