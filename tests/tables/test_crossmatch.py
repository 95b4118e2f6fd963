"""Catalogues matched by position: against great circles computed one by one, with all that catalogues get wrong."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork._utils.errors import InputError
from tuningfork.inputs import Columns
from tuningfork.tables import Column, about, arrow_schema, read_table, table_writer, ucd, write_table
from tuningfork.tables.crossmatch import Catalogue, CrossmatchResult, MatchError, match, match_ids, radius_of
from tuningfork.tables.positions import ENOUGH

pytest.importorskip("astropy")


def table(places: list[tuple[Any, Any]], **more: list[Any]) -> pa.Table:
    schema = arrow_schema(
        [
            Column("id", pa.string(), "Identifier", ucd=ucd.IDENTIFIER),
            Column("ra", pa.float64(), "Right ascension", "deg", ucd.RIGHT_ASCENSION),
            Column("dec", pa.float64(), "Declination", "deg", ucd.DECLINATION),
        ]
    )
    ras, decs = [ra for ra, _ in places], [dec for _, dec in places]
    out = pa.table([[f"g{n}" for n in range(len(places))], ras, decs], schema=schema)
    for name, values in more.items():
        out = out.append_column(name, pa.array(values))
    return out


def catalogue(places: list[tuple[Any, Any]], name: str = "A", **more: list[Any]) -> Catalogue:
    return Catalogue(table(places, **more), name)


def matched(a: list[tuple[Any, Any]], b: list[tuple[Any, Any]], radius: float = 1, **options: Any) -> CrossmatchResult:
    return match(catalogue(a), catalogue(b, "B"), radius, **options)


def partners(found: CrossmatchResult) -> list[tuple[str | None, str | None]]:
    return list(zip(found.table["id"].to_pylist(), found.table["id_2"].to_pylist(), strict=True))


def apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Arcseconds along the great circle, by Vincenty's formula, in plain Python."""
    ra1, dec1, ra2, dec2 = (math.radians(angle) for angle in (*one, *other))
    d = ra2 - ra1
    across = math.hypot(
        math.cos(dec2) * math.sin(d),
        math.cos(dec1) * math.sin(dec2) - math.sin(dec1) * math.cos(dec2) * math.cos(d),
    )
    along = math.sin(dec1) * math.sin(dec2) + math.cos(dec1) * math.cos(dec2) * math.cos(d)
    return math.degrees(math.atan2(across, along)) * 3600


# ---------------------------------------------------------------- the sky

#: Places where spherical geometry goes wrong: the poles, where right ascension wraps, and one ordinary field.
centres = st.sampled_from([(0.0, 90.0), (123.0, -90.0), (0.0, 0.0), (360.0, 45.0), (187.7, 12.3), (10.0, 89.9999)])


