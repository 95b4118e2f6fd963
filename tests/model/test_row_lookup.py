"""Rows by number, ID, slice and mask are those that NumPy gives for the same list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.model.row_lookup import RowLookup

IDS = ("a", "b", "3", "c", "b")
lookup = RowLookup(IDS, ("smooth",))


@given(st.integers(-7, 6))
def test_a_number_is_that_of_a_list(number: int) -> None:
    if -5 <= number < 5:
        assert IDS[lookup.one(number)] == IDS[number]
    else:
        with pytest.raises(IndexError, match="of 5"):
            lookup.one(number)


@given(st.slices(5), st.lists(st.integers(-5, 4)), st.lists(st.booleans(), min_size=5, max_size=5))
def test_several_are_those_of_an_array(part: slice, numbers: list[int], mask: list[bool]) -> None:
    array = np.arange(5)
    for rows in (part, numbers, mask):
        chosen = rows if isinstance(rows, slice) else np.array(rows, dtype=None if rows else int)
        assert lookup.several(rows).tolist() == array[chosen].tolist()


def test_ids_are_texts_and_name_one_galaxy() -> None:
    assert lookup.several(["c", "a", "3"]).tolist() == [3, 0, 2]
    with pytest.raises(KeyError, match=r"2 galaxies have the ID 'b'"):
        lookup.one("b")
    with pytest.raises(KeyError, match="it is a column"):
        lookup.one("smooth")
    with pytest.raises(IndexError):
        lookup.several([True, False])
    with pytest.raises(TypeError, match="not float64"):
        lookup.several([0.5])
    assert RowLookup((), ()).several([]).tolist() == []
