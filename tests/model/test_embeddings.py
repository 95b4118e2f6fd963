"""Embeddings as an output: the networks' own numbers, in every way of predicting, beside the same votes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tuningfork
from tuningfork.inputs import ItemReader
from tuningfork.inputs.files import file_item
from tuningfork.model.bundle import write_bundle
from tuningfork.model.embeddings import COLUMN, Embedder, EmbeddingError, embedder_of
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline.chunks import Chunk, predict_chunk
from tuningfork.pipeline.in_process import predict_inputs
from tuningfork.pipeline.manifest import ManifestError
from tuningfork.pipeline.options import ExecutionOptions
from tuningfork.pipeline.part_table import TableLayout
from tuningfork.pipeline.predict import PredictError, predict_files
from tuningfork.simulation import simulate
from tuningfork.tables import read_table
from tuningfork.tables.arrow import vectors

WIDTH = 1280


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve galaxies, and one file that is none."""
    folder = simulate(tmp_path_factory.mktemp("embeddings") / "sim", 12, seed=3, workers=1) / "images_training_rev1"
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def expected(model, pictures):
    return model.predict(pictures, options=InferenceOptions(batch_size=8, embeddings=True))


@pytest.fixture
def blind(model, tmp_path):
    """The folder of a model that was exported before there were features."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(model.bundle.networks[0].onnx)
    del graph.graph.output[1]
    networks = (replace(model.bundle.networks[0], onnx=graph.SerializeToString()),)
    return write_bundle(replace(model.bundle, networks=networks), tmp_path / "blind")


# ------------------------------------------------------------------ in memory


def test_embeddings_come_with_the_very_votes(model, pictures, expected):
    assert expected.embeddings.shape == (13, WIDTH)
    assert expected.embeddings.dtype == np.float32
    alone = model.predict(pictures, options=InferenceOptions(batch_size=8))
    assert alone.embeddings is None
    assert alone.embedder is None
    np.testing.assert_array_equal(alone.cumulative, expected.cumulative)
    np.testing.assert_array_equal(alone.class_probability, expected.class_probability)
    failed = np.array([bool(error) for error in expected.errors])
    assert failed.sum() == 1
    assert (np.isnan(expected.embeddings).all(1) == failed).all()
    assert np.isfinite(expected.embeddings[~failed]).all()
    # They tell galaxies apart.
    assert len(np.unique(expected.embeddings[~failed], axis=0)) == 12


def test_one_picture_has_one_embedding(model, pictures, expected):
    one = model.predict(pictures / f"{expected.ids[0]}.jpg", embeddings=True)
    assert one.embedding.shape == (WIDTH,)
    np.testing.assert_allclose(one.embedding, expected.embeddings[0], atol=1e-4)
    assert model.predict(pictures / f"{expected.ids[0]}.jpg").embedding is None


def test_of_no_pictures_there_are_no_embeddings_of_the_right_width(model):
    assert model.predict([], embeddings=True).embeddings.shape == (0, WIDTH)
    assert model.predict([]).embeddings is None


def test_another_number_of_views_is_another_embedder(model, pictures):
    told = [model.predict([next(pictures.glob("*.jpg"))], n_views=views, embeddings=True).embedder for views in (1, 4)]
    assert [each.n_views for each in told] == [1, 4]
    with pytest.raises(EmbeddingError, match="another number of views"):
        told[0].check(told[1], "here")


def test_a_model_without_features_says_how_to_get_them(blind, pictures):
    old = tuningfork.load(blind)
    with pytest.raises(ValueError, match="no output 'features'"):
        old.predict(pictures, embeddings=True)


# ------------------------------------------------------------------ as tables


def without(table):
    return table.drop_columns([COLUMN])


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_parts_and_tables_hold_the_column_beside_the_same_votes(model, pictures, expected, tmp_path, workers):
    execution = ExecutionOptions(workers=workers, chunk_rows=5)
    for name, embeddings in (("plain.parquet", False), ("seen.parquet", True), ("parts", True)):
        options = InferenceOptions(batch_size=8, embeddings=embeddings)
        predict_files(model, [pictures], tmp_path / name, options, execution)
    table = pq.read_table(tmp_path / "seen.parquet")
    assert without(table).equals(pq.read_table(tmp_path / "plain.parquet"))
    assert table.schema.field(COLUMN).type == pa.list_(pa.float32(), WIDTH)
    np.testing.assert_allclose(vectors(table[COLUMN]), expected.embeddings, atol=1e-4)
    assert embedder_of(table.schema, "here") == model.embedder() == expected.embedder
    assert table[COLUMN].is_null().to_pylist() == [bool(error) for error in table["error"].to_pylist()]
    assert pq.read_table(tmp_path / "parts").equals(table)
    assert pq.read_schema(next((tmp_path / "parts").glob("*.parquet"))).field(COLUMN).metadata[b"model"] == b"fast"


def test_rows_that_are_done_one_by_one_have_embeddings_too(model, pictures, expected):
    items = [file_item(path) for path in sorted(pictures.glob("*.jpg"))[:3]]
    with ItemReader() as opening:
        chunk, layout = Chunk(0, items, {1: "it ended"}, True), TableLayout(embedder=model.embedder())
        part = predict_chunk(model, chunk, opening, layout, InferenceOptions(embeddings=True))
    table = pq.read_table(pa.BufferReader(part.data))
    assert table[COLUMN].is_null().to_pylist() == [False, True, False]
    np.testing.assert_allclose(vectors(table[COLUMN])[0], expected.embeddings[0], atol=1e-4)


def test_a_run_goes_on_with_embeddings_or_without_but_not_with_the_other(model, pictures, tmp_path, monkeypatch):
    from tuningfork.pipeline import manifest

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("tuningfork.pipeline.predict.merge", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_files(
                model, [pictures], tmp_path / "out.parquet", inference=InferenceOptions(embeddings=True, batch_size=8)
            )
    assert json.loads((tmp_path / "out.parquet.parts" / manifest.MANIFEST).read_text("utf-8"))["run"]["layout"] == (
        "words and embeddings"
    )
    with pytest.raises(ManifestError, match="another layout"):
        predict_files(
            model,
            [pictures],
            tmp_path / "out.parquet",
            inference=InferenceOptions(batch_size=8),
            execution=ExecutionOptions(resume=True),
        )
    summary = predict_files(
        model,
        [pictures],
        tmp_path / "out.parquet",
        inference=InferenceOptions(embeddings=True, batch_size=8),
        execution=ExecutionOptions(resume=True),
    )
    assert summary.resumed == 13
    assert COLUMN in pq.read_schema(tmp_path / "out.parquet").names


@pytest.mark.filterwarnings("ignore:.*contains NULL:astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.parametrize("suffix", ["fits", "vot", "ecsv"])
def test_astronomers_formats_hold_the_vectors(run, pictures, expected, tmp_path, suffix):
    table = pytest.importorskip("astropy.table")
    run("predict", pictures, "-o", tmp_path / f"out.{suffix}", "--embeddings", "--model", "fast", code=3)
    read = np.ma.filled(table.Table.read(tmp_path / f"out.{suffix}")[COLUMN], np.nan)
    assert read.shape == (13, WIDTH)
    np.testing.assert_allclose(read, expected.embeddings, atol=1e-4)
    ours = vectors(read_table(tmp_path / f"out.{suffix}")[COLUMN])
    np.testing.assert_allclose(ours, read, rtol=1e-6)


def test_a_format_without_vectors_is_wrong_usage(run, model, pictures, tmp_path):
    output = tmp_path / "out.csv"
    told = " ".join(run("predict", pictures, "-o", output, "--embeddings", code=2).output.split())
    assert ".parquet" in told
    with pytest.raises(PredictError, match=r"out\.parquet"):
        predict_files(model, [pictures], output, inference=InferenceOptions(embeddings=True))
    assert list(tmp_path.iterdir()) == []


def test_parts_are_merged_into_what_holds_vectors(run, pictures, tmp_path):
    run("predict", pictures, "-o", tmp_path / "parts", "--embeddings", "--model", "fast", code=3)
    told = run("merge", tmp_path / "parts", "-o", tmp_path / "out.csv", code=1).stderr
    assert "column 'embedding'" in told
    assert "write .parquet" in told
    assert not (tmp_path / "out.csv").exists()
    run("merge", tmp_path / "parts", "-o", tmp_path / "out.parquet", code=3)
    assert pq.read_table(tmp_path / "out.parquet").equals(pq.read_table(tmp_path / "parts"))
    assert embedder_of(pq.read_schema(tmp_path / "out.parquet"), "here").model == "fast"


def test_embeddings_have_no_place_in_kaggles_layout_nor_in_words(run, model, pictures, tmp_path):
    run("predict", pictures, "-o", tmp_path / "out.parquet", "--embeddings", "--format", "kaggle", code=2)
    run("predict", pictures, "--embeddings", code=2)
    with pytest.raises(PredictError, match="Kaggle"):
        predict_files(
            model, [pictures], tmp_path / "out.parquet", inference=InferenceOptions(embeddings=True), layout="kaggle"
        )


def test_json_holds_them(run, pictures, expected):
    picture = sorted(pictures.glob("*.jpg"))[0]
    told = json.loads(run("predict", picture, "--embeddings", "--json", "--model", "fast").stdout)
    np.testing.assert_allclose(told[COLUMN], expected.embeddings[0], atol=1e-4)


def test_a_stream_of_predictions_has_them(model, pictures, expected):
    told = list(predict_inputs(model, [pictures], inference=InferenceOptions(batch_size=8, embeddings=True)))
    np.testing.assert_allclose(np.concatenate([each.embeddings for each in told]), expected.embeddings, atol=1e-4)


# ------------------------------------------------------------------ whose they are


def schema_of(field):
    return pa.schema([pa.field("id", pa.string()), field])


EMBEDDER = Embedder("small", "ab" * 32, 4, 3)


def test_an_embedder_is_known_by_its_column():
    assert embedder_of(schema_of(EMBEDDER.field), "votes.parquet") == EMBEDDER


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (pa.field("other", pa.string()), "predict --embeddings"),
        (EMBEDDER.field.remove_metadata(), "does not say of which model"),
        (EMBEDDER.field.with_metadata({**EMBEDDER.field.metadata, b"views": b"many"}), "does not say of which model"),
        (pa.field(COLUMN, pa.list_(pa.float32())), "not lists of D float32"),
        (pa.field(COLUMN, pa.list_(pa.float64(), 3)), "not lists of D float32"),
    ],
)
def test_a_column_that_is_no_embedding_of_ours_is_refused(field, told):
    with pytest.raises(EmbeddingError, match=told) as caught:
        embedder_of(schema_of(field), "votes.parquet")
    assert str(caught.value).startswith("votes.parquet: ")


@pytest.mark.parametrize("other", [{"model": "large"}, {"sha256": "cd" * 32}, {"n_views": 8}, {"width": 4}])
def test_embedders_that_differ_are_told_apart(other):
    EMBEDDER.check(EMBEDDER, "here")
    with pytest.raises(EmbeddingError, match="of another"):
        EMBEDDER.check(replace(EMBEDDER, **other), "here")
