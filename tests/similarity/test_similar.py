"""Similar galaxies: an index that finds what is near, trusts nothing it reads, and appears whole or not at all."""

from __future__ import annotations

import base64
import importlib
import json
import sys
import weakref
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tuningfork
from tuningfork.model.embeddings import Embedder, EmbeddingError
from tuningfork.similarity import Block, EmbeddingTables, Index, Match, Neighbour, SimilarityError, build_index
from tuningfork.similarity import index_file as file
from tuningfork.similarity.neighbours_page import write_montage
from tuningfork.similarity.pca import fit_axes
from tuningfork.similarity.query import query
from tuningfork.simulation import simulate
from tuningfork.tables.arrow import text_array, vector_array

build_module = importlib.import_module("tuningfork.similarity.build")
pytest.importorskip("faiss", reason="the extra `similar` is not installed")

QUICK = settings(max_examples=25, derandomize=True)
EMBEDDER = Embedder("small", "ab" * 32, 4, 12)


def embeddings_of(count, seed=0, width=12):
    """As a network's are: positive, with a common mean, on fewer directions than there are numbers."""
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(size=(count, 4)) @ rng.normal(size=(4, width)) + 3).astype(np.float32)


def block_of(values, prefix="g"):
    names = [f"{prefix}{row}" for row in range(len(values))]
    return Block(names, [f"pictures/{name}.jpg" for name in names], values, [""] * len(names))


def in_blocks(values, size):
    whole = block_of(values)
    for at in range(0, len(values), size):
        part = slice(at, at + size)
        yield Block(whole.ids[part], whole.paths[part], values[part], whole.errors[part])


@pytest.fixture
def made(tmp_path):
    """An index of 60 galaxies, and their embeddings."""
    values = embeddings_of(60)
    build_index([block_of(values)], EMBEDDER, tmp_path / "small.index")
    return tmp_path / "small.index", values


# ------------------------------------------------------------------ finding


def cosines(values, mean):
    """Independent of ours: in float64, all against all, on all axes."""
    unit = values / np.linalg.norm(values, axis=1, keepdims=True).astype(float)
    away = unit - mean
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    return away @ away.T


def test_each_galaxy_finds_itself_first_and_then_the_nearest(made):
    path, values = made
    index = Index.open(path)
    assert len(index) == 60
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    expected = cosines(values.astype(float), unit.astype(float).mean(0))
    for row, near in enumerate(index.near(values, 5, embedder=EMBEDDER)):
        assert near[0].id == f"g{row}"
        assert near[0].path == f"pictures/g{row}.jpg"
        assert near[0].distance < 1e-3
        distances = [each.distance for each in near]
        assert distances == sorted(distances)
        own = 1 - np.sort(expected[row])[::-1][:5]
        np.testing.assert_allclose(distances, own, atol=2e-3)
        for each in near:
            assert each.distance == pytest.approx(1 - expected[row, int(each.id[1:])], abs=2e-3)


@given(st.floats(1e-3, 1e3), st.integers(0, 1000))
@QUICK
def test_only_the_direction_of_an_embedding_counts(scale, seed):
    axes = fit_axes(embeddings_of(40), 8)
    values = embeddings_of(5, seed)
    np.testing.assert_allclose(axes.vectors(values * np.float32(scale)), axes.vectors(values), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(axes.vectors(values), axis=1), 1, atol=1e-5)


def test_axes_keep_the_most_that_so_many_can():
    values = embeddings_of(200).astype(float)
    axes = fit_axes(values, 3)
    np.testing.assert_allclose(axes.axes @ axes.axes.T, np.eye(3), atol=1e-5)
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    away = unit - unit.mean(0)
    singular = np.linalg.svd(away, compute_uv=False)
    kept = ((away @ axes.axes.T.astype(float)) ** 2).sum()
    assert kept == pytest.approx((singular[:3] ** 2).sum(), rel=1e-4)


