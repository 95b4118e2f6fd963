"""A survey's prediction: several processes, parts, shards, crashes; every row once, whatever happens."""

import json
import os
import signal
import sys
import warnings

import astropy.table
import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from astropy.utils.exceptions import AstropyUserWarning
from PIL import Image

import tuningfork
from tuningfork._utils.locks import lock
from tuningfork.inputs import InputItem, ItemReader
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline import local, predict
from tuningfork.pipeline.chunks import Chunk, predict_chunk
from tuningfork.pipeline.in_process import predict_inputs
from tuningfork.pipeline.manifest import MANIFEST, ManifestError, part_rows, read_run
from tuningfork.pipeline.merge import merge
from tuningfork.pipeline.options import ExecutionOptions
from tuningfork.pipeline.part_table import TableLayout
from tuningfork.pipeline.predict import PredictError, predict_files
from tuningfork.simulation import draw, render


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(60):
        Image.fromarray(render(draw(3, index))).resize((200, 200)).save(folder / f"{index:03d}.jpg", quality=90)
    for index in (7, 8, 31):
        (folder / f"{index:03d}.jpg").write_bytes(b"\xff\xd8\xff broken")
    return folder


@pytest.fixture(scope="module")
def whole(model, pictures, tmp_path_factory):
    file = tmp_path_factory.mktemp("whole") / "whole.parquet"
    predict_files(model, [pictures], file, execution=ExecutionOptions(chunk_rows=16, workers=1))
    return file.read_bytes()


def _entries(folder):
    return [InputItem(f"{n}", f"{n}", "file", f"{folder}/{n}.jpg") for n in range(20)]


# ---------------------------------------------------------------- processes


def test_one_row_group_is_decoded_once_for_all_workers(model, pictures, tmp_path, monkeypatch):
    """Workers that find no Parquet file read its images all the same: from what this process has decoded."""
    cells = [path.read_bytes() for path in sorted(pictures.iterdir())]
    table = tmp_path / "images.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(60)], "bytes": cells}), table, row_group_size=60)
    alone = predict_files(model, [table], tmp_path / "alone.parquet", execution=ExecutionOptions(workers=1))
    monkeypatch.setattr(predict, "GROUP", 2)
    seen = []
    run_tasks = local.run_tasks

    def spying(groups, workers, run):
        def watched():
            for group in groups:
                seen.extend(item.kind for chunk in group for item in chunk.items)
                yield group

        return run_tasks(watched(), workers, run)

    monkeypatch.setattr(local, "run_tasks", spying)
    folder = tmp_path / "shared"
    together = predict_files(model, [table], folder, execution=ExecutionOptions(workers=2, chunk_rows=16))
    assert (together.rows, together.failed) == (alone.rows, alone.failed) == (60, 3)
    assert set(seen) == {"spool"}
    assert not list(folder.glob(".spool*"))
    merged = pq.read_table(merge(read_run(folder), tmp_path / "shared.parquet"))
    assert merged.equals(pq.read_table(tmp_path / "alone.parquet"))


def test_the_table_is_the_same_with_however_many_processes(model, pictures, whole, tmp_path):
    summary = predict_files(
        model, [pictures], tmp_path / "out.parquet", execution=ExecutionOptions(chunk_rows=16, workers=3)
    )
    assert (tmp_path / "out.parquet").read_bytes() == whole
    assert [error.row for error in summary.errors] == [8, 9, 32]


def test_a_run_goes_on_with_another_number_of_processes(model, pictures, whole, tmp_path):
    output = tmp_path / "out.parquet"

    class Enough(Exception):
        pass

    def stop(done, total):
        if done > 40:
            raise Enough

    with pytest.raises(Enough):
        predict_files(model, [pictures], output, execution=ExecutionOptions(chunk_rows=16, workers=2), progress=stop)
    kept = len(list((tmp_path / "out.parquet.parts").glob("part-*")))
    assert kept >= 1
    summary = predict_files(model, [pictures], output, execution=ExecutionOptions(workers=1, resume=True))
    assert summary.resumed == 16 * kept
    assert output.read_bytes() == whole