@st.composite
def fields(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    ra, dec = draw(centres)

    def near() -> st.SearchStrategy[tuple[float, float]]:
        step = st.integers(-40, 40).map(lambda k: k / 3600 / 8)
        sides = st.sampled_from([0.0, 90.0, 180.0, 270.0])
        turn = sides if abs(dec) > 89 else st.just(0.0)
        return st.tuples(step, step, turn).map(lambda s: ((ra + s[0] + s[2]) % 360, max(-90.0, min(90.0, dec + s[1]))))

    return tuple(draw(st.lists(near(), min_size=0, max_size=8)) for _ in range(2))  # type: ignore[return-value]


@given(fields(), st.sampled_from([0.3, 1.0, 3.0]), st.booleans())
@settings(max_examples=60, derandomize=True)
def test_partners_are_the_nearest_by_great_circles(field: Any, radius: float, symmetric: bool) -> None:
    a, b = field
    found = matched(a, b, radius, symmetric=symmetric)
    table_ = found.table.to_pylist()
    assert [row["id"] for row in table_] == [f"g{n}" for n in range(len(a))]
    for place, row in zip(a, table_, strict=True):
        distances = [apart(place, other) for other in b]
        least = min(distances, default=math.inf)
        if row["id_2"] is None:
            assert row["separation"] is None
            if not symmetric:
                assert least > radius - 1e-6
        else:
            partner = int(row["id_2"][1:])
            assert distances[partner] <= least + 1e-6
            assert row["separation"] == pytest.approx(distances[partner], abs=1e-6)
            assert row["separation"] <= radius
            if symmetric:
                assert distances[partner] <= min(apart(other, b[partner]) for other in a) + 1e-6
    assert found.pairs == sum(row["id_2"] is not None for row in table_)
    if symmetric:
        assert found.shared == 0
        taken = [row["id_2"] for row in table_ if row["id_2"]]
        assert len(taken) == len(set(taken))


def test_a_pair_across_the_pole_and_across_zero_is_found() -> None:
    a = [(10.0, 90 - 0.1 / 3600), (0.1 / 3600, 0.0), (360.0, 0.0)]
    b = [(190.0, 90 - 0.1 / 3600), (360 - 0.1 / 3600, 0.0)]
    found = matched(a, b)
    assert partners(found) == [("g0", "g0"), ("g1", "g1"), ("g2", "g1")]
    np.testing.assert_allclose(found.table["separation"], [0.2, 0.2, 0.1], atol=1e-6)
    assert found.shared == 1


def test_far_apart_in_right_ascension_only_is_near_at_a_high_declination() -> None:
    # 10 arcsec of right ascension at 89° are 0.17 arcsec on the sky.
    assert matched([(0.0, 89.0)], [(10 / 3600, 89.0)], 0.2).pairs == 1
    assert matched([(0.0, 0.0)], [(10 / 3600, 0.0)], 0.2).pairs == 0


# ---------------------------------------------------------------- joins


A = [(10.0, 0.0), (20.0, 0.0), (30.0, 0.0)]
B = [(30.0, 0.0), (20.0, 0.1 / 3600), (99.0, 0.0), (20.0, 0.0)]


def test_left_keeps_all_of_the_first_in_order() -> None:
    assert partners(matched(A, B)) == [("g0", None), ("g1", "g3"), ("g2", "g0")]


def test_inner_keeps_pairs() -> None:
    assert partners(matched(A, B, join="inner")) == [("g1", "g3"), ("g2", "g0")]


def test_all_keeps_both_and_nothing_twice() -> None:
    found = matched(A, B, join="all")
    assert partners(found) == [("g0", None), ("g1", "g3"), ("g2", "g0"), (None, "g1"), (None, "g2")]
    assert found.table["ra_2"].to_pylist()[3:] == [20.0, 99.0]
    assert found.table["separation"].null_count == 3


def test_symmetric_gives_a_galaxy_to_its_nearest_only() -> None:
    a, b = [(10.0, 0.0), (10.0, 0.5 / 3600)], [(10.0, 0.4 / 3600)]
    assert partners(matched(a, b)) == [("g0", "g0"), ("g1", "g0")]
    assert partners(matched(a, b, symmetric=True)) == [("g0", None), ("g1", "g0")]


@pytest.mark.parametrize("join", ["left", "inner", "all"])
@pytest.mark.parametrize(("a", "b"), [([], []), (A, []), ([], B)])
def test_an_empty_catalogue_matches_nothing(a: Any, b: Any, join: str) -> None:
    found = matched(a, b, join=join)
    assert found.pairs == 0
    assert len(found.table) == {"left": len(a), "inner": 0, "all": len(a) + len(b)}[join]


def test_another_join_is_refused() -> None:
    with pytest.raises(MatchError, match="none of left, inner, all"):
        matched(A, B, join="right")


# ---------------------------------------------------------------- columns


def test_columns_of_both_keep_what_they_mean_and_there_is_one_main_position() -> None:
    b = Catalogue(table(B).rename_columns(["ID", "raj2000", "dec"]), "B")
    found = match(catalogue(A), b, 1)
    assert found.table.column_names == ["id", "ra", "dec", "ID_2", "raj2000", "dec_2", "separation"]
    assert found.renamed == {"ID": "ID_2", "dec": "dec_2"}
    told = {field.name: about(field) for field in found.table.schema}
    assert told["ra"] == {"description": "Right ascension", "unit": "deg", "ucd": "pos.eq.ra;meta.main"}
    assert told["raj2000"] == {"description": "Right ascension", "unit": "deg", "ucd": "pos.eq.ra"}
    assert told["ID_2"]["ucd"] == "meta.id"
    assert told["separation"]["unit"] == "arcsec"
    assert told["separation"]["ucd"] == "pos.angDistance"


def test_an_ending_that_is_taken_gets_another_one() -> None:
    found = match(catalogue(A, id_2=[1, 2, 3]), catalogue(B, "B", separation=[0.0] * 4), 1)
    assert len(set(found.table.column_names)) == len(found.table.column_names)
    assert found.renamed == {"id": "id_2_2", "ra": "ra_2", "dec": "dec_2"}
    assert found.table["separation"].to_pylist() == [None, 0, 0]
    assert found.table["separation_2"].null_count == 1


def test_positions_are_found_by_name_or_named() -> None:
    renamed = table(B).rename_columns(["name", "x", "y"])
    assert match(catalogue(A), Catalogue(renamed, "B.fits"), 1).pairs == 2  # by their UCDs
    other = Catalogue(pa.table(dict(zip(renamed.column_names, renamed.columns, strict=True))), "B.fits")
    with pytest.raises(InputError, match=r"B\.fits: no column of positions .*--ra-column.*name, x, y.*--on id"):
        match(catalogue(A), other, 1)
    named = Catalogue(other.table, "B.fits", Columns(right_ascension="x", declination="y"))
    assert match(catalogue(A), named, 1).pairs == 2


# ---------------------------------------------------------------- positions that are none


def test_identifiers_of_surveys_are_found_where_none_is_usual() -> None:
    a = pa.table({"COADD_OBJECT_ID": [7, 8], "specObjID": [1, 2], "x": [0, 1]})
    b = pa.table({"objid": ["8"], "nsaid": [7]})
    assert match_ids(Catalogue(a, "A"), Catalogue(b, "B"), join="inner").table["x"].to_pylist() == [1]


def test_a_row_without_a_position_stays_and_is_reported() -> None:
    a = [(10.0, 0.0), (None, 0.0), (math.nan, 1.0), (-999.0, 0.0), (20.0, -91.0), (30.0, None)]
    found = matched(a, [(10.0, 0.0), (721.0, 0.0), (None, None)], 3000)
    assert len(found.table) == len(a)
    assert found.pairs == 1
    assert found.failed == 7
    assert [str(error) for error in found.errors] == [
        "A, row 2 (g1), column ra: no position; the row has no partner",
        "A, row 3 (g2), column ra: no position; the row has no partner",
        "A, row 4 (g3), column ra: -999 is outside of 0…360 degrees; the row has no partner",
        "A, row 5 (g4), column dec: -91 is outside of -90…90 degrees; the row has no partner",
        "A, row 6 (g5), column dec: no position; the row has no partner",
        "B, row 2 (g1), column ra: 721 is outside of 0…360 degrees; the row has no partner",
        "B, row 3 (g2), column ra: no position; the row has no partner",
    ]


def test_text_is_parsed_and_what_is_no_angle_is_reported() -> None:
    texts = pa.table({"ra": ["00:40:00", "00:70:00", ""], "dec": ["0", "0", "0"]})
    found = match(Catalogue(texts, "A"), catalogue([(10.0, 0.0)], "B"), 1)
    assert found.pairs == 1
    assert [error.reason for error in found.errors] == [
        "'00:70:00' is no angle: minutes and seconds are below 60; the row has no partner",
        "no position; the row has no partner",
    ]


def test_right_ascensions_in_hours_are_suspected() -> None:
    hours = [(24 * k / ENOUGH, 0.0) for k in range(ENOUGH)]
    assert "are they hours?" in matched(hours, B).warnings[0]
    assert matched([*hours, (25.0, 0.0)], B).warnings == ()
    assert matched(hours[1:], B).warnings == ()


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("deg", 1),
        ("rad", 180 / math.pi),
        ("degrees", 1),
        ("", 1),
        ("arcmin", 1 / 60),
        ("h", 15),
        ("mrad", 0.18 / math.pi),
    ],
)
def test_units_of_positions_are_minded(unit: str, factor: float) -> None:
    # No declination is in hours.
    other, other_factor = ("deg", 1) if unit == "h" else (unit, factor)
    fields = arrow_schema([Column("ra", pa.float64(), "", unit), Column("dec", pa.float64(), "", other)])
    a = pa.table([[10 / factor], [5 / other_factor]], schema=fields)
    assert match(Catalogue(a, "A"), catalogue([(10.0, 5.0)], "B"), 1).pairs == 1


