"""`predict --draws`: the columns are `Predictions.draws`, whatever the chunks; what cannot hold them is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import tuningfork
from tuningfork.model.model import Model
from tuningfork.pipeline.manifest import ManifestError
from tuningfork.pipeline.options import ExecutionOptions, PredictError
from tuningfork.pipeline.predict import InferenceOptions, predict_files
from tuningfork.simulation import simulate

K = 6


@pytest.fixture(scope="module")
def model() -> Model:
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = simulate(tmp_path_factory.mktemp("draws") / "sim", 5, seed=3, workers=1) / "images_training_rev1"
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def test_columns_are_the_draws_of_the_predictions(model: Model, images: Path, tmp_path: Path) -> None:
    options = InferenceOptions(batch_size=8, draws=K)
    tables = []
    for name, rows in (("whole.parquet", None), ("chunks.parquet", 2)):
        predict_files(model, [images], tmp_path / name, options, ExecutionOptions(workers=1, chunk_rows=rows))
        tables.append(pq.read_table(tmp_path / name))
    assert tables[0].equals(tables[1])
    table = tables[0].sort_by("id")
    broken = table["id"].to_pylist().index("broken")
    predictions = model.predict(images, options=InferenceOptions(batch_size=8))
    order = np.argsort(np.array(predictions.ids))
    draws = predictions.draws(K)[:, order]
    for place, name in enumerate(model.tree.fraction_names):
        column = table[f"{name.removesuffix('_fraction')}_draws"]
        assert column[broken].as_py() is None
        for row in range(len(table)):
            if row != broken:
                np.testing.assert_array_equal(column[row].as_py(), draws[:, row, place].astype(np.float16))
    field = table.schema.field("bar_yes_draws")
    assert b"of all volunteers" in field.metadata[b"description"]
    assert field.metadata[b"unit"] == b""


def test_what_cannot_hold_draws_is_refused_first(model: Model, images: Path, tmp_path: Path, run) -> None:
    options = InferenceOptions(draws=K)
    for name, layout, reason in (("a.csv", "words", "Parquet only"), ("a.fits", "words", "Parquet only"),
                                 ("a.parquet", "kaggle", "Kaggle's layout")):  # fmt: skip
        with pytest.raises(PredictError, match=reason):
            predict_files(model, [images], tmp_path / name, options, layout=layout)
    with pytest.raises(PredictError, match=r"no posterior of 8 views"):
        predict_files(model, [images], tmp_path / "a.parquet", replace(options, n_views=8))
    with pytest.raises(PredictError, match="are the most"):
        predict_files(model, [images], tmp_path / "a.parquet", replace(options, draws=10**6))
    with pytest.raises(ValueError, match="draws"):
        InferenceOptions(draws=-1)
    for words in (("-o", tmp_path / "a.csv"), (), ("-o", tmp_path / "a.parquet", "--format", "kaggle")):
        assert "--draws" in run("predict", images, "--draws", 3, *words, code=2).output
    assert not list(tmp_path.iterdir())


def test_a_resumed_run_has_as_many_draws(model: Model, images: Path, tmp_path: Path) -> None:
    output, options = tmp_path / "votes", InferenceOptions(draws=K)
    predict_files(model, [images], output, options, ExecutionOptions(workers=1))
    with pytest.raises(ManifestError, match="draws"):
        predict_files(model, [images], output, replace(options, draws=K + 1), ExecutionOptions(workers=1, resume=True))
