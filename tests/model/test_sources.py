"""What `Model.predict` takes: each kind of input is predicted as the same image, or refused by name."""

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tuningfork._utils.errors import InputError
from tuningfork.images import ImageError
from tuningfork.images.encode import jpeg
from tuningfork.model.model import load
from tuningfork.model.options import InferenceOptions
from tuningfork.model.predictions import Prediction, Predictions
from tuningfork.model.sources import images_of
from tuningfork.simulation import draw, render
from tuningfork.tables import write_table


@pytest.fixture(scope="module")
def model():
    return load("fast", threads=1)


@pytest.fixture(scope="module")
def images():
    return [render(draw(seed=2, index=index)) for index in range(3)]


@pytest.fixture(scope="module")
def place(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("sources")
    (folder / "cutouts").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "cutouts" / f"g{number}.png")
    names = [f"cutouts/g{n}.png" for n in range(3)]
    write_table(folder / "catalogue.csv", pa.table({"objid": ["a", "b", "c"], "path": names}))
    with zipfile.ZipFile(folder / "cutouts.zip", "w") as archive:
        for name in names:
            archive.write(folder / name, name.rpartition("/")[2])
    return folder


def inputs(place, images):
    """Name of the input → it, and how many galaxies it gives; None: one, as a `Prediction`."""
    first, stack = images[0], np.stack(images)
    file = place / "cutouts" / "g0.png"
    paths = [str(place / "cutouts" / f"g{n}.png") for n in range(3)]
    yield "path as text", str(file), None
    yield "path", file, None
    yield "pattern", str(place / "cutouts" / "*.png"), 3
    yield "folder", place / "cutouts", 3
    yield "catalogue", place / "catalogue.csv", 3
    yield "archive", place / "cutouts.zip", 3
    yield "bytes", file.read_bytes(), None
    yield "file object", io.BytesIO(file.read_bytes()), None
    yield "Pillow image", Image.fromarray(first), None
    yield "array (H, W, 3)", first, None
    yield "array (3, H, W)", np.moveaxis(first, 2, 0), None
    yield "floats in [0, 1]", first / 255.0, None
    yield "batch (N, H, W, 3)", stack, 3
    yield "batch (N, 3, H, W)", np.moveaxis(stack, 3, 1), 3
    yield "batch of floats", (stack / 255).astype(np.float32), 3
    yield "list of arrays", images, 3
    yield "tuple of paths", tuple(paths), 3
    yield "list of different kinds", [file, first, Image.fromarray(first), file.read_bytes(), stack], 7
    yield "iterator", iter(images), 3
    yield "Arrow table", pa.table({"id": ["x", "y", "z"], "path": paths}), 3
    yield "empty list", [], 0
    try:
        import pandas

        frame = pandas.DataFrame({"objid": ["x", "y", "z"], "file": paths})
        yield "pandas data frame", frame, 3
        yield "pandas data frame with an index of IDs", frame.set_index("objid"), 3
        yield "column of a data frame", frame["file"].to_numpy(), 3
    except ImportError:
        pass
    try:
        import polars

        yield "polars data frame", polars.DataFrame({"path": paths, "z": [0.1, 0.2, 0.3]}), 3
    except ImportError:
        pass
    try:
        from astropy.table import Table

        yield "astropy table", Table({"id": ["x", "y", "z"], "path": [str(p) for p in paths], "v": np.ones((3, 2))}), 3
    except ImportError:
        pass
    try:
        import torch

        yield "tensor (3, H, W)", torch.from_numpy(first).permute(2, 0, 1), None
        yield "tensor (N, 3, H, W) of bfloat16", torch.from_numpy(stack).permute(0, 3, 1, 2).bfloat16() / 255, 3
    except ImportError:
        pass


def test_every_accepted_input_gives_the_same_prediction(model, place, images, capsys):
    expected = model.predict(images, n_views=1)
    table = []
    for name, source, count in inputs(place, images):
        got = model.predict(source, n_views=1)
        if count is None:
            assert isinstance(got, Prediction), name
            got = got.table
        assert isinstance(got, Predictions), name
        assert len(got) == (1 if count is None else count), name
        assert not any(got.errors), (name, got.errors)
        # bfloat16 has eight bits, which are not those of a byte's last level.
        tolerance = 0.02 if "bfloat16" in name else 1e-6
        if 0 < len(got) <= 3:
            np.testing.assert_allclose(got.cumulative, expected.cumulative[: len(got)], atol=tolerance, err_msg=name)
        table.append((name, "Prediction" if count is None else f"Predictions of {count}", ", ".join(got.ids)))
    with capsys.disabled():
        if "-s" in __import__("sys").argv:
            print()
            for row in table:
                print(f"{row[0]:34s} {row[1]:18s} {row[2]}")