def test_a_unit_that_is_no_angle_is_refused() -> None:
    fields = arrow_schema([Column("ra", pa.float64(), "", "km"), Column("dec", pa.float64(), "", "deg")])
    with pytest.raises(InputError, match="A: column 'ra': 'km' is no unit of an angle; give degrees"):
        match(Catalogue(pa.table([[1.0], [1.0]], schema=fields), "A"), catalogue(B), 1)


# ---------------------------------------------------------------- the radius


@pytest.mark.parametrize(
    ("text", "arcsec"),
    [("1arcsec", 1), ("0.5 arcmin", 30), ("1e-4deg", 0.36), ("200 mas", 0.2), ("1 arcsecond", 1), ("1 degree", 3600)],
)
def test_a_radius_has_a_unit(text: str, arcsec: float) -> None:
    assert radius_of(text) == pytest.approx(arcsec)


@pytest.mark.parametrize(
    "text", ["1", "", "arcsec", "1 m", "1 h", "one arcsec", "0arcsec", "-1arcsec", "nanarcsec", "2deg"]
)
def test_a_radius_that_is_none_is_refused_with_advice(text: str) -> None:
    with pytest.raises(MatchError, match=r"radius .* (1arcsec, 0\.5arcmin|is expected)"):
        radius_of(text)


