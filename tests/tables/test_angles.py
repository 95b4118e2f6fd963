"""Angles in every notation are what astropy makes of them, or refused."""

import math
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import Angle
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork._utils.errors import InputError
from tuningfork.tables import Column, arrow_schema
from tuningfork.tables.angles import AngleError, parse_angle, parse_declination, parse_right_ascension, parse_size
from tuningfork.tables.positions import PositionColumns, hours_warning

RA = [("10:00:24", 150.1), ("10 00 24.0", 150.1), ("10h00m24s", 150.1), ("10ʰ00ᵐ24ˢ", 150.1), ("10:00.4", 150.1)]
RA += [("150d06m00s", 150.1), ("150°06′00″", 150.1), ("2.5h", 37.5), ("150.1 deg", 150.1), (" +150.1", 150.1)]
RA += [(-149.9, 210.1), (360, 0), (509.9 + 0.2, 150.1), ("-1e-30", 0.0), ("0:0:0", 0.0)]


def test_right_ascensions_in_every_notation():
    wrong = [
        (text, parse_right_ascension(text)) for text, degrees in RA if abs(parse_right_ascension(text) - degrees) > 1e-9
    ]
    assert not wrong
    assert all(0 <= parse_right_ascension(text) < 360 for text, _ in RA)


@settings(max_examples=200)
@given(
    st.sampled_from("+-"),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59999),
    st.sampled_from([":", " ", "hms", "dms"]),
)
def test_sexagesimal_text_is_what_astropy_reads(sign, whole, minutes, millis, form):
    seconds = f"{millis / 1000:06.3f}"
    if len(form) == 3:
        text = f"{sign}{whole:02d}{form[0]}{minutes:02d}{form[1]}{seconds}{form[2]}"
    else:
        text = f"{sign}{whole:02d}{form}{minutes:02d}{form}{seconds}"
    unit = "deg" if form == "dms" else "hourangle"
    assert parse_angle(text, in_hours=True) == pytest.approx(Angle(text, unit=unit).deg, abs=1e-10)
    if form != "hms":
        assert parse_angle(text) == pytest.approx(Angle(text, unit="deg").deg, abs=1e-10)


def test_declinations_in_hours_are_refused():
    for text in ("05h12m00s", "5.2h", "-1ʰ30ᵐ"):
        with pytest.raises(AngleError, match="in hours, which no declination is"):
            parse_declination(text)
    schema = arrow_schema([Column("ra", pa.float64(), "", "hourangle"), Column("dec", pa.float64(), "", "hourangle")])
    with pytest.raises(InputError, match="column 'dec' is in hourangle"):
        PositionColumns.of("ra", "dec", schema, "t.fits")


def test_declinations_in_every_notation():
    texts = {
        "-01:02:03": -1 - 2 / 60 - 3 / 3600,
        "+10d30m": 10.5,
        "−01 02 03": -1 - 2 / 60 - 3 / 3600,
        " 3 ": 3,
        "-0 30": -0.5,
    }
    assert {text: parse_declination(text) for text in texts} == pytest.approx(texts)


def test_what_is_no_angle_is_refused():
    texts = [
        "east",
        "10:60:00",
        "10:00:60",
        "10.5:20:30",
        "10:20.5:30",
        "1_0",
        "inf",
        "nan",
        "",
        "10:20:30:40",
        "١٠h",
        "12 arc",
    ]
    texts += ["150,1", "10h20", "- 5 5 5 5", "0x10", "10:-5:00", "3 km", True, None, math.inf, [1], "150.1 2.2 1 2"]
    accepted = []
    for text in texts:
        with suppress(AngleError):
            accepted.append((text, parse_angle(text, in_hours=True)))
    assert accepted == [("10h20", 155.0)]


@pytest.mark.parametrize("sentinel", [-999, -9999.0, "9999", -999.99, 721])
def test_marks_of_no_data_are_no_right_ascensions(sentinel):
    with pytest.raises(AngleError, match="outside of 0…360"):
        parse_right_ascension(sentinel)
    with pytest.raises(AngleError, match="outside of -90…90"):
        parse_declination(sentinel)


def test_units_of_columns():
    numbers = {
        "rad": math.pi / 2,
        "hourangle": 6,
        "hr": 6,
        "deg": 90,
        "arcmin": 5400,
        "arcsec": 324000,
        "": 90,
        "urad": math.pi / 2e-6,
    }
    assert {unit: parse_angle(number, unit) for unit, number in numbers.items()} == pytest.approx(
        dict.fromkeys(numbers, 90)
    )
    assert parse_right_ascension("10 00 24", '"h:m:s"') == pytest.approx(150.1)
    assert parse_declination("+02 12 00", '"d:m:s"') == pytest.approx(2.2)
    assert parse_angle("6h", "deg") == 90
    with pytest.raises(AngleError, match="may be hours or"):
        parse_right_ascension("10:00:24", "deg")
    with pytest.raises(AngleError, match="no unit of an angle"):
        parse_angle(1, "pix")


def test_sizes_are_arcseconds_unless_they_have_a_unit():
    assert [parse_size(0.5, "arcmin"), parse_size("7.3"), parse_size("1 arcmin"), parse_size(1, "deg")] == [
        30,
        7.3,
        60,
        3600,
    ]
    for bad in (0, -1, "", None, "nan", "x", math.inf):
        with pytest.raises(AngleError, match="no angle"):
            parse_size(bad)


def table(ra, dec, unit="", ucd="pos.eq.ra"):
    columns = [Column("ra", pa.array(ra).type, "", unit, ucd), Column("dec", pa.array(dec).type, "", unit)]
    return pa.table([pa.array(ra), pa.array(dec)], schema=arrow_schema(columns))


@pytest.mark.parametrize(("unit", "scale"), [("", 1), ("rad", math.pi / 180), ("deg", 1)])
def test_columns_at_once_are_the_rows_one_by_one(unit, scale):
    ra = [10.0, -10.0, None, math.nan, 359.9999, 370.0, -999.0 / scale, 1.0]
    dec = [0.0, 90.0, 1.0, 1.0, -90.0, 5.0, 1.0, 91.0]
    rows = table([None if n is None else n * scale for n in ra], [n * scale for n in dec], unit)
    columns = PositionColumns.of("ra", "dec", rows.schema, "t")
    positions, failures = columns.read_table(rows)
    assert sorted(failures) == [2, 3, 6, 7]
    for row, cells in enumerate(zip(rows["ra"].to_pylist(), rows["dec"].to_pylist(), strict=True)):
        assert np.allclose(positions[row], columns.read(*cells)[:2], equal_nan=True)
    assert failures[2].error == "no position: column 'ra' is empty"
    assert failures[7].column == "dec"


def test_an_integer_that_is_no_angle_is_a_failure_of_its_row():
    positions, failures = PositionColumns("ra", "dec").read_table(table([2**60, 10], [1, 2]))
    assert list(failures) == [0]
    assert positions[1].tolist() == [10, 2]


def test_other_coordinates_are_refused():
    for unit, ucd in (("deg", "pos.galactic.lon"), ("deg", "pos.ecliptic.lon"), ("pix", ""), ("s", "pos.eq.ra")):
        with pytest.raises(InputError, match="t: column 'ra'"):
            PositionColumns.of("ra", "dec", table([1.0], [1.0], unit, ucd).schema, "t")


def test_hours_are_suspected():
    assert "are they hours?" in hours_warning(20, 23.9, "ra")
    assert hours_warning(19, 3.0) == hours_warning(100, 24.1) == ""