def test_progress_of_processes_reaches_the_end(model, pictures, tmp_path):
    told = []
    execution = ExecutionOptions(chunk_rows=16, workers=2)
    predict_files(model, [pictures], tmp_path / "out", execution=execution, progress=lambda *each: told.append(each))
    assert told[-1] == (60, 60)
    assert told == sorted(set(told))


class Deadly:
    """A stand-in for a worker: its process dies over one row, and at first over any part."""

    def __init__(self, model, row, at_first=0):
        self.model, self.row, self.at_first, self.crashes = model, row, at_first, 0

    def run(self, chunk, on_message, idle):
        from tuningfork._utils.processes import WorkerCrash

        assert idle == local.IDLE_SECONDS

        def fail(said):
            self.crashes += 1
            raise WorkerCrash(-9, said)

        if self.at_first > self.crashes:
            fail(None)
        said = None
        if not chunk.row_by_row and self.row is not None and self.row not in chunk.known_failures:
            on_message(("rows", 3))
            fail(("rows", 3))
        for row in range(len(chunk.items)):
            if row not in chunk.known_failures:
                said = ("row", row)
                if row == self.row:
                    fail(said)
        with ItemReader() as reader:
            return predict_chunk(self.model, chunk, reader, TableLayout(), InferenceOptions(batch_size=4))


def test_the_row_that_kills_is_found_and_reported(model, pictures):
    items = [InputItem(p.stem, str(p), "file", str(p)) for p in sorted(pictures.iterdir())[10:16]]
    counted = []
    (part,) = local.drive_chunks(Deadly(model, row=4), [Chunk(0, items)], counted.append)
    table = pq.read_table(pyarrow.BufferReader(part.data))
    assert [bool(error) for error in table["error"].to_pylist()] == [False] * 4 + [True, False]
    assert "signal 9; out of memory?" in table["error"][4].as_py()
    assert sum(counted) == 6


class Hanging(Deadly):
    """A stand-in for a worker that never ends with one row."""

    def run(self, chunk, on_message, idle):
        from tuningfork._utils.processes import WorkerCrash, WorkerTimeout

        try:
            return super().run(chunk, on_message, idle)
        except WorkerCrash as crash:
            raise WorkerTimeout("took longer than 300 s", crash.last_message) from None


def test_a_row_that_never_ends_is_reported_and_the_others_are_predicted(model, pictures):
    items = [InputItem(p.stem, str(p), "file", str(p)) for p in sorted(pictures.iterdir())[10:16]]
    worker = Hanging(model, row=2)
    (part,) = local.drive_chunks(worker, [Chunk(0, items)], lambda rows: None)
    table = pq.read_table(pyarrow.BufferReader(part.data))
    assert [bool(error) for error in table["error"].to_pylist()] == [False, False, True, False, False, False]
    assert "ended with a timeout: it took longer than 300 s" in table["error"][2].as_py()
    # Row by row at once: each further attempt would take as long.
    assert worker.crashes == 2


def test_a_process_that_dies_by_chance_costs_no_row(model, pictures):
    items = [InputItem(p.stem, str(p), "file", str(p)) for p in sorted(pictures.iterdir())[10:16]]
    (part,) = local.drive_chunks(Deadly(model, None, at_first=1), [Chunk(0, items)], lambda rows: None)
    assert (part.rows, part.failed) == (6, 0)


def test_a_process_that_dies_between_two_rows_blames_neither(model, pictures):
    items = [InputItem(p.stem, str(p), "file", str(p)) for p in sorted(pictures.iterdir())[10:13]]

    class Between(Deadly):
        def run(self, chunk, on_message, idle):
            from tuningfork._utils.processes import WorkerCrash

            if self.crashes < 3:
                self.crashes += 1
                raise WorkerCrash(-9, ("rows", 1))
            return super().run(chunk, on_message, idle)

    (part,) = local.drive_chunks(Between(model, None), [Chunk(0, items)], lambda rows: None)
    assert (part.rows, part.failed) == (3, 0)