# ---------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "votes.parquet", tmp_path / "sdss.fits"
    for path, places in zip(paths, (A, B), strict=True):
        content = table(places, **({"lists": [[1, 2]] * len(places)} if path.suffix == ".parquet" else {}))
        with table_writer(path, content.schema) as write:
            write(content)
    return paths


@pytest.mark.parametrize("ending", [".fits", ".vot", ".ecsv", ".csv", ".parquet"])
def test_the_command_joins_any_formats(run: Any, files: tuple[Path, Path], tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"joined{ending}"
    done = run("match", *files, "--radius", "1arcsec", "-o", output)
    assert f"{output}: 3 rows, 2 pairs" in done.stdout
    assert f"columns of {files[1]} that {files[0]} has too are called id_2, ra_2, dec_2\n" in done.stderr
    assert ("left out" in done.stderr) == (ending != ".parquet")
    joined = read_table(output)
    assert [about(joined.schema.field("separation"))[key] for key in ("unit", "ucd")] == ["arcsec", "pos.angDistance"]
    assert joined["ra_2"].to_pylist()[1:] == [20, 30]


def test_the_command_tells_programs_and_bad_rows(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("ra,dec\n20,0\n,0\n")
    done = run(
        *("match", tmp_path / "bad.csv", files[1], "--radius", "1 arcsec", "-o", tmp_path / "j.csv", "--json"), code=3
    )
    told = json.loads(done.stdout)
    assert (told["rows"], told["pairs"], told["failed"]) == (2, 1, 1)
    assert "bad.csv, row 2, column ra: no position" in done.stderr


def test_the_command_reads_a_folder_of_parts(run: Any, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "catalogue.csv").write_text("id,path,ra,dec\na,a.png,10,0\nb,b.png,20,0\n")
    for name in "ab":
        Image.new("RGB", (64, 64), 30).save(tmp_path / f"{name}.png")
    run("predict", tmp_path / "catalogue.csv", "-o", tmp_path / "votes", "--views", 1)
    with table_writer(tmp_path / "b.ecsv", table(B).schema) as write:
        write(table(B))
    run("match", tmp_path / "votes", tmp_path / "b.ecsv", "--radius", "1arcsec", "-o", tmp_path / "j.vot")
    joined = read_table(tmp_path / "j.vot")
    assert joined["id_2"].to_pylist() == ["", "g3"]
    assert joined.schema.metadata[b"model"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--radius", "1"), 1, "is no angle; give it with its unit"),
        (("--radius", "1arcsec", *["--ra-column", "ra"] * 3), 2, "give it once, or twice"),
        (("--radius", "1arcsec", "--ra-column", "nope"), 1, "no column 'nope'"),
    ],
)
def test_the_command_refuses(
    run: Any, files: tuple[Path, Path], tmp_path: Path, words: Any, code: int, said: str
) -> None:
    done = run("match", *files, *words, "-o", tmp_path / "j.fits", code=code)
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "j.fits").exists()


