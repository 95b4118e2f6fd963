"""Columns of structural parameters, in tables of their own and of predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..images.structure import QUANTITIES
from ..tables import Column, ucd
from ..tables.arrow import number_array

__all__ = ["REASON", "STRUCTURE_COLUMNS", "structure_arrays"]

#: statmorph's flags, as its documents number them.
_FLAG = "0 good, 1 suspect, 2 bad, 3 and 4 failed; null: not measured"
#: Why a galaxy of a table of predictions was not measured; its `error` says why it was not predicted.
REASON = Column("structure_error", pa.string(), "Empty, or why the structure was not measured", ucd=ucd.NOTE)
STRUCTURE_COLUMNS = (
    *(
        Column(each.name, pa.float32(), f"{each.description}; null: not measured", each.unit, each.ucd)
        for each in QUANTITIES
    ),
    Column("flag", pa.int8(), f"Quality of the structural parameters: {_FLAG}", ucd=ucd.QUALITY),
    Column("flag_sersic", pa.int8(), f"Quality of the Sérsic fit: {_FLAG}", ucd=ucd.QUALITY),
    Column("pixel_scale", pa.float32(), "Angle of a pixel, null: not known", "arcsec/pixel", "instr.scale;instr.pixel"),
    Column(
        "is_display",
        pa.bool_(),
        "Whether the structure is of display brightness, as in JPEG files, not of flux: concentration and profiles are "
        "then comparable within one survey's images only",
        ucd=ucd.QUALITY,
    ),
)


def structure_arrays(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """The columns `STRUCTURE_COLUMNS`, by name, of rows that `images.structure.structure_row` made; null: not known."""
    arrays = {}
    for column in STRUCTURE_COLUMNS:
        values = [row.get(column.name) for row in rows]
        if pa.types.is_floating(column.type):
            numbers = np.array([math.nan if value is None else value for value in values], np.float64)
            arrays[column.name] = number_array(numbers, np.float32)
        else:
            arrays[column.name] = pa.array(values, column.type)
    return arrays