def refused():
    rng = np.random.default_rng(0)
    yield None, TypeError, "an image is a path, a pattern of paths"
    yield 3.5, TypeError, "not float"
    yield {"path": "a.png"}, TypeError, "not dict"
    yield [3, 4], TypeError, "element 0"
    yield rng.random((5, 64, 64)), ValueError, r"\(5, 64, 64\)"
    yield rng.random((2, 3, 64, 3)), ValueError, "channels to one end"
    yield rng.random((2, 64, 64, 7)), ValueError, r"\(2, 64, 64, 7\)"
    yield rng.random(64), ValueError, r"\(64,\)"
    yield rng.random((2, 64, 64, 3)) * 1e4, ImageError, "outside"
    yield "nowhere.png", FileNotFoundError, "no such file"
    yield "nowhere/*.png", FileNotFoundError, "no file matches"


def test_other_inputs_are_refused_by_name(model):
    for source, kind, message in refused():
        with pytest.raises(kind, match=message):
            model.predict(source)


def test_a_bad_image_among_good_ones_is_an_error_of_its_row(model, images, place):
    batch = np.stack(images).astype(np.float32) / 255
    batch[1, 0, 0, 0] = np.nan
    read = io.BytesIO(b"read already")
    read.read()
    cut = Image.open(io.BytesIO(jpeg(images[0])[:1000]))  # Pillow reads the pixels later
    got = model.predict([batch, "nowhere.png", b"no image", cut, read], n_views=1)
    assert [bool(error) for error in got.errors] == [False, True, False, True, True, True, True]
    assert "NaN" in got.errors[1]
    assert "nowhere.png" in got.errors[3]
    assert "truncated" in got.errors[5]
    assert "seek(0)" in got.errors[6]


def test_a_table_names_its_rows_or_says_what_is_missing(model, place):
    path = str(next((place / "cutouts").iterdir()))
    got = model.predict(pa.table({"id": [7.0, None], "path": [path, path]}), n_views=1)
    assert got.ids == ("7", "row 2")
    assert got.errors[1].startswith("no ID in column 'id'")


def test_a_dim_image_of_a_batch_is_no_image_of_another_depth(model, images):
    """Twelve bits: alone, a dim image would be taken for one of eight."""
    deep = np.stack(images).astype(np.uint16) << 4
    deep[1] >>= 5
    got = model.predict(deep, n_views=1)
    dim = (deep[1] >> 4).astype(np.uint8)
    np.testing.assert_allclose(got.cumulative[1], model.predict([dim], n_views=1).cumulative[0], atol=1e-6)
    assert all("12-bit" in warning for warning in got.warnings)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed on Linux only")
def test_archives_are_closed_afterwards(model, place):
    archive = (place / "cutouts.zip").resolve()
    with images_of(archive) as images:
        images.read(0, 2, model.reader_of(InferenceOptions()))
        assert archive in open_files()
    assert archive not in open_files()


def open_files():
    return [Path(os.path.realpath(link)) for link in Path("/proc/self/fd").iterdir()]


def test_names_come_from_files_tables_and_numbers(model, images, place):
    assert model.predict(place / "cutouts", n_views=1).ids == ("g0", "g1", "g2")
    assert model.predict(place / "catalogue.csv", n_views=1).ids == ("a", "b", "c")
    assert model.predict(images, n_views=1).ids == ("0", "1", "2")


def test_stretch_size_and_progress(model, images, capsys):
    done = []
    model.predict(images, n_views=1, progress=lambda *counts: done.append(counts))
    assert done == [(3, 3)]
    model.predict(images, n_views=1, progress=True)
    assert capsys.readouterr().err == ""  # no terminal, and less than a minute
    with pytest.raises(ValueError, match="did you mean 'sdss'"):
        model.predict(images, stretch="sdds")
    # A size in arcseconds needs a pixel scale.
    assert "pixel scale" in model.predict(images, size=40.0).errors[0]


def test_fits_by_stretch_and_size(model, tmp_path):
    fits = pytest.importorskip("astropy.io.fits", reason="the extra `sky` is not installed")
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-40:40, -40:40]
    data = (100 * np.exp(-np.hypot(x, y) / 6) + rng.normal(0, 1, x.shape)).astype(np.float32)
    header = fits.Header({"CD1_1": -0.396 / 3600, "CD2_2": 0.396 / 3600, "CRPIX1": 40, "CRPIX2": 40})
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0})
    fits.writeto(tmp_path / "a.fits", data, header)
    whole = model.predict(tmp_path / "a.fits", n_views=1)
    part = model.predict(tmp_path / "a.fits", n_views=1, size=15.0)
    assert isinstance(part, Prediction)
    assert not np.allclose(whole.cumulative, part.cumulative, atol=1e-3)


