"""Positions → cutouts: a row for each row, north up, and what is done is kept, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from operator import length_hint

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("requests")

from skyserver import FRAME, RADIUS, Fault, Source, picture, sky_server

from tuningfork._utils.threads import imap_unordered
from tuningfork.images.fits.framing import Framing
from tuningfork.images.image import ImageError
from tuningfork.images.read import read_image
from tuningfork.inputs import Columns, InputError
from tuningfork.surveys import TABLE, CutoutError, CutoutFormat, Target, Targets, download_cutouts
from tuningfork.surveys.cutout import Cutout, Provenance
from tuningfork.surveys.download import file_name
from tuningfork.tables import read_table, table_writer

PLACES = [Source(n, 150 + n / 10, 2 + n / 5) for n in range(6)]


@pytest.fixture
def sky():
    with sky_server(PLACES) as server:
        yield server


@pytest.fixture
def catalogue(tmp_path):
    """A CSV of all the sky's galaxies with their radii."""
    lines = [f"g{source.number},{source.ra},{source.dec},{RADIUS}" for source in PLACES]
    file = tmp_path / "galaxies.csv"
    file.write_text("\n".join(["objid,RA,Dec,petroR90_r", *lines]) + "\n")
    return file


class Painted:
    """A source that needs no server: a picture whose colour tells the place, in no order of time."""

    def __init__(self, faults=()):
        self.asked, self.faults, self.lock = [], faults, threading.Lock()

    def cutout(self, ra, dec, size, pixels):
        with self.lock:
            self.asked.append(ra)
        time.sleep(0.001 * (hash(ra) % 5))
        if ra in self.faults:
            raise ImageError("clouds")
        image = np.zeros((pixels, pixels, 3), np.uint8)
        image[0], image[1:] = 255, int(ra) % 256
        return Cutout(image, Provenance("painted", "one", size / pixels, "2026-11-24T08:00:00Z"))


def make(catalogue, folder, source, *, size=40.0, pixels=16, **options):
    targets = Targets(str(catalogue), Framing(size=size))
    kind = CutoutFormat(pixels, options.pop("format", "png"), options.pop("quality", 95))
    return download_cutouts(targets, source, folder, kind, identity={"source": "painted"}, **options)


def written(tmp_path, text, name="places.csv"):
    file = tmp_path / name
    file.write_text(text)
    return file


