"""Catalogues: every row is an item, its bytes are those of the table, and no text in it can do harm."""

import csv
import itertools
import math
import os
import random
import re
import subprocess
import sys
import tracemalloc
import unicodedata
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuningfork.images import image
from tuningfork.images.image import ImageError
from tuningfork.inputs import Columns, InputError, ItemReader, find_items, parquet_images, read_listing, write_listing
from tuningfork.inputs import table_rows as rows
from tuningfork.inputs.parquet_images import RowReader
from tuningfork.inputs.spool import splits_row_group, spool_rows
from tuningfork.tables.angles import is_blank

LONG = 587731186743542074  # 18 digits: no float holds it

BYTES = st.binary(max_size=40)


def opened(items):
    """What each item gives: bytes, or the reason why not."""
    out = []
    with ItemReader() as opening:
        for item in items:
            try:
                out.append(opening.prepare(item)())
            except ImageError as error:
                out.append(str(error))
    return out


@pytest.fixture
def pictures(tmp_path):
    """A folder with three files that stand for pictures."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"{name}.jpg").write_bytes(name.encode())
    return folder


def write_csv(file, header, body):
    with open(file, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows(body)
    return file


# ---------------------------------------------------------------- columns of paths


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.pq", "t.ecsv", "t.vot", "t.xml", "t.fits"])
def test_every_format_gives_the_same_rows(tmp_path, pictures, name):
    body = {
        "objid": [LONG, LONG + 1, LONG + 2],
        "file_loc": ["cutouts/a.jpg", "cutouts/b.jpg", "cutouts/none.jpg"],
        "ra": [0.5, 359.5, 10.0],
        "dec": [-90.0, 89.5, 0.25],
    }
    file = tmp_path / name
    if name.endswith(("parquet", "pq")):
        pq.write_table(pa.table(body), file)
    elif name.endswith("csv") and "ecsv" not in name:
        pa.csv.write_csv(pa.table(body), file)
    else:
        table = pytest.importorskip("astropy.table").Table(body)
        table.write(file, format={"ecsv": "ascii.ecsv", "fits": "fits"}.get(name[2:], "votable"))
    found = list(find_items([file]))
    assert [item.id for item in found] == [str(LONG), str(LONG + 1), str(LONG + 2)]
    assert [item.path for item in found] == [str(tmp_path / path) for path in body["file_loc"]]
    assert [(item.right_ascension, item.declination) for item in found] == [(0.5, -90), (359.5, 89.5), (10, 0.25)]
    first, second, third = opened(found)
    assert (first, second) == (b"a", b"b")
    assert "No such file" in third
    (pictures / "a.jpg").write_bytes(b"new")
    assert "changed since" in opened(found)[0]


def test_usual_names_in_any_case_and_ids_from_the_files(tmp_path, pictures):
    file = write_csv(tmp_path / "t.csv", ["FileName", "DEJ2000", "RAJ2000"], [["cutouts/a.jpg", "1", "2"]])
    (item,) = find_items([file])
    assert (item.id, item.right_ascension, item.declination) == ("a", 2, 1)


def test_columns_are_named_or_listed(tmp_path, pictures):
    header = ["id", "objid", "path", "file", "kind"]
    file = write_csv(tmp_path / "t.csv", header, [["1", "2", "cutouts/a.jpg", "cutouts/b.jpg", "E"]])
    with pytest.raises(InputError, match=r"t\.csv: columns 'path', 'file' could all be meant; say which with --path-c"):
        list(find_items([file]))
    with pytest.raises(InputError, match="'id', 'objid' could all be meant; say which with --id-column"):
        list(find_items([file], Columns(path="file")))
    with pytest.raises(InputError, match=r"no column 'nothing'\. It has the columns id, objid, path, file, kind"):
        list(find_items([file], Columns(path="nothing")))
    with pytest.raises(InputError, match="name one of them"):
        list(find_items([file], Columns(path="path", bytes="file")))
    with pytest.raises(InputError, match="not bytes"):
        list(find_items([file], Columns(bytes="file")))
    (item,) = find_items([file], Columns(id="OBJID", path="file"))
    assert (item.id, opened([item])) == ("2", [b"b"])
    none = write_csv(tmp_path / "none.csv", ["x", "y"], [[1, 2]])
    with pytest.raises(InputError, match=r"no column of images.*--path-column.*It has the columns x, y"):
        list(find_items([none]))


def test_blank_and_broken_rows_are_named_and_the_others_live(tmp_path, pictures):
    file = tmp_path / "t.csv"
    file.write_bytes(
        b"\xef\xbb\xbfid,path,note\n1,cutouts/a.jpg,x\n2,,x\n\n3,cutouts/b.jpg\n,cutouts/c.jpg,x\n"
        b'5,cutouts/c.jpg,"two\nlines"\n6,"cutouts/\n"c.jpg,x\n7,cutouts/\xff.jpg,x\n8,cutouts/b.jpg,x\n9,"cutouts/c.j'
    )
    found = list(find_items([file]))
    assert [item.id for item in found] == ["1", "2", "row 3", "row 4", "5", "row 6", "7", "8", "row 9"]
    a, no_path, ragged, no_id, c, two_lines, other, b, unclosed = opened(found)
    assert (a, b, c) == (b"a", b"b", b"c")
    assert no_path == "no path in column 'path'"
    assert ragged == "2 cells where the header has 3; mend the row"
    assert no_id.startswith("no ID in column 'id'")
    assert two_lines.startswith("a cell holds more than one line (lines 9 to 10")
    assert "No such file" in other
    assert unclosed.startswith("2 cells where")
    assert [item.path for item in found if item.error][1] == f"{file}#row3"
    write_listing(found, tmp_path / "listing.parquet")
    assert list(map(str, read_listing(tmp_path / "listing.parquet"))) == list(map(str, found))


def test_a_quotation_mark_that_is_never_closed_loses_no_row_in_silence(tmp_path, pictures):
    file = tmp_path / "t.csv"
    file.write_text('id,path\n1,cutouts/a.jpg\n2,"cutouts/a.jpg\n' + "3,cutouts/b.jpg\n" * 20_000)
    first, second = opened(find_items([file]))
    assert first == b"a"
    assert second.startswith("the table is damaged from row 2 on")


@pytest.mark.skipif(sys.platform == "win32", reason="names are bytes on Linux only")
def test_names_that_are_no_utf8_are_found(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    (tmp_path / name).write_bytes(b"here")
    (tmp_path / "t.csv").write_bytes(b"path\n\xff.jpg\n")
    (item,) = find_items([tmp_path / "t.csv"])
    assert (item.id, opened([item])) == (r"\xff", [b"here"])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.text('ab,"\n\r\0 é', max_size=80).map(lambda text: b"path,id\n" + text.encode()))
def test_any_bytes_can_stand_for_a_csv(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with suppress(InputError):
        found = list(find_items([tmp_path / "t.csv"]))
        write_listing(found, tmp_path / "listing.parquet")
        assert not [data for data in opened(found) if isinstance(data, bytes)]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.text(max_size=30)
            | st.sampled_from(
                [
                    "/dev/zero",
                    "\0",
                    "a" * 5000,
                    "..",
                    ".",
                    "//",
                    "file:///dev/zero",
                    "file://[",
                    "http://[",
                    "https://u:p@h/x",
                    "s3://",
                    "s3:///x",
                    "ftp://h/x",
                    "x://",
                    "dask://h",
                    "~",
                    "$HOME",
                    "%00",
                    "a\nb",
                ]
            ),
        ),
        max_size=6,
    )
)
def test_any_text_can_stand_for_an_id_and_a_path(tmp_path, body):
    file = tmp_path / "t.parquet"
    pq.write_table(
        pa.table(
            {"id": [id_ for id_, _ in body], "path": [path for _, path in body]},
            schema=pa.schema({"id": pa.string(), "path": pa.string()}),
        ),
        file,
    )
    found = list(find_items([file]))
    assert len(found) == len(body)
    write_listing(found, tmp_path / "listing.parquet")
    for item, (id_, path) in zip(found, body, strict=True):
        assert item.id
        # A word for nothing, such as NaN, is none; a number with decimals or in powers of ten has a rule of its own.
        name = id_.rstrip("\0").strip()
        is_number = re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", name)
        if name and not is_blank(id_) and path.strip() and (not is_number or name.isdigit()):
            assert item.id == unicodedata.normalize("NFC", name)
        if item.kind == "file":
            assert isinstance(opened([item])[0], str)
        assert "u:p" not in item.path + item.error


def test_a_position_that_cannot_be_read_is_the_error_of_its_row(tmp_path, pictures):
    body = [
        ("0", "90"),
        ("360", "-90"),
        ("-1", "0"),
        ("10:00:24", "-00 30 00"),
        ("", "nan"),
        ("-999", "0"),
        ("10", "90.1"),
        ("x", "1"),
        ("", "1"),
        ("1", "nan"),
        ("inf", "0"),
    ]
    file = write_csv(tmp_path / "t.csv", ["path", "ra", "dec"], [["cutouts/a.jpg", *cells] for cells in body])
    found = list(find_items([file]))
    assert opened(found[:5]) == [b"a"] * 5
    positions = [(item.right_ascension, item.declination) for item in found]
    assert positions[:4] == [(0, 90), (0, -90), (359, 0), (150.1, -0.5)]
    assert all(math.isnan(number) for pair in positions[4:] for number in pair)
    assert all("column 'ra'" in problem or "column 'dec'" in problem for problem in opened(found[5:]))


def test_decimal_ids_that_have_lost_digits_are_refused(tmp_path, pictures):
    pq.write_table(pa.table({"objid": [1.0, 2.5, None], "path": ["a", "b", "c"]}), tmp_path / "small.parquet")
    assert [item.id for item in find_items([tmp_path / "small.parquet"])] == ["1", "2.5", "row 3"]
    pq.write_table(pa.table({"objid": [float(LONG)], "path": ["a"]}), tmp_path / "large.parquet")
    with pytest.raises(InputError, match=r"row 1, column 'objid'.*lost its last digits; save the column as integers"):
        list(find_items([tmp_path / "large.parquet"]))


def test_a_catalogue_may_name_a_galaxy_twice(tmp_path, pictures):
    file = write_csv(tmp_path / "t.csv", ["id", "path"], [["1", "cutouts/a.jpg"]] * 2)
    assert opened(find_items([file])) == [b"a", b"a"]


def test_a_fits_file_with_an_image_stays_a_image(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    image = fits.PrimaryHDU(np.zeros((32, 32), "f4"))
    table = fits.BinTableHDU.from_columns([fits.Column("path", "A5", array=["a.jpg"])])
    packed = fits.CompImageHDU(np.arange(1024, dtype="i4").reshape(32, 32))
    for name, units in {"a": [image], "b": [image, table], "c": [fits.PrimaryHDU(), packed]}.items():
        fits.HDUList(units).writeto(tmp_path / f"{name}.fits")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "d.fits")
    (tmp_path / "e.fits").write_bytes(b"SIMPLE  =")
    (tmp_path / "f.fits").write_bytes(
        (tmp_path / "d.fits").read_bytes().replace(b"TFIELDS =                    1", b"TFIELDS =           9999999999")
    )
    kinds = {name: [item.path for item in find_items([tmp_path / f"{name}.fits"])] for name in "abcdef"}
    assert kinds.pop("d") == [str(tmp_path / "a.jpg")]
    assert kinds == {name: [str(tmp_path / f"{name}.fits")] for name in "abcef"}


# ---------------------------------------------------------------- columns of bytes


def bytes_table(cells, layout):
    if layout == "struct":
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        return pa.table({"image": pa.array([{"bytes": c, "path": f"d/{n}.jpg"} for n, c in enumerate(cells)], kind)})
    column = pa.array(cells, {"large": pa.large_binary()}.get(layout, pa.binary()))
    if layout == "dictionary":
        column = column.dictionary_encode()
    return pa.table({"Image_Bytes": column, "id": [f"g{n}" for n in range(len(cells))]})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(BYTES, max_size=40),
    st.integers(1, 50),
    st.sampled_from(["binary", "large", "struct", "dictionary"]),
    st.integers(0, 200),
    st.randoms(),
)
def test_bytes_come_back_whatever_the_row_groups_and_the_order(tmp_path, cells, group, layout, held, chance):
    file = tmp_path / "t.parquet"
    pq.write_table(bytes_table(cells, layout), file, row_group_size=group)
    found = list(find_items([file]))
    assert [item.id for item in found] == [f"{'' if layout == 'struct' else 'g'}{n}" for n in range(len(cells))]
    order = list(range(len(cells))) * 2
    chance.shuffle(order)
    some = sorted(order[: len(cells) // 2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_images, "BATCH_BYTES", held)
        for rows_ in (range(len(cells)), order, some):
            assert opened([found[row] for row in rows_]) == [cells[row] for row in rows_]


def test_rows_of_a_large_row_group_are_spooled(tmp_path):
    cells = [b"a" * n for n in range(1, 30)] + [None]
    pq.write_table(pa.table({"bytes": cells}), tmp_path / "t.parquet", row_group_size=20)
    found = list(find_items([tmp_path / "t.parquet"]))
    # A part of a row group; all of one; rows of two that are no larger.
    assert [splits_row_group(part) for part in (found[:8], found[8:16], found[:20], found[10:30])] == [
        True, True, False, False,
    ]  # fmt: skip
    items = spool_rows([replace(found[0], error="known"), *found[8:16], found[29]], RowReader(), tmp_path / "spool")
    assert opened(items) == ["known", *cells[8:16], "no image in column 'bytes'"]
    assert [item.id for item in items] == [item.id for item in (found[0], *found[8:16], found[29])]
    (tmp_path / "spool").write_bytes(b"cut")
    assert opened(items[3:4]) == ["changed since it was listed; predict it again"]


def test_blank_cells_of_bytes_are_named(tmp_path):
    pq.write_table(pa.table({"id": [1, 2], "bytes": [b"x", None]}), tmp_path / "t.parquet")
    assert opened(find_items([tmp_path / "t.parquet"])) == [b"x", "no image in column 'bytes'"]


def test_paths_or_bytes_as_asked_for(tmp_path, pictures):
    table = pa.table({"id": ["x"], "path": ["cutouts/a.jpg"], "bytes": [b"own"]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert opened(find_items([tmp_path / "t.parquet"])) == [b"own"]
    assert opened(find_items([tmp_path / "t.parquet"], Columns(path="path"))) == [b"a"]
    assert opened(find_items([tmp_path / "t.parquet"], Columns(bytes="bytes"))) == [b"own"]


def test_a_catalogue_that_changed_is_not_read(tmp_path):
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"bytes": [b"one", b"two"]}), file)
    found = list(find_items([file]))
    with ItemReader() as opening:
        assert opening.prepare(found[0])() == b"one"
        pq.write_table(pa.table({"bytes": [b"other", b"three"]}), file)
    assert opened(found) == ["changed since it was listed; predict it again"] * 2


def test_too_large_a_cell_is_a_row_error(tmp_path, monkeypatch):
    pq.write_table(pa.table({"bytes": [b"x" * 11, b"y"]}), tmp_path / "t.parquet")
    monkeypatch.setattr(image, "MAX_FILE_BYTES", 10)
    large, small = opened(find_items([tmp_path / "t.parquet"]))
    assert "at most 10 are read" in large
    assert small == b"y"


# ---------------------------------------------------------------- damage and size


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.ecsv", "t.vot", "t.fits"])
def test_damaged_tables_raise_only_what_is_reported(tmp_path, name):
    size = 300
    body = {"id": [str(n) for n in range(size)], "path": [f"{n}.jpg" for n in range(size)]}
    file = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({**body, "bytes": [bytes(200)] * size}), file, row_group_size=50)
    elif name == "t.csv":
        pa.csv.write_csv(pa.table(body), file)
    else:
        pytest.importorskip("astropy.table").Table(body).write(
            file, format={"ecsv": "ascii.ecsv", "vot": "votable", "fits": "fits"}[name[2:]]
        )
    good = file.read_bytes()
    chance = random.Random(0)
    for trial in range(30):
        data = bytearray(good)
        if trial % 2:
            del data[chance.randrange(len(data)) :]
        for _ in range(chance.randrange(8) + trial % 2 == 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        file.write_bytes(data)
        with suppress(InputError):
            opened(find_items([file]))


def test_rows_behind_the_damage_are_errors_and_those_before_it_are_read(tmp_path):
    file = tmp_path / "t.parquet"
    cells = [random.Random(n).randbytes(2000) for n in range(100)]
    pq.write_table(pa.table({"bytes": cells}), file, row_group_size=50, compression="zstd")
    found = list(find_items([file]))
    data = bytearray(file.read_bytes())
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    status = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    read = opened(found)
    assert read[:50] == cells[:50]
    assert all("damaged from row 51 on" in reason for reason in read[50:])


MEMORY = """
import resource, sys
import tuningfork.inputs as inputs
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
with inputs.ItemReader() as opening:
    items = inputs.find_items([sys.argv[1]])
    first = opening.prepare(next(items))
    before, read = peak(), 0
    for number, item in enumerate(items):
        if number % 7 == 0 and item.kind == "row": read += len(opening.prepare(item)())
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
@pytest.mark.parametrize("form", ["one row group of bytes", "csv"])
def test_memory_does_not_follow_the_table(tmp_path, form):
    file = tmp_path / ("t.csv" if form == "csv" else "t.parquet")
    if form == "csv":
        with open(file, "w") as out:
            out.write("id,path\n")
            folder = "/".join(["some", "folder", "of", "cutouts"] * 10)
            out.writelines(f"{LONG + n},{folder}/{LONG + n}.jpg\n" for n in range(250_000))
        limit = 30
        assert file.stat().st_size > 2 * limit * 2**20
    else:
        pool = random.Random(0).randbytes(2**22)
        table = pa.table({"bytes": [pool[n % 1000 : n % 1000 + 20_000 + n % 100] for n in range(20_000)]})
        pq.write_table(table, file, row_group_size=20_000, compression="none", use_dictionary=False)
        assert file.stat().st_size > 350 * 2**20
        limit = 100
    done = subprocess.run([sys.executable, "-c", MEMORY, str(file)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < limit, "MiB above the first row"


def test_lines_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_LINE", 100)
    file = tmp_path / "t.csv"
    file.write_text("path\na.jpg\n" + "x" * 300)
    first, second = find_items([file])
    assert not first.error
    assert "longer than 100" in second.error
    file.write_bytes(bytes(300))
    with pytest.raises(InputError, match="longer than 100"):
        list(find_items([file]))


def test_one_long_value_of_a_dictionary_is_not_held_for_each_row(tmp_path):
    path, count = tmp_path / "t.parquet", 20_000
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array(["x" * 2**18]))
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([bytes(2**20)]))
    pq.write_table(pa.table({"path": one, "n": range(count)}), path)
    tracemalloc.start()
    assert sum("a cell of 262144 characters" in item.error for item in find_items([path])) == count
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()
    pq.write_table(pa.table({"image": images}), path, row_group_size=count, store_schema=False)
    before = pa.total_allocated_bytes()
    with ItemReader() as reader:
        for item in itertools.islice(find_items([path]), 50):
            assert len(reader.prepare(item)()) == 2**20
            assert pa.total_allocated_bytes() - before < 2**26