def test_embeddings_of_one_and_of_several(model, images):
    one, several = model.embed(images[0], n_views=1), model.embed(images, n_views=1)
    assert one.shape == (model.feature_width,)
    assert several.shape == (3, model.feature_width)
    np.testing.assert_allclose(one, several[0], atol=1e-4)


def test_a_model_says_what_it_is(model):
    text = repr(model)
    for part in ("'fast'", "37 vote fractions of Galaxy Zoo 2", "7 classes", "view", "RMSE 0.", "class accuracy 0."):
        assert part in text
    assert model.card.startswith("# fast: ")


# ------------------------------------------------------------------ predictions


@pytest.fixture(scope="module")
def predictions(model, place):
    return model.predict(place / "cutouts", n_views=1)


def test_predictions_are_chosen_by_number_mask_and_id(predictions):
    assert predictions["g1"].id == predictions[1].id == predictions[-2].id == "g1"
    for rows, ids in (
        (slice(1, None), ("g1", "g2")),
        ([2, 0], ("g2", "g0")),
        (["g2", "g0"], ("g2", "g0")),
        (np.array([True, False, True]), ("g0", "g2")),
        ([True, False, True], ("g0", "g2")),
        (predictions.out_of_domain, tuple(np.array(predictions.ids)[predictions.out_of_domain])),
        ([], ()),
    ):
        chosen = predictions[rows]
        assert chosen.ids == ids
        assert len(chosen.thumbnails) == len(chosen.cumulative) == len(chosen.errors) == len(ids)
    assert [galaxy.id for galaxy in predictions] == ["g0", "g1", "g2"]
    with pytest.raises(KeyError, match="did you mean 'g1'"):
        predictions["g1x"]
    with pytest.raises(IndexError, match=r"galaxy 3 of 3$"):
        predictions[3]
    with pytest.raises(KeyError, match=r"it is a column: predictions\.to_pandas\(\)\['bar_yes_fraction'\]"):
        predictions["bar_yes_fraction"]
    numbered = replace(predictions, votes=replace(predictions.votes, ids=("7", "8", "9")))
    with pytest.raises(IndexError, match=r"IDs are texts: predictions\['8'\]"):
        numbered[8]
    assert repr(numbered).splitlines() == [f"{id_}: {numbered[id_].headline()}" for id_ in ("7", "8", "9")]
    with pytest.raises(IndexError):
        predictions[[True, False]]
    twice = predictions[[0, 0]]
    with pytest.raises(KeyError, match="2 galaxies have the ID"):
        twice["g0"]


def test_values_have_names_and_wrong_ones_their_nearest(predictions):
    galaxy = predictions[0]
    assert galaxy["bar_yes_fraction"] == pytest.approx(galaxy.fractions["bar_yes_fraction"], abs=1e-6)
    assert galaxy["barred spiral"] == galaxy.classes["barred spiral"]
    with pytest.raises(KeyError, match="did you mean 'bar_yes_fraction'"):
        galaxy.fractions["bar_yse_fraction"]
    with pytest.raises(KeyError, match="did you mean 'barred spiral'"):
        galaxy.classes["bared spiral"]
    with pytest.raises(KeyError, match="did you mean 'domain_score'"):
        galaxy["domainscore"]
    assert sum(predictions.class_counts().values()) == 3


def test_files_of_predictions(predictions, tmp_path):
    from tuningfork._utils.files import OutputError
    from tuningfork.tables import CatalogError, read_table

    assert read_table(predictions.write(tmp_path / "a.parquet"))["id"].to_pylist() == ["g0", "g1", "g2"]
    assert read_table(predictions.to_csv(tmp_path / "a.csv")).num_rows == 3
    with pytest.raises(OutputError, match="exists"):
        predictions.write(tmp_path / "a.parquet")
    predictions[:1].write(tmp_path / "a.parquet", overwrite=True)
    assert read_table(tmp_path / "a.parquet").num_rows == 1
    with pytest.raises(CatalogError, match="extension"):
        predictions.write(tmp_path / "a.doc")
    with pytest.raises(ValueError, match=r"write\(\)"):
        predictions.to_csv(tmp_path / "a.parquet")


def test_a_gallery_and_plots(predictions, tmp_path):
    page = predictions.gallery(tmp_path / "gallery.html", title="Mine")
    text = page.read_text("utf-8")
    assert "Mine" in text
    assert "g2" in text
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    assert predictions.plot().axes
    assert predictions[0].plot().axes


def test_a_data_frame_without_images_is_answered_in_python(model):
    with pytest.raises(InputError, match=r"call it path, or give a list of its cells\. It has the columns picture"):
        model.predict(pa.table({"picture": ["a.jpg"], "ra": [1.0], "dec": [2.0]}))