def files_of(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*.png"))


# ---------------------------------------------------------------- places


def test_positions_become_places_with_the_frame_of_the_training(catalogue):
    found = list(Targets(str(catalogue), Framing(), Columns(radius="petroR90_r")))
    assert [(place.id, place.ra, place.dec) for place in found] == [(f"g{s.number}", s.ra, s.dec) for s in PLACES]
    assert [place.size for place in found] == [pytest.approx(8.48 * RADIUS)] * 6
    assert [place.row for place in found] == list(range(6))


@pytest.mark.parametrize(
    ("ra", "dec", "radius", "told"),
    [
        ("", "2", "5", "no position: column 'ra' is empty"),
        ("nan", "2", "5", "no position: column 'ra' is empty"),
        ("10:61:45.1", "+02:10:00", "5", "column 'ra': '10:61:45.1' is no angle"),
        ("east", "2", "5", "'east' is no angle"),
        ("inf", "2", "5", "'inf' is no angle"),
        ("-999", "2", "5", "-999 is outside of 0…360 degrees"),
        ("10", "91", "5", "column 'dec': 91 is outside of -90…90 degrees"),
        ("10", "", "5", "no position: column 'dec' is empty"),
        ("10", "2", "", "column 'r': '' is no angle above 0, arcsec"),
        ("10", "2", "-3", "'-3' is no angle above 0, arcsec"),
        ("10", "2", "nan", "'nan' is no angle above 0, arcsec"),
    ],
)
def test_a_bad_row_is_a_place_with_a_reason_and_the_next_is_good(tmp_path, ra, dec, radius, told):
    file = written(tmp_path, f"id,ra,dec,r\na,{ra},{dec},{radius}\nb,10,2,5\n")
    bad, good = Targets(str(file), Framing(), Columns(radius="r"))
    assert told in bad.error
    assert bad.id == "a"
    assert good.error == ""


@pytest.mark.parametrize("ra", ["10:21:45", "10h21m45s", "10 21 45"])
def test_sexagesimal_positions_are_read(tmp_path, ra):
    (place,) = Targets(str(written(tmp_path, f"id,ra,dec\na,{ra},+02:30:00\n")), Framing(size=40))
    assert (place.ra, place.dec, place.error) == (pytest.approx(155.4375), 2.5, "")


@pytest.mark.parametrize("extension", ["fits", "vot", "ecsv", "parquet"])
def test_catalogues_of_all_kinds_give_the_same_places(catalogue, tmp_path, extension):
    table = read_table(catalogue)
    schema = pa.schema([(name, table.schema.field(name).type) for name in table.column_names])
    with table_writer(tmp_path / f"galaxies.{extension}", schema) as write:
        write(table.cast(schema))
    files = tmp_path / f"galaxies.{extension}", catalogue
    one, other = (list(Targets(str(file), Framing(), Columns(radius="petroR90_r"))) for file in files)
    assert one == other


def test_a_ragged_row_and_a_blank_id_are_called_by_their_number(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,2\nb,1\n,3,4\n")
    found = list(Targets(str(file), Framing(size=40)))
    assert [place.id for place in found] == ["a", "row 2", "row 3"]
    assert "2 cells where the header has 3" in found[1].error
    assert "no ID in column 'id'" in found[2].error


def test_a_table_without_positions_says_which_columns_it_has(tmp_path):
    file = written(tmp_path, "id,alpha,delta\na,1,2\n")
    with pytest.raises(InputError, match=r"no column of positions .*--ra-column.*It has the columns id, alpha, delta"):
        list(Targets(str(file), Framing(size=40)))
    named = Columns(right_ascension="alpha", declination="delta")
    assert next(iter(Targets(str(file), Framing(size=40), named))).ra == 1
    with pytest.raises(InputError, match="no column 'radius'"):
        list(Targets(str(file), Framing(), replace(named, radius="radius")))


def test_right_ascensions_in_hours_are_suspected(tmp_path):
    rows = [(n % 24 + 0.5, n - 15) for n in range(30)]
    hours = written(tmp_path, "ra,dec\n" + "".join(f"{ra},{dec}\n" for ra, dec in rows))
    assert "are they hours?" in Targets(str(hours), Framing(size=40)).check()
    degrees = written(tmp_path, "ra,dec\n" + "".join(f"{15 * ra},{dec}\n" for ra, dec in rows), "degrees.csv")
    targets = Targets(str(degrees), Framing(size=40))
    assert targets.check() == ""
    assert length_hint(targets) == targets.rows == 30


def test_targets_have_a_size_or_a_radius():
    for framing, columns in ((Framing(), Columns()), (Framing(size=40), Columns(radius="r"))):
        with pytest.raises(ValueError, match="how large"):
            Targets("a.csv", framing, columns)
    with pytest.raises(ValueError, match="size = -1"):
        Framing(size=-1)


# ---------------------------------------------------------------- the job


def test_every_row_is_in_the_table_in_the_catalogue_s_order(tmp_path):
    rows = [f"g{n},{n},{-n / 10}" for n in range(40)]
    rows[7] = "g7,,1"
    file = written(tmp_path, "\n".join(["id,ra,dec", *rows]) + "\n")
    made = make(file, tmp_path / "out", Painted(faults={13.0}))
    table = pq.read_table(made.table)
    assert table["id"].to_pylist() == [f"g{n}" for n in range(40)]
    assert made.rows == 40
    assert made.failed == 2
    for row in table.to_pylist():
        if row["error"]:
            assert row["path"] is None
            assert row["source"] is None
            continue
        image = read_image(tmp_path / "out" / row["path"]).rgb
        assert image[5, 5, 0] == int(row["ra"])
        assert image[0, 0, 0] == 255
        assert (row["source"], row["layer"], row["size"]) == ("painted", "one", 40)
        assert row["pixel_scale"] == 2.5
    assert [(row, told.id, told.reason) for row, told in zip((8, 14), made.errors, strict=True)] == [
        (8, "g7", "no position: column 'ra' is empty"),
        (14, "g13", "clouds"),
    ]
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"


def test_names_are_safe_and_differ_whatever_the_ids_are(tmp_path):
    ids = ["a", "a", "A", "../../evil", "..", "", "x/y", "x_y", "é", "-rf", "n" * 300, "a-row2", ".hidden", "c:\\d"]
    table = pa.table({"id": ids, "ra": [float(n) for n in range(len(ids))], "dec": [0.0] * len(ids)})
    pq.write_table(table, tmp_path / "places.parquet")
    made = make(tmp_path / "places.parquet", tmp_path / "out", Painted())
    rows = pq.read_table(made.table).to_pylist()
    assert made.failed == 1  # the blank one
    paths = [row["path"] for row in rows if row["path"]]
    assert len({path.lower() for path in paths}) == len(ids) - 1
    for row in rows:
        if row["path"]:
            file = (tmp_path / "out" / row["path"]).resolve()
            assert file.parent == (tmp_path / "out" / "00000").resolve()
            assert read_image(file).rgb[5, 5, 0] == int(row["ra"])
    assert rows[0]["path"] == "00000/a.png"
    assert rows[6]["path"] == "00000/x_y.png"


@given(st.lists(st.text(max_size=8) | st.sampled_from(["a", "A", "a-row2", "..", "CON"]), max_size=12))
def test_any_ids_give_safe_names_that_differ(ids):
    taken: set[str] = set()
    names = [file_name(Target(row, id_, 1.0, 2.0, 3.0), taken) for row, id_ in enumerate(ids)]
    assert len({name.lower() for name in names}) == len(ids)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,120}", name)


def test_a_thousand_rows_share_a_folder(tmp_path):
    table = pa.table({"id": ["same"] * 2001, "ra": [1.0] * 2001, "dec": np.linspace(-10, 10, 2001)})
    pq.write_table(table, tmp_path / "places.parquet")

    class Quick(Painted):
        def cutout(self, ra, dec, size, pixels):
            if dec > -10 and dec < 10:
                raise ImageError("not wanted")
            return super().cutout(ra, dec, size, pixels)

    make(tmp_path / "places.parquet", tmp_path / "out", Quick())
    assert files_of(tmp_path / "out") == ["00000/same.png", "00002/same.png"]


def test_what_is_there_is_not_fetched_again_and_what_failed_is(tmp_path):
    file = written(tmp_path, "id,ra,dec\n" + "".join(f"g{n},{n},0\n" for n in range(20)))
    make(file, tmp_path / "out", Painted(faults={3.0, 4.0}))
    with pytest.raises(CutoutError, match="--resume"):
        make(file, tmp_path / "out", Painted())
    again = Painted()
    made = make(file, tmp_path / "out", again, resume=True)
    assert sorted(again.asked) == [3, 4]
    assert (made.rows, made.failed, made.resumed) == (20, 0, 18)
    assert pq.read_table(made.table)["error"].to_pylist() == [""] * 20


def test_a_image_that_was_deleted_is_fetched_again(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,0\nb,2,0\n")
    make(file, tmp_path / "out", Painted())
    (tmp_path / "out" / "00000" / "b.png").unlink()
    again = Painted()
    make(file, tmp_path / "out", again, resume=True)
    assert again.asked == [2]


def test_a_catalogue_that_has_changed_costs_only_what_is_new(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,0\nb,2,0\nc,3,0\nd,4,0\n")
    make(file, tmp_path / "out", Painted())
    written(tmp_path, "id,ra,dec\na,1,0\nb,7,0\ne,3,0\n")
    again = Painted()
    made = make(file, tmp_path / "out", again, resume=True)
    assert sorted(again.asked) == [3, 7]
    assert pq.read_table(made.table)["id"].to_pylist() == ["a", "b", "e"]
    # No picture stays of rows that are gone.
    assert files_of(tmp_path / "out") == ["00000/a.png", "00000/b.png", "00000/e.png"]
    assert read_image(tmp_path / "out/00000/b.png").rgb[5, 5, 0] == 7


def test_another_request_is_not_mixed_in(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,0\n")
    make(file, tmp_path / "out", Painted())
    with pytest.raises(CutoutError, match=r"another pixels \(16, not 32\)"):
        make(file, tmp_path / "out", Painted(), pixels=32, resume=True)
    larger = Painted()
    make(file, tmp_path / "out", larger, size=80.0, resume=True)
    assert larger.asked == [1]  # the size is the row's own: it is fetched anew


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,0\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    with pytest.raises(CutoutError, match="holds other files than cutouts"):
        make(file, tmp_path / "out", Painted())
    assert os.listdir(tmp_path / "out") == ["thesis.tex"]
    (tmp_path / "ours").mkdir()
    journal = tmp_path / "ours" / "_journal.sqlite"
    journal.write_bytes(b"no database at all" * 100)
    with pytest.raises(CutoutError, match="no journal of cutouts"):
        make(file, tmp_path / "ours", Painted(), resume=True)
    for statements in ("CREATE TABLE done (row INTEGER)", "CREATE TABLE run (name TEXT)"):
        journal.unlink()
        with closing(sqlite3.connect(journal)) as database:
            database.execute(statements)
            database.commit()
        with pytest.raises(CutoutError, match=r"no journal of cutouts \(no such column"):
            make(file, tmp_path / "ours", Painted(), resume=True)


def test_two_runs_do_not_write_one_folder(tmp_path):
    file = written(tmp_path, "id,ra,dec\na,1,0\n")
    refused = []

    class Meanwhile(Painted):
        def cutout(self, *asked):
            with pytest.raises(CutoutError, match="another run is writing"):
                make(file, tmp_path / "out", Painted(), resume=True)
            refused.append(True)
            return super().cutout(*asked)

    assert make(file, tmp_path / "out", Meanwhile()).failed == 0
    assert refused == [True]


def test_a_source_s_own_mistake_is_a_row_s_error(tmp_path):
    class Broken:
        def cutout(self, *_):
            raise KeyError("oops")

    made = make(written(tmp_path, "id,ra,dec\na,1,0\n"), tmp_path / "out", Broken())
    assert made.errors[0].reason == "unexpected KeyError: 'oops'"


def test_jpeg_is_smaller_and_as_good_as_asked(tmp_path):
    class Drawn(Painted):
        def cutout(self, ra, dec, size, pixels):
            return Cutout(picture(0), Provenance("drawn", "", size / pixels, ""))

    file = written(tmp_path, "id,ra,dec\na,1,0\n")
    sizes = []
    for n, more in enumerate(({}, {"format": "jpeg"}, {"format": "jpeg", "quality": 20})):
        made = make(file, tmp_path / str(n), Drawn(), **more)
        path = made.table.parent / pq.read_table(made.table)["path"][0].as_py()
        assert path.suffix == (".jpg" if more else ".png")
        assert np.abs(read_image(path).rgb.astype(int) - picture(0)).mean() < 4
        sizes.append(path.stat().st_size)
    assert sizes[0] > sizes[1] > 2 * sizes[2]


# ---------------------------------------------------------------- threads


def test_errands_are_done_at_once_and_bounded():
    running, most, lock, held = 0, 0, threading.Lock(), []

    def errands():
        for n in range(50):
            held.append(n)
            yield n

    def do(n):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001)
        with lock:
            running -= 1
        return n

    done = []
    for n in imap_unordered(do, errands(), 4):
        done.append(n)
        assert len(held) - len(done) <= 8
    assert sorted(done) == list(range(50))
    assert 1 < most <= 4


def test_whoever_stops_listening_does_not_wait_for_what_is_under_way():
    never = threading.Event()
    made = imap_unordered(lambda n: n if n == 0 else never.wait(60), range(100), 2)
    begun = time.monotonic()
    next(made)
    made.close()
    assert time.monotonic() - begun < 30
    never.set()


# ---------------------------------------------------------------- the command


def command(sky, catalogue, output, *more):
    return (
        *("cutouts", catalogue, "--source", "legacy", "--mirror", sky.viewer, "--radius-column", "petroR90_r"),
        *("--rate", "1000", "--cache-size", "0", "-o", output, *more),
    )


def test_the_command_gives_the_images_of_the_sky(sky, catalogue, tmp_path, run, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = run(*command(sky, catalogue, tmp_path / "out")).stdout
    assert out == f"{tmp_path / 'out' / TABLE}: 6 galaxies, 0 without an image\n"
    for number, row in enumerate(pq.read_table(tmp_path / "out" / TABLE).to_pylist()):
        image = read_image(tmp_path / "out" / row["path"]).rgb
        assert image.shape == (424, 424, 3)
        assert np.median(np.abs(image.astype(int) - picture(number))) <= 4
        assert row["pixel_scale"] == pytest.approx(0.02 * RADIUS)
        assert row["layer"] == "ls-dr10"
    assert not (tmp_path / "cache").exists()  # --cache-size 0


def test_a_row_that_fails_is_named_and_the_exit_code_tells(sky, catalogue, tmp_path, run):
    sky.faults[150.2] = Fault("404")
    result = run(*command(sky, catalogue, tmp_path / "out", "--pixels", "64"), code=3)
    assert "6 galaxies, 1 without an image" in result.stdout
    assert f"{TABLE}, row 3 (g2): 127.0.0.1:" in result.stderr
    assert "no image there (HTTP 404: No)" in result.stderr
    sky.faults.clear()
    sky.asked_of.clear()
    told = run(*command(sky, catalogue, tmp_path / "out", "--pixels", "64", "--resume", "--json")).stdout
    assert '"resumed": 5' in told
    assert dict(sky.asked_of) == {150.2: 1}


@pytest.mark.parametrize("more", [(), ("--size", "40", "--radius-column", "r")])
def test_how_large_must_be_said_in_one_way(sky, catalogue, tmp_path, run, more):
    result = run("cutouts", catalogue, "--source", "legacy", "-o", tmp_path / "out", *more, code=2)
    assert "how large are the images?" in result.stderr
    assert not (tmp_path / "out").exists()


def test_no_such_source_is_reported_before_anything_is_made(catalogue, tmp_path, run):
    result = run("cutouts", catalogue, "--source", "nowhere", "--size", "40", "-o", tmp_path / "out", code=1)
    assert "no such source; there are hips:CDS" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_cache_spares_the_service_a_second_folder(sky, catalogue, tmp_path, run):
    for name in ("one", "two"):
        run(
            *command(
                sky, catalogue, tmp_path / name, "--pixels", "64", "--cache", tmp_path / "cache", "--cache-size", "0.01"
            )
        )
    assert set(sky.asked_of.values()) == {1}
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_without_asking_twice(sky, tmp_path):
    """SIGKILL several times; every file is whole, and no more is asked twice than was under way."""
    number = 60
    lines = "".join(f"g{n},{10 + n},{n / 10}\n" for n in range(number))
    file = written(tmp_path, "id,ra,dec\n" + lines)
    words = [sys.executable, "-m", "tuningfork", "cutouts", str(file), "--source", "legacy", "--mirror", sky.viewer]
    words += ["--size", str(FRAME), "--pixels", "64", "--rate", "60", "--cache-size", "0", "-o", str(tmp_path / "out")]
    kills = 0
    for kills in range(1, 4):
        target = 15 * kills
        with subprocess.Popen([*words, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while len(files_of(tmp_path / "out")) < target and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None
            process.send_signal(signal.SIGKILL)
        for name in files_of(tmp_path / "out"):
            if not os.path.basename(name).startswith("."):
                assert read_image(tmp_path / "out" / name).rgb.shape == (64, 64, 3)
        assert not (tmp_path / "out" / TABLE).exists()
    done = subprocess.run([*words, "--resume"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "out" / TABLE)
    assert table["id"].to_pylist() == [f"g{n}" for n in range(number)]
    assert table["error"].to_pylist() == [""] * number
    again = sum(asked - 1 for asked in sky.asked_of.values())
    assert again <= kills * 16  # what the threads had under way
    assert not list((tmp_path / "out").rglob(".*.part"))