def test_a_part_over_which_everything_dies_is_given_up(model, pictures):
    from tuningfork._utils.processes import WorkerError

    items = [InputItem(p.stem, str(p), "file", str(p)) for p in sorted(pictures.iterdir())[10:12]]
    with pytest.raises(WorkerError, match="fewer --workers"):
        list(local.drive_chunks(Deadly(model, None, at_first=10**6), [Chunk(0, items)], lambda rows: None))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_killed_workers_are_replaced_and_no_row_is_lost(model, pictures, whole, tmp_path):
    """The system kills a worker, as it does when memory runs out; the run notices, and ends well."""
    killed = []

    def kill_one(done, total):
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
                with open(f"/proc/{pid}/cmdline") as file:
                    command = file.read()
            except OSError:
                continue
            if parent == os.getpid() and "tuningfork._utils.processes" in command and len(killed) < 2:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    predict_files(
        model,
        [pictures],
        tmp_path / "out.parquet",
        inference=InferenceOptions(batch_size=8),
        execution=ExecutionOptions(chunk_rows=16, workers=2),
        progress=kill_one,
    )
    assert killed
    assert (tmp_path / "out.parquet").read_bytes() == whole


# ---------------------------------------------------------------- folders of parts


def test_a_folder_of_parts_opens_as_one_data_set_everywhere(model, pictures, tmp_path):
    predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(chunk_rows=16, workers=1))
    wanted = sorted(path.stem for path in pictures.iterdir())
    folder = tmp_path / "votes"
    assert sorted(pandas.read_parquet(folder)["id"]) == wanted
    assert sorted(pyarrow.dataset.dataset(folder).to_table()["id"].to_pylist()) == wanted
    assert sorted(polars.scan_parquet(folder / "*.parquet").collect()["id"]) == wanted
    rows = duckdb.sql(f"select id from read_parquet('{folder}/*.parquet')").fetchall()
    assert sorted(row[0] for row in rows) == wanted
    merge(read_run(folder), tmp_path / "votes.fits")
    with warnings.catch_warnings():
        # Truths that are not known, which astropy's reader has no place for.
        warnings.simplefilter("ignore", AstropyUserWarning)
        assert sorted(astropy.table.Table.read(tmp_path / "votes.fits")["id"]) == wanted


def test_merged_is_what_one_table_would_have_been(model, pictures, whole, tmp_path, run):
    predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(chunk_rows=16, workers=1))
    told = json.loads(run("merge", tmp_path / "votes", "-o", tmp_path / "one.parquet", "--json", code=3).stdout)
    assert (tmp_path / "one.parquet").read_bytes() == whole
    assert (told["rows"], told["failed"]) == (60, 3)


def test_a_finished_folder_is_not_written_again(model, pictures, tmp_path):
    predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1))
    with pytest.raises(ManifestError, match="finished"):
        predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1))
    assert (
        predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1, resume=True)).resumed
        == 60
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "gone", "short"])
def test_a_damaged_part_is_done_again(model, pictures, whole, tmp_path, damage):
    folder = tmp_path / "votes"
    predict_files(model, [pictures], folder, execution=ExecutionOptions(chunk_rows=16, workers=1))
    part = folder / "part-00000002.parquet"
    data = part.read_bytes()
    if damage == "gone":
        part.unlink()
    elif damage == "short":
        pq.write_table(pq.read_table(part).slice(0, 3), part)
    else:
        part.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "noise": bytes(len(data))}[damage])
    summary = predict_files(model, [pictures], folder, execution=ExecutionOptions(workers=1, resume=True))
    assert summary.resumed == 60 - 16
    assert merge(read_run(folder), tmp_path / "one.parquet").read_bytes() == whole


