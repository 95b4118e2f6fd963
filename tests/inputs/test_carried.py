"""Columns of a catalogue that the output takes over: which, under which name, of which type."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tuningfork.inputs import Columns, InputError, carried_columns, find_items, table_columns, with_carried
from tuningfork.tables import read_table


@pytest.fixture
def place(tmp_path):
    Image.new("RGB", (32, 32), (90, 80, 70)).save(tmp_path / "a.png")
    (tmp_path / "cat.csv").write_text(
        "objid,path,ra,dec,z,n,name,zip,class,long\n"
        "1,a.png,10,20,0.1,3,M 31,00123,x,12345678901234567890\n"
        "2,a.png,11,21,,4,M 32,00124,y,12345678901234567891\n"
    )
    return tmp_path


def types(carried):
    return {column.name: column.type for _, column in carried.columns}


def test_all_columns_of_a_csv_keep_their_digits(place):
    carried = carried_columns([str(place / "cat.csv")], Columns(), {"id", "path", "class"})
    assert types(carried) == {
        "z": pa.float64(),
        "n": pa.int64(),
        "name": pa.string(),
        "zip": pa.string(),  # leading zeros
        "class_catalogue": pa.string(),
        "long": pa.string(),  # more digits than an integer has
    }
    assert carried.renamed == {"class": "class_catalogue"}
    items = list(find_items([place / "cat.csv"], with_carried(Columns(), carried)))
    assert json.loads(items[0].carried) == [0.1, 3, "M 31", "00123", "x", "12345678901234567890"]
    assert json.loads(items[1].carried)[0] is None


def test_named_columns_none_and_one_that_is_not_there(place):
    file = [str(place / "cat.csv")]
    assert list(types(carried_columns(file, Columns(), set(), keep=["z"]))) == ["z"]
    assert carried_columns(file, Columns(), set(), keep=[]).columns == ()
    with pytest.raises(InputError, match="no column 'nme'; did you mean 'name'"):
        carried_columns(file, Columns(), set(), keep=["nme"])


def test_a_name_that_several_columns_have_is_left_out(place):
    (place / "twice.csv").write_text("id,path,mag,mag\n1,a.png,17,18\n")
    for keep in (None, ["mag"]):
        carried = carried_columns([str(place / "twice.csv")], Columns(), set(), keep=keep)
        assert (carried.columns, carried.left_out) == ((), (("mag", "several columns have this name"),))


def test_names_that_differ_only_in_case_are_one(place):
    (place / "case.csv").write_text("id,path,Z,z,CLASS\n1,a.png,17,18,GALAXY\n")
    carried = carried_columns([str(place / "case.csv")], Columns(), {"class"})
    assert carried.renamed == {"z": "z_catalogue", "CLASS": "CLASS_catalogue"}


def test_types_of_parquet_and_what_cannot_be_taken_over(place):
    import datetime

    table = pa.table(
        {
            "path": ["a.png"],
            "mag": pa.array([17.5], pa.float32()),
            "when": [datetime.date(2020, 1, 2)],
            "flag": [True],
            "vector": pa.array([[1.0, 2.0]]),
            "blank": pa.nulls(1),
        }
    )
    pq.write_table(table, place / "cat.parquet")
    carried = carried_columns([str(place / "cat.parquet")], Columns(), set())
    kinds = {"mag": pa.float32(), "when": pa.string(), "flag": pa.bool_(), "blank": pa.string()}
    assert types(carried) == kinds
    assert [name for name, _ in carried.left_out] == ["vector"]
    (item,) = find_items([place / "cat.parquet"], with_carried(Columns(), carried))
    assert json.loads(item.carried) == [17.5, "2020-01-02", True, None]


def test_of_several_catalogues_the_common_columns(place):
    pq.write_table(pa.table({"path": ["a.png"], "z": ["high"], "other": [1]}), place / "b.parquet")
    carried = carried_columns([str(place / "cat.csv"), str(place / "b.parquet")], Columns(), set())
    assert types(carried) == {"z": pa.string()}
    assert {"n", "name"} <= {name for name, _ in carried.left_out}


def test_a_table_of_positions(place):
    carried = table_columns(str(place / "cat.csv"), {"path"}, own=["objid", "ra", "dec"])
    assert list(types(carried))[:2] == ["path_catalogue", "z"]


@pytest.mark.parametrize("keep", ["all", "none", "z,name"])
def test_predict_keeps_the_catalogues_columns(run, place, keep):
    output = place / "votes.parquet"
    words = ["predict", place / "cat.csv", "--model", "fast", "--views", 1, "-o", output, "--keep-columns", keep]
    run(*words)
    table = read_table(output)
    kept = {"all": ["z", "n", "name", "zip", "class_catalogue", "long"], "none": [], "z,name": ["z", "name"]}[keep]
    assert table.column_names[:4] == ["id", "path", "ra", "dec"]
    assert table.column_names[4 : 4 + len(kept)] == kept
    if keep == "all":
        assert table["n"].to_pylist() == [3, 4]
        assert table["z"].to_pylist() == [0.1, None]
        assert table["class_catalogue"].to_pylist() == ["x", "y"]


def test_select_and_rank_keep_the_catalogues_columns(run, tmp_path):
    from tuningfork.simulation import simulate

    galaxies = simulate(tmp_path / "sim", 12, seed=6, workers=1)
    images = sorted((galaxies / "images_training_rev1").iterdir())
    rows = [f"{image.stem},{image},{n / 10}" for n, image in enumerate(images)]
    (tmp_path / "cat.csv").write_text("\n".join(["GalaxyID,path,z", *rows]) + "\n")
    votes, parts = tmp_path / "votes.parquet", tmp_path / "parts"
    words = ["predict", tmp_path / "cat.csv", "--model", "fast", "--views", 1, "-o"]
    run(*words, votes)
    run("rank", votes, "-n", 4, "-o", tmp_path / "order.csv")
    order = read_table(tmp_path / "order.csv")
    known = {image.stem: n / 10 for n, image in enumerate(images)}
    assert order["z"].to_pylist() == [known[str(id_)] for id_ in order["id"].to_pylist()]
    run("rank", votes, "-n", 4, "-o", tmp_path / "bare.csv", "--keep-columns", "none")
    assert "z" not in read_table(tmp_path / "bare.csv").column_names
    run(*words, parts)
    run("merge", parts, "-o", tmp_path / "all.parquet")
    run("merge", parts, "-o", tmp_path / "few.parquet", "--keep-columns", "none")
    assert "z" in read_table(tmp_path / "all.parquet").column_names
    assert "z" not in read_table(tmp_path / "few.parquet").column_names
    labels = galaxies / "training_solutions_rev1.csv"
    selected = tmp_path / "accepted.parquet"
    run(
        "select", votes, labels, "--include-training", "--precision", 0.5, "-o", selected, "--keep-columns", "z,warning"
    )
    table = read_table(selected)
    assert table.column_names[-2:] == ["z", "warning"]
    assert table["z"].to_pylist() == pytest.approx([known[id_] for id_ in table["id"].to_pylist()])