@pytest.mark.slow
def test_the_same_pairs_as_stilts(tmp_path: Path) -> None:
    if not shutil.which("stilts"):
        pytest.skip("stilts is not installed")
    rng = np.random.default_rng(0)
    a = np.stack([rng.uniform(0, 0.2, 300), rng.uniform(-0.1, 0.1, 300)], 1)
    b = np.concatenate([a[:200] + rng.normal(0, 1 / 3600, (200, 2)), a[100:] + 0.3 / 3600])
    a[:, 0], b[:, 0] = a[:, 0] % 360, b[:, 0] % 360
    paths = tmp_path / "a.fits", tmp_path / "b.fits"
    for path, places in zip(paths, (a, b), strict=True):
        content = table([tuple(place) for place in places.tolist()])
        with table_writer(path, content.schema) as write:
            write(content)
    theirs = tmp_path / "theirs.fits"
    options = ["matcher=sky", "params=1", "values1=ra dec", "values2=ra dec", "find=best1", "join=1and2"]
    tables = [f"in1={paths[0]}", f"in2={paths[1]}", f"out={theirs}"]
    subprocess.run(["stilts", "tmatch2", *options, *tables], check=True, capture_output=True)
    seen = read_table(theirs)
    expected = set(zip(seen["id_1"].to_pylist(), seen["id_2"].to_pylist(), strict=True))
    found = match(Catalogue(read_table(paths[0]), "A"), Catalogue(read_table(paths[1]), "B"), 1, join="inner")
    assert set(partners(found)) == expected


# ------------------------------------------------------------------ by identifier


def test_match_by_identifier(run, tmp_path):
    write_table(tmp_path / "a.csv", pa.table({"id": ["1", "2", "3", "", "4"], "x": [1, 2, 3, 4, 5]}))
    write_table(
        tmp_path / "b.parquet",
        pa.table({"objid": pa.array([2, 1, 9, 4, 4]), "x": [20, 10, 90, 40, 41], "z": [0.2] * 5}),
    )
    words = ["match", tmp_path / "a.csv", tmp_path / "b.parquet", "--on", "id", "-o"]
    result = run(*words, tmp_path / "left.parquet", code=3)
    table = read_table(tmp_path / "left.parquet")
    assert table.column_names == ["id", "x", "objid", "x_2", "z"]
    assert table["x_2"].to_pylist() == [10, 20, None, None, None]
    assert "row 4: no ID" in result.stderr
    assert "(4): 2 rows of" in result.stderr
    run(*words, tmp_path / "inner.parquet", "--join", "inner", "--keep-columns", "z", code=3)
    assert read_table(tmp_path / "inner.parquet").column_names == ["id", "x", "z"]
    run(*words, tmp_path / "all.parquet", "--join", "all", "--keep-columns", "none", code=3)
    assert read_table(tmp_path / "all.parquet").num_rows == 8
    assert "did you mean 'z'" in run(*words, tmp_path / "n.parquet", "--keep-columns", "zz", code=1).stderr
    run(*words, tmp_path / "n.parquet", "--radius", "1arcsec", code=2)
    run("match", tmp_path / "a.csv", tmp_path / "b.parquet", "-o", tmp_path / "n.parquet", code=2)