def test_bits_that_flipped_on_the_disk_are_noticed(model, pictures, tmp_path):
    folder = tmp_path / "votes"
    predict_files(model, [pictures], folder, execution=ExecutionOptions(workers=1))
    part = folder / "part-00000000.parquet"
    data = bytearray(part.read_bytes())
    data[2000] ^= 0xFF  # a page has a checksum, which the footer has not
    part.write_bytes(data)
    with pytest.raises(ManifestError, match="damaged"):
        merge(read_run(folder), tmp_path / "one.parquet")
    assert not (tmp_path / "one.parquet").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"form": 99}', '{"form": 1, "run": {}, "inputs": {}, "part_rows": 1}', "\x00" * 40],
)
def test_a_manifest_that_cannot_be_read_is_reported(model, pictures, tmp_path, text):
    predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1))
    (tmp_path / "votes" / MANIFEST).write_text(text)
    with pytest.raises(ManifestError, match=r"_manifest\.json"):
        predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1, resume=True))


def test_a_manifest_of_another_run_is_reported(model, pictures, tmp_path):
    predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1))
    with pytest.raises(ManifestError, match="another views"):
        predict_files(
            model,
            [pictures],
            tmp_path / "votes",
            inference=InferenceOptions(n_views=2),
            execution=ExecutionOptions(workers=1, resume=True),
        )
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes((pictures / "000.jpg").read_bytes())
    with pytest.raises(ManifestError, match="other images"):
        predict_files(model, [other], tmp_path / "votes", execution=ExecutionOptions(workers=1, resume=True))


def test_a_image_that_changes_while_the_run_goes_on_is_a_row_error(model, pictures, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.jpg").write_bytes((pictures / "000.jpg").read_bytes())

    def change(done, total):
        (folder / "d.jpg").write_bytes((pictures / "001.jpg").read_bytes() + b"  ")

    summary = predict_files(
        model,
        [folder],
        tmp_path / "out",
        inference=InferenceOptions(batch_size=1),
        execution=ExecutionOptions(chunk_rows=1, workers=1),
        progress=change,
    )
    assert [(error.id, "changed since" in error.reason) for error in summary.errors] == [("d", True)]


@pytest.mark.slow
def test_a_full_disk_in_mid_part_leaves_a_run_that_goes_on(model, pictures, whole, tmp_path, monkeypatch):
    output, replaced = tmp_path / "out.parquet", os.replace

    def full(source, target):
        if "part-00000002" in str(target):
            raise OSError(28, "No space left on device")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        predict_files(model, [pictures], output, execution=ExecutionOptions(chunk_rows=16, workers=2))
    monkeypatch.undo()
    assert not output.exists()
    assert not list((tmp_path / "out.parquet.parts").glob(".part-*"))
    assert predict_files(model, [pictures], output, execution=ExecutionOptions(workers=2, resume=True)).resumed > 0
    assert output.read_bytes() == whole


def test_positions_travel_with_the_votes(model, pictures):
    items = [
        InputItem("a", "a", "file", str(pictures / "000.jpg"), right_ascension=1.5, declination=-2.0),
        InputItem("b", "b", "file", str(pictures / "001.jpg")),
    ]
    with ItemReader() as reader:
        part = predict_chunk(model, Chunk(0, items), reader, TableLayout(positions=True))
    table = pq.read_table(pyarrow.BufferReader(part.data))
    assert table.column_names[:4] == ["id", "path", "ra", "dec"]
    assert table["ra"].to_pylist() == [1.5, None]
    assert table["dec"].to_pylist() == [-2.0, None]
    assert table.schema.field("ra").metadata[b"unit"] == b"deg"


def test_a_bug_in_reading_is_a_row_error_too(model, pictures, monkeypatch):
    from tuningfork.model.image_reader import ImageReader

    monkeypatch.setattr(ImageReader, "read", lambda *a, **k: 1 / 0)
    with ItemReader() as reader:
        part = predict_chunk(model, Chunk(0, _entries(pictures)[:2]), reader, TableLayout())
    assert (part.rows, part.failed) == (2, 2)


# ---------------------------------------------------------------- shards


def _shards(model, pictures, folder, numbers, of):
    return [
        predict_files(
            model,
            [pictures],
            folder,
            inference=InferenceOptions(batch_size=8),
            execution=ExecutionOptions(shard=(n, of), workers=1, chunk_rows=8),
        )
        for n in numbers
    ]


def test_shards_write_one_folder(model, pictures, tmp_path):
    first, second, third = _shards(model, pictures, tmp_path / "votes", [2, 3, 1], 3)
    assert (first.complete, second.complete, third.complete) == (False, False, True)
    assert first.rows + second.rows + third.rows == 60
    table = pandas.read_parquet(tmp_path / "votes")
    assert sorted(table["id"]) == sorted(path.stem for path in pictures.iterdir())
    assert json.loads((tmp_path / "votes" / MANIFEST).read_text())["complete"]
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".lock"]


