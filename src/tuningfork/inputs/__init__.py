"""What there is to predict: folders, catalogues, archives and stores as rows, and their pictures' bytes."""

from .entry import Entry
from .errors import InputError
from .finding import Columns, find_entries
from .listing import Digest, read_listing, write_listing
from .opening import Opening

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
