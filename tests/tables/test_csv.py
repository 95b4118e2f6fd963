"""CSV as archives and spreadsheets write it: read alike as a whole table and row by row."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tuningfork.inputs import Columns
from tuningfork.inputs.carried import carried_columns, with_carried
from tuningfork.inputs.catalogues import table_items
from tuningfork.tables import CatalogError, read_table
from tuningfork.tables.crossmatch import Catalogue, match, match_ids

HEADER = "objid,ra,dec,path,z\n"
ROWS = ("1,150.1,2.2,a.jpg,0.5", "2,150.2,2.3,b.jpg,0.25")


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def both(path: Path) -> list[tuple[str, float, float | None]]:
    """ID, right ascension and redshift by `read_table`, which must be what `predict` reads row by row."""
    table = read_table(path, problems={})
    whole = [(str(row["objid"]), row["ra"], row["z"]) for row in table.to_pylist()]
    columns = with_carried(Columns(), carried_columns([str(path)], Columns(), ()))
    items = list(table_items(str(path), columns))
    assert [item.error for item in items] == [""] * len(items)
    assert [(item.id, item.right_ascension, json.loads(item.carried)[0]) for item in items] == whole
    return whole


@pytest.mark.parametrize(
    "content",
    [
        HEADER + f"{ROWS[0]},\n{ROWS[1]}, ,\n",  # separators behind the last cell
        HEADER.strip() + f",\n{ROWS[0]},\n{ROWS[1]},\n",
        f",{HEADER}0,{ROWS[0]}\n1,{ROWS[1]}\n",  # the index of pandas
        HEADER + f"{ROWS[0]}\n# another night, cloudy\n{ROWS[1]}\n#END#\n",
        HEADER + "\n".join(", ".join(f'"{cell}"' for cell in row.split(",")) for row in ROWS),
        ", ".join(f'"{name}"' for name in HEADER.strip().split(",")) + "\n" + "\n".join(ROWS),
        HEADER.strip().replace(",", ", ") + "\n" + "\n".join(row.replace(",", " , ") for row in ROWS),
    ],
)
def test_rows_are_the_same_in_all_commands(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    assert both(write(tmp_path / "t.csv", content)) == [("1", 150.1, 0.5), ("2", 150.2, 0.25)]
    assert not caplog.records


def test_words_for_nothing_are_nulls_of_a_column_of_numbers(tmp_path: Path) -> None:
    words = ("null", "NA", "\\N", "nan", "--", "")
    path = write(tmp_path / "t.csv", HEADER + "".join(f"{n},150.5,2,a.jpg,{word}\n" for n, word in enumerate(words)))
    with open(path, "a") as file:
        file.write("9,150.5,2,a.jpg,0.5\n")
    assert [z for _, _, z in both(path)] == [*[None] * len(words), 0.5]


def test_no_digit_and_no_notation_is_lost(tmp_path: Path) -> None:
    long = ("11239999999999999999", "11239999999999999998")  # specObjID, beyond 63 bits
    rows = [f"{n},{id_},00{n},2012-01-0{n},10:00:0{n},+0{n}.5,{n % 2 == 0}\n" for n, id_ in enumerate(long, 1)]
    table = read_table(write(tmp_path / "t.csv", "id,specObjID,name,date,RA,dec,flag\n" + "".join(rows)))
    assert table["specObjID"].to_pylist() == list(long)
    assert table["name"].to_pylist() == ["001", "002"]
    assert table["date"].to_pylist() == ["2012-01-01", "2012-01-02"]
    assert table["dec"].to_pylist() == [1.5, 2.5]
    assert table["flag"].to_pylist() == [False, True]
    # Not times of the day.
    degrees = Catalogue(pa.table({"ra": [150.0 + 15 / 3600], "dec": [1.5]}), "B")
    assert match(Catalogue(table, "A"), degrees, 1).pairs == 1


def test_a_row_of_another_length_is_an_error_of_its_own(tmp_path: Path, run: Any) -> None:
    path = write(tmp_path / "t.csv", HEADER + "\n".join(ROWS) + "\n(2 rows affected)\n")
    with pytest.raises(CatalogError, match=r"t\.csv, row 3: 1 cells where the header has 5"):
        read_table(path)
    problems: dict[int, str] = {}
    table = read_table(path, problems=problems)
    assert (list(problems), table["objid"].to_pylist()) == ([2], [1, 2, None])
    others = Catalogue(pa.table({"objid": ["1", "2", "(2 rows affected)"], "ra": [150.1] * 3, "dec": [2.2] * 3}), "B")
    for found in (
        match(Catalogue(table, "A", problems=problems), others, 1),
        match_ids(Catalogue(table, "A", problems=problems), others),
    ):
        assert (found.failed, [error.row for error in found.errors]) == (1, [3])
        assert "1 cells where the header has 5" in found.errors[0].reason
    text = {"text": True, "problems": problems}
    broken = Catalogue(read_table(path, **text), "B", problems=problems)
    assert (match_ids(others, broken).pairs, match_ids(others, broken).failed) == (2, 1)
    done = run("match", path, path, "--on", "id", "-o", tmp_path / "out.csv", code=3)
    assert "3 rows, 2 pairs" in done.stdout
    assert "mend the row; the row has no partner" in done.stderr


def test_cells_of_several_lines_are_read_and_open_quotation_marks_are_not(tmp_path: Path) -> None:
    cells = '1,150.1,2.2,"two\nlines",0.5\n2,150.2,2.3,"x, y",0.25\n'
    assert [row[0] for row in both(write(tmp_path / "t.csv", HEADER + cells))] == ["1", "2"]
    # A mark that is closed by the next row's swallows what is between, though the number of cells is right.
    path = write(tmp_path / "u.csv", 'id,label\n1,"spiral\n2,"elliptical"\n3,round\n')
    with pytest.raises(CatalogError, match="lines 2 to 3: is a quotation mark not closed"):
        read_table(path)


def test_columns_of_one_name_or_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "t.csv", ",id,z,z\nJ1,7,1,2\nJ2,8,3,4\n")
    with caplog.at_level(logging.WARNING):
        assert read_table(path).to_pydict() == {"id": [7, 8]}
    assert "column 1 has no name and is left out" in caplog.text
    assert "columns left out, as several have one name: z" in caplog.text
    with pytest.raises(CatalogError, match="column 'RA' appears 2 times"):
        read_table(write(tmp_path / "u.csv", "id,RA,RA\n7,1,2\n"))


def test_latin_1_is_no_reason_to_lose_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "objid,ra (°),dec,path,z,Sérsic\n1,150.1,2.2,a.jpg,0.5,é\n", "latin-1")
    table = read_table(path)
    assert table.column_names == ["objid", "ra (°)", "dec", "path", "z", "Sérsic"]
    # Cells may be names of files, which are bytes.
    assert table["Sérsic"].to_pylist() == [r"\xe9"]
    (item,) = table_items(str(path))
    assert item.right_ascension == 150.1
    path = write(tmp_path / "u.csv", "objid,Sérsic\n1,2.5\n", "latin-1")
    assert read_table(path).to_pydict() == {"objid": [1], "Sérsic": [2.5]}


@pytest.mark.parametrize("name", ["GaiaSource.csv", "GaiaSource.csv.gz"])
def test_ecsv_of_the_gaia_archive(tmp_path: Path, name: str) -> None:
    pytest.importorskip("astropy")
    types = {"objid": "int64", "ra": "float64", "dec": "float64", "path": "string", "z": "float64"}
    head = [f"# - {{name: {column}, datatype: {kind}}}" for column, kind in types.items()]
    content = "\n".join(["# %ECSV 1.0", "# ---", "# delimiter: ','", "# datatype:", *head, HEADER])
    content += "34361129088,45.5,0.5,a.jpg,null\n"
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    assert both(tmp_path / name) == [("34361129088", 45.5, None)]


def test_a_comment_alone_may_be_the_header(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "t.csv", "#id;ra\n")).to_pydict() == {"id": [], "ra": []}


def test_masked_coordinates_are_no_positions(tmp_path: Path) -> None:
    units = pytest.importorskip("astropy.units")
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from astropy.utils.masked import Masked

    angles = [
        Masked([150.1, 150.2] * units.deg, mask=[False, True]),
        Masked([2.2, 2.3] * units.deg, mask=[False, True]),
    ]
    QTable({"id": [1, 2], "ra": SkyCoord(*angles)}).write(tmp_path / "t.ecsv")
    assert read_table(tmp_path / "t.ecsv").to_pydict() == {"id": [1, 2], "ra": [150.1, None], "dec": [2.2, None]}
    sky = SkyCoord([150.1], [2.2], unit="deg")
    QTable({"first": sky, "second": sky}).write(tmp_path / "u.ecsv")
    assert read_table(tmp_path / "u.ecsv").column_names == ["first.ra", "first.dec", "second.ra", "second.dec"]