def test_a_image_that_could_not_be_read_has_no_neighbours(made):
    path, values = made
    asked = values[:3].copy()
    asked[1, 4] = np.nan
    assert [len(near) for near in Index.open(path).near(asked, 4)] == [4, 0, 4]
    assert Index.open(path).near(values[:0], 4) == []


def test_no_more_than_all_are_found(made):
    path, values = made
    (near,) = Index.open(path).near(values[:1], 1000)
    assert sorted(each.id for each in near) == sorted(f"g{row}" for row in range(60))


def test_many_are_asked_as_each_alone(made, monkeypatch):
    from tuningfork.similarity import index as module

    path, values = made
    index = Index.open(path)
    together = index.near(values, 3)
    monkeypatch.setattr(module, "_BATCH", 7)
    assert [[each.id for each in near] for near in index.near(values, 3)] == [
        [each.id for each in near] for near in together
    ]


@pytest.mark.parametrize("k", [0, -1])
def test_at_least_one_is_asked_for(made, k):
    with pytest.raises(ValueError, match="at least 1"):
        Index.open(made[0]).near(made[1], k)


def test_embeddings_of_another_model_are_refused(made):
    path, values = made
    index = Index.open(path)
    assert (index.embedder.model, index.embedder.sha256) == ("small", "ab" * 32)
    for other in ({"model": "large"}, {"sha256": "cd" * 32}, {"n_views": 1}):
        with pytest.raises(EmbeddingError, match="of another"):
            index.near(values, 3, embedder=replace(EMBEDDER, **other))
    with pytest.raises(ValueError, match=r"\(N, 12\) is expected"):
        index.near(values[:, :7], 3)


def test_a_query_without_embeddings_names_the_remedy(made):
    predictions = tuningfork.load("fast").predict([])
    with pytest.raises(EmbeddingError, match="embeddings=True"):
        list(query(Index.open(made[0]), [predictions]))


def test_without_faiss_the_remedy_is_named(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SimilarityError, match=r"pip install '\.\[similar\]'"):
        Index.open(made[0])


# ------------------------------------------------------------------ making


@pytest.mark.parametrize("size", [1, 7, 60])
def test_in_which_blocks_they_come_does_not_matter(made, tmp_path, size):
    path, values = made
    build_index(in_blocks(values, size), EMBEDDER, tmp_path / "other.index")
    one, other = (file.read_index(each) for each in (path, tmp_path / "other.index"))
    np.testing.assert_array_equal(one.vectors, other.vectors)
    assert one.ids.to_pylist() == other.ids.to_pylist()


def test_rows_without_an_embedding_are_left_out_and_named(tmp_path):
    values = embeddings_of(6)
    values[[1, 4]] = np.nan
    block = replace(block_of(values), errors=["", "empty file", "", "", "", ""])
    built = build_index([block, replace(block_of(embeddings_of(2), "h"))], EMBEDDER, tmp_path / "some.index")
    assert (built.rows, built.added, built.failed) == (6, 6, 2)
    assert [(error.row, error.id, error.reason) for error in built.errors] == [
        (2, "g1", "empty file"),
        (5, "g4", "it has no embedding"),
    ]
    assert "g1" not in file.read_index(tmp_path / "some.index").ids.to_pylist()


