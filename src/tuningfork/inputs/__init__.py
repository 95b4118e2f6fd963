"""What there is to predict: folders, catalogues, archives and stores as rows, and their pictures' bytes."""

from .._utils.errors import InputError
from .find import Columns, find_entries
from .item import Entry
from .listing import Digest, read_listing, write_listing
from .readers import Opening

__all__ = [
    "Columns",
    "Digest",
    "Entry",
    "InputError",
    "Opening",
    "find_entries",
    "read_listing",
    "write_listing",
]
