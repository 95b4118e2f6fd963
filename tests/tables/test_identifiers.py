"""Identifiers are exact, or refused: by one rule for label tables, catalogues, archives and files."""

import math
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.images.find import EXTENSIONS as IMAGES
from tuningfork.tables.identifiers import EXTENSIONS, IdentifierError, exact_id, file_id, integer_limit

EXACT = [
    (5, "5"),
    (100502.0, "100502"),
    ("100502.0", "100502"),
    ("100502.", "100502"),
    (" 007 ", "007"),
    ("-0012.0", "-0012"),
]
EXACT += [
    (2**63 - 1, str(2**63 - 1)),
    (None, ""),
    (math.nan, ""),
    ("", ""),
    (b"abc ", "abc"),
    (2.5, "2.5"),
    ("2.5", "2.5"),
]
EXACT += [
    ("J112953.88-000427.4", "J112953.88-000427.4"),
    ("12e4", "12e4"),
    ("5e10", "5e10"),
    ("587722981742084096", "587722981742084096"),
]
EXACT += [(Decimal("7.00"), "7"), ("1.0.0", "1.0.0"), ("e+5", "e+5"), ("\udcff", "\\xff"), ("NGC 1", "NGC 1")]
LOST = [
    "3.91E+16",
    "3.91e16",
    "3E+16",
    "1.5e-3",
    "39633331515559064.0",
    float(2**53),
    -1e300,
    math.inf,
    "39633331515559064.",
]


def test_exact_identifiers():
    assert [exact_id(value) for value, _ in EXACT] == [text for _, text in EXACT]


def test_identifiers_that_have_lost_their_digits_are_refused():
    accepted = []
    for value in LOST:
        try:
            accepted.append((value, exact_id(value)))
        except IdentifierError as error:
            accepted += [] if "save the column as integers or as text" in str(error) else [(value, error)]
    assert not accepted


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_and_their_text_are_one_galaxy(number):
    assert exact_id(number) == exact_id(str(number)) == str(number)
    if abs(number) < 2**53:
        assert exact_id(float(number)) == exact_id(f"{float(number):.1f}") == str(number)


def test_floats_of_fewer_bits_hold_fewer_integers():
    for kind, limit in ((pa.float32(), 2**24), (pa.float64(), 2**53), (pa.int64(), 2**53)):
        assert integer_limit(kind) == limit
    assert exact_id(16777215.0, integer_limit(pa.float32())) == "16777215"
    with pytest.raises(IdentifierError):
        exact_id(16777216.0, integer_limit(pa.float32()))


def test_a_file_is_its_name_without_known_extensions():
    names = {"a.jpg": "a", "d/a.JPEG": "a", "g.fits.gz": "g", "g.FITS.FZ": "g", "g.fits": "g", ".jpg": ".jpg", "n": "n"}
    names |= {"J1129.88-00.4.png": "J1129.88-00.4", "J1129.88-00.4": "J1129.88-00.4", "0001.image.jpg": "0001.image"}
    names |= {"galaxy.z.fits": "galaxy.z", "s3://b/x.y.webp": "x.y", "v1.2": "v1.2"}
    assert {name: file_id(name) for name in names} == names
    assert all(file_id(f"a{extension}") == "a" for extension in IMAGES)
    assert EXTENSIONS | {".fz", ".gz"} >= IMAGES