def test_more_can_be_added(made, tmp_path):
    path, values = made
    more = embeddings_of(5, seed=9)
    built = build_index([block_of(more, "new")], EMBEDDER, path, onto=path)
    assert (built.rows, built.added) == (65, 5)
    index = Index.open(path)
    assert [near[0].id for near in index.near(more, 1)] == [f"new{row}" for row in range(5)]
    assert [near[0].id for near in index.near(values, 1)] == [f"g{row}" for row in range(60)]
    before = path.read_bytes()
    with pytest.raises(EmbeddingError, match="another model"):
        build_index([block_of(more)], replace(EMBEDDER, model="large"), path, onto=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("blocks", [[], [block_of(np.full((3, 12), np.nan, np.float32))]])
def test_of_nothing_there_is_no_index(made, tmp_path, blocks):
    with pytest.raises(SimilarityError, match="no galaxy has an embedding"):
        build_index(blocks, EMBEDDER, tmp_path / "none.index")
    before = made[0].read_bytes()
    with pytest.raises(SimilarityError, match="nothing to add"):
        build_index(blocks, EMBEDDER, made[0], onto=made[0])
    assert made[0].read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["small.index"]


def test_fewer_galaxies_than_axes_are_indexed_too(tmp_path):
    values = embeddings_of(3)
    build_index([block_of(values)], EMBEDDER, tmp_path / "few.index")
    assert [near[0].id for near in Index.open(tmp_path / "few.index").near(values, 1)] == ["g0", "g1", "g2"]


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def failing():
        yield block_of(embeddings_of(5))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        build_index(failing(), EMBEDDER, tmp_path / "half.index")
    assert list(tmp_path.iterdir()) == []


def test_too_many_galaxies_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MAX_ROWS", 10)
    with pytest.raises(SimilarityError, match="more than 10 galaxies"):
        build_index(in_blocks(embeddings_of(20), 4), EMBEDDER, tmp_path / "large.index")
    assert list(tmp_path.iterdir()) == []


def test_no_more_than_a_sample_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "SAMPLE", 50)
    born, most = [], 0

    class Watched(np.ndarray):
        """One whose copies and views are known too."""

        def __array_finalize__(self, _):
            born.append(weakref.ref(self))

    def blocks():
        nonlocal most
        for number in range(40):
            yield block_of(embeddings_of(10, number).view(Watched), f"{number}-")
            most = max(most, sum(each() is not None for each in born))

    build_index(blocks(), EMBEDDER, tmp_path / "streamed.index")
    assert len(file.read_index(tmp_path / "streamed.index").vectors) == 400
    assert 5 <= most < 20


# ------------------------------------------------------------------ tables


def written(path, count, seed=0, embedder=EMBEDDER, **columns):
    values = embeddings_of(count, seed, embedder.width)
    block = block_of(values, f"s{seed}-")
    arrays = {"id": text_array(block.ids), "path": text_array(block.paths), **columns}
    schema = pa.schema([*(pa.field(name, array.type) for name, array in arrays.items()), embedder.field])
    pq.write_table(pa.table([*arrays.values(), vector_array(values)], schema=schema), path)
    return values


def test_a_table_and_a_folder_of_parts_are_indexed(tmp_path):
    (tmp_path / "votes").mkdir()
    first = written(tmp_path / "votes" / "part-0.parquet", 7, 1)
    second = written(tmp_path / "votes" / "part-1.parquet", 5, 2)
    (tmp_path / "votes" / "_manifest.json").write_text("{}")
    tables = EmbeddingTables([tmp_path / "votes"])
    assert tables.embedder == EMBEDDER
    assert build_index(tables.blocks(), EMBEDDER, tmp_path / "all.index").rows == 12
    found = Index.open(tmp_path / "all.index").near(np.concatenate([first, second]), 1)
    assert [near[0].id for near in found] == [f"s1-{n}" for n in range(7)] + [f"s2-{n}" for n in range(5)]