def test_shards_of_another_number_are_refused(model, pictures, tmp_path):
    _shards(model, pictures, tmp_path / "votes", [1], 3)
    with pytest.raises(ManifestError, match="3 shards"):
        _shards(model, pictures, tmp_path / "votes", [1], 4)
    assert predict_files(
        model, [pictures], tmp_path / "votes", execution=ExecutionOptions(resume=True, workers=1)
    ).complete


def test_more_shards_than_parts_do_nothing_and_say_so(model, pictures, tmp_path):
    (summary,) = _shards(model, pictures, tmp_path / "votes", [50], 50)
    assert (summary.rows, summary.complete) == (0, False)


def test_a_shard_and_a_whole_run_do_not_write_together(model, pictures, tmp_path):
    pytest.importorskip("fcntl")
    with lock(tmp_path / ".votes.lock"), pytest.raises(PredictError, match="another run"):
        _shards(model, pictures, tmp_path / "votes", [1], 2)
    with lock(tmp_path / ".votes.lock", shared=True):
        with pytest.raises(PredictError, match="another run"):
            predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(workers=1))
        _shards(model, pictures, tmp_path / "votes", [1], 2)


def test_shards_need_a_folder(model, pictures, tmp_path):
    with pytest.raises(PredictError, match="folder of parts"):
        predict_files(model, [pictures], tmp_path / "votes.parquet", execution=ExecutionOptions(shard=(1, 2)))
    with pytest.raises(PredictError, match="counts from 1"):
        predict_files(model, [pictures], tmp_path / "votes", execution=ExecutionOptions(shard=(3, 2)))


def test_merging_too_early_says_what_lacks(model, pictures, tmp_path, run):
    _shards(model, pictures, tmp_path / "votes", [1], 3)
    assert "lacks 5 parts of 8" in run("merge", tmp_path / "votes", "-o", tmp_path / "one.csv", code=1).stderr
    with pytest.raises(ManifestError, match="missing"):
        merge(read_run(tmp_path / "votes"), tmp_path / "one.csv")


# ---------------------------------------------------------------- sizes


def test_parts_grow_with_the_run_and_keep_all_workers_busy():
    sizes = [part_rows(rows) for rows in (1, 10**3, 10**5, 10**6, 10**8)]
    assert sizes == sorted(sizes)
    for rows in (100, 5000, 10**5, 10**7):
        for workers in (1, 2, 16, 64):
            size = part_rows(rows, workers)
            assert 64 <= size <= 8192
            assert size == 64 or -(-rows // size) >= 11 * workers


def test_in_memory_and_on_disk_are_one(model, pictures, tmp_path):
    parts = list(predict_inputs(model, [pictures], inference=InferenceOptions(batch_size=8)))
    predict_files(model, [pictures], tmp_path / "out.parquet", execution=ExecutionOptions(workers=1))
    table = pq.read_table(tmp_path / "out.parquet")
    told = pyarrow.concat_tables([part.to_table() for part in parts])
    for name in table.column_names:
        if pyarrow.types.is_floating(table.schema.field(name).type):
            np.testing.assert_allclose(table[name].to_numpy(), told[name].to_numpy(), atol=1e-5)
        else:
            assert table[name].to_pylist() == told[name].to_pylist()
