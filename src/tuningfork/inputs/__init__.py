"""Inputs: folders, catalogues, archives and object stores as items, and the bytes of their images."""

from .._utils.errors import InputError
from .find import Columns, find_items
from .item import InputItem
from .listing import Digest, read_listing, write_listing
from .readers import ItemReader

__all__ = [
    "Columns",
    "Digest",
    "InputItem",
    "InputError",
    "ItemReader",
    "find_items",
    "read_listing",
    "write_listing",
]