def test_tables_of_two_models_are_refused(tmp_path):
    written(tmp_path / "a.parquet", 3)
    written(tmp_path / "b.parquet", 3, embedder=replace(EMBEDDER, sha256="cd" * 32))
    with pytest.raises(EmbeddingError, match=r"b\.parquet: its embeddings are of another model"):
        EmbeddingTables([tmp_path / "a.parquet", tmp_path / "b.parquet"])


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "cannot be read as Parquet"), (b"PAR1 and no more", "cannot be read as Parquet")]
)
def test_a_table_that_is_none_is_reported(tmp_path, content, told):
    (tmp_path / "votes.parquet").write_bytes(content)
    with pytest.raises(SimilarityError, match=told):
        EmbeddingTables([tmp_path / "votes.parquet"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SimilarityError, match="no Parquet file"):
        EmbeddingTables([tmp_path / "empty"])
    with pytest.raises(SimilarityError, match="no such file"):
        EmbeddingTables([tmp_path / "missing.parquet"])


# ------------------------------------------------------------------ files that are not to be trusted


def test_the_file_is_a_table_that_others_read(made):
    path, _ = made
    table = pq.read_table(path)
    assert table.column_names == ["id", "path", "vector"]
    assert table["vector"].type == pa.binary(24)
    header = json.loads(pq.read_metadata(path).metadata[b"tuningfork"])
    assert header == {
        "format": "tuningfork-index", "version": 1, "model": "small", "sha256": "ab" * 32, "n_views": 4, "width": 12,
        "components": 12,
    }  # fmt: skip


@pytest.mark.slow
@given(st.data())
@settings(max_examples=150, derandomize=True)
def test_no_changed_byte_is_taken_for_what_was_written(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("changed")
    path = folder / "small.index"
    build_index([block_of(embeddings_of(20))], EMBEDDER, path)
    whole, before = path.read_bytes(), file.read_index(path)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(whole[:at] + changed + whole[at + 1 :])
    try:
        after = file.read_index(path)
    except SimilarityError:
        return
    # A byte that means nothing, such as in the name of the library that wrote the file.
    assert after.embedder == before.embedder
    assert after.ids.to_pylist() == before.ids.to_pylist()
    assert after.paths.to_pylist() == before.paths.to_pylist()
    np.testing.assert_array_equal(after.vectors, before.vectors)
    np.testing.assert_array_equal(after.axes.axes, before.axes.axes)


@pytest.mark.parametrize("content", [b"", b"x", b"PAR1", b"PAR1" * 10, bytes(1000), b"\x80\x04pickle" * 100])
def test_what_is_no_index_is_refused(tmp_path, content):
    path = tmp_path / "no.index"
    path.write_bytes(content)
    with pytest.raises(SimilarityError, match="make it again"):
        Index.open(path)
    with pytest.raises(OSError, match="No such file"):
        Index.open(tmp_path / "missing.index")


def test_a_file_that_is_cut_is_refused(made):
    path, _ = made
    whole = path.read_bytes()
    for size in range(0, len(whole), 997):
        path.write_bytes(whole[:size])
        with pytest.raises(SimilarityError):
            file.read_index(path)


def rewritten(path, header=None, table=None, **options):
    """The file again with other content, and a digest that fits it."""
    parquet = pq.ParquetFile(path)
    about = {key: value.decode() for key, value in parquet.metadata.metadata.items()}
    table = table(parquet.read()) if table else parquet.read()
    about[b"tuningfork"] = json.dumps({**json.loads(about[b"tuningfork"]), **(header or {})})
    about.update(options.pop("about", {}))
    digest = file._Digest(about)
    for batch in table.to_batches():
        digest.add(batch)
    about[b"sha256"] = digest.hexdigest()
    options = {"compression": "none", "use_dictionary": False, "store_schema": False, **options}
    schema = pa.schema([field.with_nullable(False) for field in table.schema])
    with pq.ParquetWriter(path, schema, **options) as writer:
        writer.write_table(table.cast(schema))
        writer.add_key_value_metadata(about)


def test_the_same_content_again_is_read(made):
    rewritten(made[0])
    assert len(file.read_index(made[0]).vectors) == 60


@pytest.mark.parametrize(
    "header",
    [
        {"format": "other"}, {"version": 2}, {"version": "1"}, {"model": 3}, {"sha256": None}, {"n_views": "4"},
        {"width": 13}, {"width": 10**9}, {"width": -1}, {"components": 0}, {"components": 13}, {"components": True},
        {"components": 11},
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused(made, header):
    rewritten(made[0], header)
    with pytest.raises(SimilarityError, match="make it again"):
        file.read_index(made[0])


def spoilt(value):
    def spoil(table):
        vectors = [row.as_py() for row in table["vector"]]
        vectors[3] = np.full(12, value, "<f2").tobytes()
        return table.set_column(2, "vector", pa.array(vectors, pa.binary(24)))

    return spoil


@pytest.mark.parametrize("value", [np.nan, np.inf, 100.0])
def test_vectors_that_are_not_of_length_one_are_refused(made, value):
    rewritten(made[0], table=spoilt(value))
    with pytest.raises(SimilarityError, match="length 1"):
        file.read_index(made[0])


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"use_dictionary": True}])
def test_a_file_that_could_grow_in_memory_is_refused(made, options):
    rewritten(made[0], **options)
    with pytest.raises(SimilarityError, match="not written as an index"):
        file.read_index(made[0])


def test_axes_that_are_no_numbers_are_refused(made):
    for axes in ("!!!", base64.b64encode(b"\0\0\xc0\x7f" * 144).decode(), base64.b64encode(bytes(16)).decode()):
        rewritten(made[0], about={b"axes": axes})
        with pytest.raises(SimilarityError, match="make it again"):
            file.read_index(made[0])


def test_limits_are_looked_at_before_the_rows(made, monkeypatch):
    monkeypatch.setattr(file, "MAX_ROWS", 59)
    with pytest.raises(SimilarityError, match="more than it can hold"):
        file.read_index(made[0])
    monkeypatch.setattr(file, "MAX_FOOTER_BYTES", 100)
    with pytest.raises(SimilarityError, match="larger than 100 bytes"):
        file.read_index(made[0])


# ------------------------------------------------------------------ as a person uses it


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    """Sixteen galaxies, and one file that is none."""
    folder = simulate(tmp_path_factory.mktemp("similar") / "sim", 16, seed=8, workers=1) / "images_training_rev1"
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def index_file(galaxies, tmp_path_factory):
    from typer.testing import CliRunner

    from tuningfork.cli import app

    path = tmp_path_factory.mktemp("index") / "galaxies.index"
    done = CliRunner().invoke(app, ["index", str(galaxies), "-o", str(path), "--model", "fast"])
    assert done.exit_code == 3, done.output
    assert "16 galaxies, 1 left out" in done.stdout
    assert "broken" in done.stderr
    return path


def test_an_index_of_a_table_is_that_of_its_images(run, galaxies, index_file, tmp_path):
    run("predict", galaxies, "-o", tmp_path / "votes.parquet", "--embeddings", "--model", "fast", code=3)
    told = json.loads(run("index", tmp_path / "votes.parquet", "-o", tmp_path / "it", "--json", code=3).stdout)
    assert {key: told[key] for key in ("rows", "added", "failed", "model")} == {
        "rows": 16, "added": 16, "failed": 1, "model": "fast",
    }  # fmt: skip
    one, other = file.read_index(index_file), file.read_index(tmp_path / "it")
    assert one.ids.to_pylist() == other.ids.to_pylist()
    cosines = [each.vectors.astype(float) @ each.vectors.T.astype(float) for each in (one, other)]
    np.testing.assert_allclose(*cosines, atol=0.01)
    assert (
        "32 galaxies (16 of them new)"
        in run("index", tmp_path / "votes.parquet", "-o", tmp_path / "it", "--add", code=3).stdout
    )


def test_a_table_without_embeddings_says_how_to_get_them(run, galaxies, tmp_path):
    run("predict", galaxies, "-o", tmp_path / "votes.parquet", "--model", "fast", code=3)
    said = run("index", tmp_path / "votes.parquet", "-o", tmp_path / "it", code=1).stderr
    assert "predict --embeddings" in said
    run("index", galaxies, "-o", tmp_path / "it", "--add", code=2)


def test_a_image_does_not_find_itself_unless_it_is_asked_to(run, galaxies, index_file):
    picture = sorted(galaxies.glob("*.jpg"))[2]
    others = json.loads(run("similar", picture, "--index", index_file, "-k", "4", "--json").stdout)
    assert len(others["neighbours"]) == 4
    assert picture.stem not in [each["id"] for each in others["neighbours"]]
    all_ = json.loads(run("similar", picture, "--index", index_file, "-k", "4", "--json", "--include-self").stdout)
    assert all_["neighbours"][0]["id"] == picture.stem
    assert all_["neighbours"][1:] == others["neighbours"][:3]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_copy_finds_its_galaxy_first(run, galaxies, index_file, tmp_path, turns):
    for picture in sorted(galaxies.glob("*.jpg"))[:6]:
        if picture.stem != "broken":
            Image.fromarray(np.rot90(np.asarray(Image.open(picture)), turns)).save(tmp_path / f"{picture.stem}.png")
    told = [json.loads(line) for line in run("similar", tmp_path, "--index", index_file, "--json").stdout.splitlines()]
    assert len(told) == 6
    for each in told:
        assert each["neighbours"][0]["id"] == each["id"]
        # Not 0: `fast` takes one view of an image.
        assert each["neighbours"][0]["distance"] < 0.25


def test_bad_images_are_rows_and_the_rest_is_found(run, galaxies, index_file):
    result = run("similar", galaxies, "--index", index_file, "-k", "3", code=3)
    assert "broken" in result.stderr
    assert result.stdout.count("\n") == 16 * 4


def test_an_index_of_another_model_is_refused(run, galaxies, index_file, tmp_path):
    picture = sorted(galaxies.glob("*.jpg"))[0]
    said = run("similar", picture, "--index", index_file, "--model", "default", code=1).stderr
    assert "another model (default" in said
    said = run("similar", picture, "--index", picture, code=1).stderr
    assert "not an index" in said
    run("similar", picture, "--index", index_file, "-o", tmp_path / "out.txt", code=2)


def test_a_page_shows_images_and_needs_nothing_else(run, galaxies, index_file, tmp_path):
    page = tmp_path / "similar.html"
    run("similar", galaxies, "--index", index_file, "-k", "3", "-o", page, code=3)
    html = page.read_text("utf-8")
    assert html.count("<img") == 16 * 4
    assert 'src="http' not in html
    assert "not an image of a known kind" in html


def test_a_montage_has_a_row_for_each_image(run, galaxies, index_file, tmp_path):
    pictures = sorted(galaxies.glob("2*.jpg"))[:2]
    run("similar", *pictures, "--index", index_file, "-k", "3", "-o", tmp_path / "similar.png")
    with Image.open(tmp_path / "similar.png") as sheet:
        assert sheet.size[0] > 4 * 112
        assert sheet.size[1] > 2 * 112
        assert np.asarray(sheet).std() > 10


def test_a_montage_that_no_memory_holds_is_refused(tmp_path):
    near = [Neighbour("a", "a.jpg", 0.1)] * 1000
    matches = [Match(str(n), "", "", "", "", tuple(near)) for n in range(200)]
    with pytest.raises(SimilarityError, match=r"118\d+×29\d+ px; choose fewer images or neighbours"):
        write_montage(matches, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_images_that_have_moved_are_found_in_another_folder(tmp_path):
    from tuningfork.images.find import find_image

    folder = tmp_path / "moved"
    folder.mkdir()
    (folder / "a.jpg").touch()
    (folder / "b.png").touch()
    (tmp_path / "secret.jpg").touch()
    assert find_image("x", "old/a.jpg", folder) == str(folder / "a.jpg")
    assert find_image("b", "shard.tar/b", folder) == str(folder / "b.png")
    assert find_image("../secret", "old/c.jpg", folder) == "old/c.jpg"
    assert find_image("a", "old/a.jpg", None) == "old/a.jpg"


def test_a_turned_real_galaxy_finds_itself_first(shared):
    model = tuningfork.load("fast", threads=1)
    pictures = [
        np.asarray(Image.open(path))
        for path in sorted((shared / "data/gz2_kaggle/images_training_rev1").glob("*.jpg"))[:24]
    ]
    told = model.predict(pictures, n_views=4, embeddings=True)
    turned = model.predict([np.rot90(picture) for picture in pictures], n_views=4, embeddings=True)
    axes = fit_axes(told.embeddings)
    assert ((axes.vectors(turned.embeddings) @ axes.vectors(told.embeddings).T).argmax(1) == np.arange(24)).all()
