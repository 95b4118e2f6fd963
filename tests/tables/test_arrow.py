"""Numbers and texts as Arrow's: what Arrow itself makes of them, without pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.tables import arrow
from tuningfork.tables.arrow import number_array, number_arrays, text_array, vector_array, vectors

QUICK = settings(max_examples=60, derandomize=True)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
@QUICK
def test_texts_are_what_arrow_makes_of_them(values):
    array = text_array(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))
    as_bytes = [value.encode() for value in values]
    assert text_array(as_bytes, pa.binary()).equals(pa.array(as_bytes, pa.binary()))


@given(st.integers(0, 20), st.integers(1, 5), st.integers(0, 20), st.integers(0, 2**32 - 1))
@QUICK
def test_vectors_are_what_arrow_makes_of_them_and_come_back(rows, width, cut, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, width)).astype(np.float32)
    values[rng.random(rows) < 0.3] = np.nan
    array = vector_array(values)
    array.validate(full=True)
    lists = [None if np.isnan(row).any() else row.tolist() for row in values]
    assert array.equals(pa.array(lists, pa.list_(pa.float32(), width)))
    np.testing.assert_array_equal(vectors(array), values)
    pieces = pa.chunked_array([array.slice(cut), array.slice(0, cut)], array.type)
    np.testing.assert_array_equal(vectors(pieces), np.concatenate([values[cut:], values[:cut]]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.int64, np.bool_])
@given(st.integers(0, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
@QUICK
def test_numbers_are_what_arrow_makes_of_them(dtype, rows, columns, seed):
    rng = np.random.default_rng(seed)
    values, told = rng.integers(0, 100, (rows, columns)).astype(dtype), rng.random(rows) < 0.7
    for array, column in zip(number_arrays(values, dtype, told), values.T, strict=True):
        array.validate(full=True)
        assert array.equals(pa.array(column, mask=~told))


@given(st.lists(st.floats(width=32, allow_infinity=True)))
@QUICK
def test_nan_is_null_unless_the_row_is_reported(values):
    column = np.array(values, np.float64)
    assert number_array(column, np.float64).equals(pa.array(column, mask=np.isnan(column)))
    assert number_array(column, np.float64, np.ones(len(column), bool)).null_count == 0


def test_more_text_than_an_array_holds_is_an_error(monkeypatch):
    monkeypatch.setattr(arrow, "_MOST", 5)
    assert len(text_array(["abc", "de"])) == 2
    with pytest.raises(OverflowError, match="fewer rows"):
        text_array(["abc", "def"])


def test_no_pandas_is_imported():
    code = (
        "import sys, numpy\n"
        "from tuningfork.tables.arrow import number_array, text_array\n"
        "text_array(['a', 'b']), number_array(numpy.zeros(3), numpy.float32)\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
