"""Failed rows are predicted again in their places, and no others."""

import shutil

import pytest
from PIL import Image

import tuningfork
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline.manifest import ManifestError
from tuningfork.pipeline.merge import table_of
from tuningfork.pipeline.options import ExecutionOptions, PredictError
from tuningfork.pipeline.predict import predict_files
from tuningfork.simulation import draw, render

RETRY = ExecutionOptions(retry_failed=True, workers=1)
ONE_VIEW = InferenceOptions(n_views=1)


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(render(draw(2, index))).resize((96, 96)).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "layout"), [("out.csv", "words"), ("out.parquet", "words"), ("out", "words"), ("k.csv", "kaggle")]
)
def test_the_table_is_that_of_good_files_in_the_end(model, folder, tmp_path, name, layout):
    chunks = ExecutionOptions(workers=1, chunk_rows=2)
    whole, output = tmp_path / f"whole-{name}", tmp_path / name
    predict_files(model, [folder], whole, ONE_VIEW, chunks, layout=layout)
    good = {number: (folder / f"{number}.png").read_bytes() for number in (1, 4)}
    for number in good:
        (folder / f"{number}.png").write_bytes(b"x")
    assert predict_files(model, [folder], output, ONE_VIEW, chunks, layout=layout).failed == 2
    before = table_of(output)
    for left, number in zip((1, 0), good, strict=True):
        (folder / f"{number}.png").write_bytes(good[number])
        summary = predict_files(model, [folder], output, ONE_VIEW, RETRY, layout=layout)
        assert (summary.rows, summary.failed, summary.resumed) == (5, left, 5 - 1 - left)
        assert [error.row for error in summary.errors] == [5] * left
    assert table_of(output).equals(table_of(whole), check_metadata=True)
    assert not table_of(output).equals(before)
    # Nothing failed: nothing is read or written.
    shutil.rmtree(folder)
    folder.mkdir()
    Image.new("RGB", (96, 96)).save(folder / "0.png")
    assert predict_files(model, [folder], output, ONE_VIEW, RETRY, layout=layout).failed == 0
    assert table_of(output).equals(table_of(whole))


def test_a_mended_catalogue_row_is_found_by_its_id(model, folder, tmp_path):
    catalogue, output = folder / "list.csv", tmp_path / "out.csv"
    catalogue.write_text("id,path\na,0.png\nb,\nc,1.png\n")
    assert predict_files(model, [catalogue], output, ONE_VIEW, ExecutionOptions(workers=1)).failed == 1
    catalogue.write_text("id,path\na,0.png\nb,2.png\nc,1.png\n")
    assert predict_files(model, [catalogue], output, ONE_VIEW, RETRY).failed == 0
    assert [path.rpartition("/")[2] for path in table_of(output)["path"].to_pylist()] == ["0.png", "2.png", "1.png"]


def test_what_cannot_be_retried_is_refused(model, folder, tmp_path):
    with pytest.raises(ManifestError, match="no such prediction"):
        predict_files(model, [folder], tmp_path / "out.csv", ONE_VIEW, RETRY)
    output = tmp_path / "out.parquet"
    predict_files(model, [folder], output, ONE_VIEW, ExecutionOptions(workers=1))
    with pytest.raises(ManifestError, match="another views"):
        predict_files(model, [folder], output, InferenceOptions(n_views=2), RETRY)
    with pytest.raises(ManifestError, match="other columns"):
        predict_files(model, [folder], output, ONE_VIEW, RETRY, layout="kaggle")
    for other in ({"resume": True}, {"shard": (1, 2)}):
        with pytest.raises(PredictError, match="finished run"):
            ExecutionOptions(retry_failed=True, **other)


@pytest.mark.slow
def test_commands_read_a_folder_of_parts_as_the_merged_table(model, folder, tmp_path, run):
    parts, table = tmp_path / "parts", tmp_path / "table.parquet"
    predict_files(model, [folder], parts, ONE_VIEW, ExecutionOptions(workers=1, chunk_rows=2))
    run("merge", parts, "-o", table)
    header = ",".join(["GalaxyID", *model.tree.columns])
    (tmp_path / "labels.csv").write_text(
        "\n".join([header, *(f"{n}," + ",".join(["0.5"] * len(model.tree.columns)) for n in range(5))])
    )
    for words in (
        ("evaluate", "{}", tmp_path / "labels.csv", "--resamples", "10", "--json"),
        ("population", "{}", "--rule", "smooth >= 0.5", "--json"),
        ("rank", "{}", "-o", tmp_path / "order.csv", "--overwrite", "--json"),
        ("plot", "{}", "-o", tmp_path / "votes.png", "--overwrite"),
        ("gallery", "{}", "-o", tmp_path / "gallery.html", "--overwrite"),
    ):
        said = [run(*(str(word).format(each) for word in words)).stdout for each in (parts, table)]
        assert said[0].replace(str(parts), "") == said[1].replace(str(table), ""), words
    (parts / "part-00000001.parquet").unlink()
    for words in (("population", parts, "--rule", "smooth >= 0.5"), ("plot", parts, "-o", tmp_path / "b.png")):
        assert "part-00000001.parquet is missing" in run(*words, code=1).stderr
    assert "not a folder that `predict` wrote" in run("plot", folder, "-o", tmp_path / "b.png", code=1).stderr
    assert "not a folder that `predict` wrote" in run("merge", table, "-o", tmp_path / "m.csv", code=1).stderr
    assert "--retry-failed" in run("predict", folder, "-o", table, "--resume", "--model", "fast", code=1).stderr
