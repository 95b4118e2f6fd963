"""Predictions in this process: all that is named, batch by batch, in order; failures are rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tuningfork
from tuningfork.model.model import Model
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline import in_process
from tuningfork.pipeline.in_process import predict_batches, predict_inputs
from tuningfork.pipeline.options import PredictError
from tuningfork.simulation import draw, render

BATCHES_OF_TWO = InferenceOptions(n_views=1, batch_size=2)


@pytest.fixture(scope="module")
def model() -> Model:
    return tuningfork.load("fast", threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index in range(4):
        Image.fromarray(render(draw(5, index))).resize((96, 96)).save(folder / f"{index}.png")
    (folder / "4.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no image")
    return folder


def test_all_that_is_named_is_predicted_in_order(model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "LISTED_AT_ONCE", 3)
    left_out: Counter[str] = Counter()
    parts = list(predict_inputs(model, [folder], BATCHES_OF_TWO, left_out=left_out))
    assert [id_ for part in parts for id_ in part.ids] == ["0", "1", "2", "3", "4"]
    assert [bool(error) for part in parts for error in part.errors] == [False] * 4 + [True]
    assert left_out == {".txt": 1}
    files = list(predict_batches(model, sorted(folder.glob("*.png")), BATCHES_OF_TWO))
    assert [path for part in files for path in part.paths] == [path for part in parts for path in part.paths]
    one, other = (np.concatenate([part.cumulative for part in each]) for each in (parts, files))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_inputs_without_an_image_are_an_error_that_counts_the_rest(model: Model, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    with pytest.raises(PredictError, match=r"no image in .*left out: \.txt 1"):
        list(predict_inputs(model, [tmp_path]))
