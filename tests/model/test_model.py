"""The model in memory: what goes in, what comes out, what it promises."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tuningfork
from tuningfork._utils.text import percent
from tuningfork.images.image import ImageError
from tuningfork.model.bundle import Bundle, BundleError, Network, open_bundle
from tuningfork.model.model import Model
from tuningfork.model.options import InferenceOptions
from tuningfork.model.predictions import Prediction, Predictions
from tuningfork.simulation import draw, render
from tuningfork.votes import fractions as votes
from tuningfork.votes.clean_samples import NO_CLASS, class_fits


@pytest.fixture(scope="module")
def model():
    return tuningfork.load()


@pytest.fixture(scope="module")
def pictures():
    return [render(draw(5, index)) for index in range(6)]


@pytest.fixture
def folder(pictures, tmp_path):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    return tmp_path


def test_one_picture_gives_a_prediction_with_named_fractions(model, pictures):
    prediction = model.predict(pictures[0])
    assert isinstance(prediction, Prediction)
    assert len(prediction.fractions) == 37
    assert prediction.fractions["bar_yes_fraction"] + prediction.fractions["bar_no_fraction"] == pytest.approx(1)
    assert prediction.class_name in prediction.classes
    assert list(prediction.classes) == [*(rule.name for rule in model.tree.classes), NO_CLASS]
    assert sum(prediction.classes.values()) == pytest.approx(1)
    assert prediction.classes[NO_CLASS] == prediction.no_class_probability
    assert prediction.class_probability.sum() == pytest.approx(1)


def test_path_bytes_array_list_and_folder_agree(model, pictures, folder):
    expected = [model.predict(picture).cumulative for picture in pictures]
    by_path = model.predict(folder / "0.png")
    by_bytes = model.predict((folder / "0.png").read_bytes())
    np.testing.assert_allclose(by_path.cumulative, expected[0], atol=1e-6)
    np.testing.assert_allclose(by_bytes.cumulative, expected[0], atol=1e-6)
    for several in (model.predict(pictures), model.predict(folder), model.predict(sorted(folder.iterdir()))):
        assert isinstance(several, Predictions)
        np.testing.assert_allclose(several.cumulative, expected, atol=1e-6)


def test_the_size_of_a_batch_changes_nothing(model, pictures):
    whole = model.predict(pictures, options=InferenceOptions(batch_size=6)).cumulative
    np.testing.assert_allclose(
        model.predict(pictures, options=InferenceOptions(batch_size=1)).cumulative, whole, atol=1e-6
    )
    np.testing.assert_allclose(
        model.predict(pictures, options=InferenceOptions(batch_size=4)).cumulative, whole, atol=1e-6
    )


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_the_sums_of_the_tree_are_exact_on_any_picture(model, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    prediction = model.predict(noise)
    assert np.abs(votes.sum_violations(prediction.cumulative, model.tree)).max() < 1e-12


TURNS = [lambda p: np.rot90(p), lambda p: p[:, ::-1], lambda p: p.transpose(1, 0, 2)]


@pytest.mark.parametrize("turn", TURNS)
def test_eight_views_make_the_prediction_invariant(model, pictures, turn):
    small = model.inputs(pictures[0])
    before = model.run([small], InferenceOptions(8)).cumulative
    after = model.run([tuple(np.ascontiguousarray(turn(s)) for s in small)], InferenceOptions(8)).cumulative
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_intervals_and_posterior_hold_for_the_views_that_they_were_fitted_on(model, pictures):
    own, other = model.calibration_of(), model.calibration_of(8)
    assert own == model.calibration_of(model.n_views) == model.calibration
    assert other == replace(model.calibration, intervals=None, posterior=None)
    assert np.isfinite(model.predict(pictures[0]).low).all()
    assert np.isnan(model.predict(pictures[0], n_views=8).low).all()


@pytest.mark.parametrize("turn", TURNS)
def test_a_turned_picture_gives_nearly_the_same_votes(model, pictures, turn):
    # Pillow resizes one axis after the other, each rounded to whole levels; hence not exactly the same.
    before = model.predict(pictures[0], n_views=8)
    after = model.predict(np.ascontiguousarray(turn(pictures[0])), n_views=8)
    np.testing.assert_allclose(after.cumulative, before.cumulative, atol=0.02)


def test_views_are_averaged(model, pictures):
    small = model.inputs(pictures[1])
    turned = [tuple(np.ascontiguousarray(np.rot90(s, k)) for s in small) for k in range(4)]
    mean = np.mean([model.run([view], InferenceOptions(1)).cumulative for view in turned], 0)
    np.testing.assert_allclose(model.run([small], InferenceOptions(4)).cumulative, mean, atol=1e-6)


def test_a_wrong_number_of_views_is_refused(model, pictures):
    with pytest.raises(ValueError, match="views = 3"):
        model.predict(pictures[0], n_views=3)


def test_an_ensemble_averages_its_networks(model, pictures):
    bundle = model.bundle
    twice = Bundle(**{**bundle.__dict__, "networks": bundle.networks * 2})
    np.testing.assert_allclose(
        Model(twice).predict(pictures).cumulative, model.predict(pictures).cumulative, atol=1e-12
    )


def test_networks_of_an_ensemble_may_want_inputs_of_their_own(model, pictures):
    first = model.bundle.networks[0]
    wider = Network(first.onnx, type(first.preprocess).from_dict({**first.preprocess.to_dict(), "crop": 0.7}), "wider")
    alone = [
        Model(Bundle(**{**model.bundle.__dict__, "networks": (n,)})).predict(pictures).cumulative
        for n in (first, wider)
    ]
    both = Model(Bundle(**{**model.bundle.__dict__, "networks": (first, wider)})).predict(pictures).cumulative
    np.testing.assert_allclose(both, np.mean(alone, 0), atol=1e-9)


def test_views_that_agree_have_no_rotation_spread(model, pictures):
    symmetric = np.full((424, 424, 3), 90, np.uint8)
    told = model.predict([symmetric, pictures[0]], n_views=8)
    assert told.rotation_spread[0] < 1e-6 < 1e-3 < told.rotation_spread[1] < 0.5
    assert np.isnan(model.predict(pictures, n_views=1).rotation_spread).all()


def test_the_rotation_spread_is_the_deviation_of_the_views(model, pictures):
    small = model.inputs(pictures[1])
    turned = [tuple(np.ascontiguousarray(np.rot90(s, k)) for s in small) for k in range(4)]
    each = np.concatenate([model.run([view], InferenceOptions(1)).cumulative for view in turned])
    expected = np.sqrt(np.mean([np.std(column) ** 2 for column in each.T]))
    assert model.run([small], InferenceOptions(4)).rotation_spread[0] == pytest.approx(expected, rel=1e-4)


def test_the_network_spread_is_the_deviation_of_the_networks(model, pictures):
    first = model.bundle.networks[0]
    assert np.isnan(Model(replace(model.bundle, networks=(first,))).predict(pictures).network_spread).all()
    wider = Network(first.onnx, type(first.preprocess).from_dict({**first.preprocess.to_dict(), "crop": 0.7}), "wider")
    alone, both = (
        [Model(replace(model.bundle, networks=networks)).predict(pictures) for networks in choices]
        for choices in ([(first,), (wider,)], [(first, wider), (first, first)])
    )
    half = np.abs(alone[0].cumulative - alone[1].cumulative) / 2
    np.testing.assert_allclose(both[0].network_spread, np.sqrt((half**2).mean(1)), rtol=1e-9)
    assert (both[1].network_spread == 0).all()
    assert both[0].to_table()["network_spread"].null_count == 0


@pytest.fixture(scope="module")
def seeing(model):
    """The first of the shipped networks, which has the output `features`."""
    return replace(model.bundle, networks=model.bundle.networks[:1])


@pytest.fixture(scope="module")
def blind(seeing):
    """The same network as it was exported before there were features."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load_from_string(seeing.networks[0].onnx)
    del graph.graph.output[1]
    return replace(seeing, networks=(replace(seeing.networks[0], onnx=graph.SerializeToString()),))


def test_features_are_the_mean_over_the_views(seeing, blind, pictures):
    model, old = Model(seeing), Model(blind)
    small = model.inputs(pictures[1])
    turned = [tuple(np.ascontiguousarray(np.rot90(s, k)) for s in small) for k in range(4)]
    each = [model.run([view], InferenceOptions(1, embeddings=True)).features for view in turned]
    told = model.run([small, small], InferenceOptions(4, embeddings=True))
    assert told.features.shape == (2, model.feature_width) == (2, 1280)
    assert told.features.dtype == np.float32
    np.testing.assert_allclose(told.features[0], np.mean(each, 0)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(told.cumulative, old.run([small, small], InferenceOptions(4)).cumulative)
    assert model.run([], InferenceOptions(embeddings=True)).features.shape == (0, model.feature_width)


def test_the_logits_are_a_linear_layer_on_the_features(seeing, pictures):
    onnx = pytest.importorskip("onnx")
    tensors = {
        tensor.name.removesuffix(".half"): onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_from_string(seeing.networks[0].onnx).graph.initializer
    }
    model = Model(seeing)
    told = model.run([model.inputs(picture) for picture in pictures], InferenceOptions(1, embeddings=True))
    logits = told.features @ tensors["head.weight"].T.astype(np.float32) + tensors["head.bias"]
    np.testing.assert_allclose(votes.cumulative_from_logits(logits[:, :37], model.tree), told.cumulative, atol=1e-5)


def test_an_ensembles_features_stand_side_by_side(seeing, pictures):
    alone = Model(seeing)
    both = Model(replace(seeing, networks=seeing.networks * 2))
    small = [alone.inputs(picture) for picture in pictures]
    one = alone.run(small, InferenceOptions(2, embeddings=True)).features
    np.testing.assert_array_equal(
        both.run(small, InferenceOptions(2, embeddings=True)).features, np.concatenate([one, one], 1)
    )


def test_a_model_without_features_opens_and_says_so(seeing, blind, pictures):
    old = Model(blind)
    assert old.feature_width == 0
    assert old.predict(pictures[0]).class_name
    with pytest.raises(ValueError, match="no output 'features'"):
        old.run([], InferenceOptions(embeddings=True))
    mixed = Model(replace(seeing, networks=(*seeing.networks, *blind.networks)))
    assert mixed.feature_width == 0


def test_features_of_another_shape_are_refused(blind):
    onnx = pytest.importorskip("onnx")
    # A name of as many letters, to make room for another output of that name.
    graph = onnx.load_from_string(blind.networks[0].onnx.replace(b"features", b"inwardly"))
    graph.graph.node.append(onnx.helper.make_node("Identity", ["pictures"], ["features"]))
    graph.graph.output.append(onnx.ValueInfoProto(name="features", type=graph.graph.input[0].type))
    network = replace(blind.networks[0], onnx=graph.SerializeToString())
    with pytest.raises(BundleError, match="features of shape"):
        Model(replace(blind, networks=(network,)))


def test_a_bad_row_is_named_and_the_rest_goes_on(model, pictures, folder):
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "2.png").write_bytes(b"")
    rows = model.predict(folder)
    assert [bool(error) for error in rows.errors] == [False, False, True, True, False, False]
    assert "empty" in rows.errors[2]
    assert np.isnan(rows.cumulative[3]).all()
    assert rows.class_index.tolist()[2:4] == [-1, -1]
    assert rows.class_names[2] == rows.nearest_classes[2] == rows.clean_classes[2] == rows.descriptions[2] == ""
    assert np.isnan(rows.no_class_probability[2:4]).all()
    table = rows.to_table().to_pylist()
    assert table[3]["error"]
    assert table[3]["class"] is None
    assert table[3]["bar_yes_fraction"] is None
    assert table[4]["error"] == ""


def test_a_single_bad_picture_raises(model, tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"x\.jpg: .*empty"):
        model.predict(tmp_path / "x.jpg")
    with pytest.raises(FileNotFoundError):
        model.predict(tmp_path / "y.jpg")


def test_no_pictures_give_an_empty_table(model):
    rows = model.predict([])
    assert len(rows) == 0
    assert rows.to_table().num_rows == 0


def test_the_table_says_what_each_column_is(model, pictures):
    schema = model.predict(pictures[:1] * 2).to_table().schema
    assert all(field.metadata[b"description"] for field in schema)
    names = schema.names
    assert names[:3] == ["id", "path", "description"]
    assert names[3:114:3] == list(model.tree.fraction_names)
    assert names[3:9] == [f"smooth_or_features_{key}" for key in (
        "smooth_fraction", "smooth_low", "smooth_high",
        "features_or_disk_fraction", "features_or_disk_low", "features_or_disk_high")]  # fmt: skip
    assert names[114:] == [
        "interval_level",
        "class",
        "class_name",
        "nearest_class",
        "clean_class",
        *(f"class_{c}_probability" for c in range(7)),
        "no_class_probability",
        "rotation_spread",
        "network_spread",
        "domain_score",
        "out_of_domain",
        "warning",
        "error",
    ]


def test_the_table_holds_what_arrow_makes_of_the_arrays(model, pictures, tmp_path):
    named = tmp_path / "Ä galaxy ☄.png"
    Image.fromarray(pictures[0]).save(named)
    rows = model.predict([named, b"no picture", *pictures[1:4]])
    table = rows.to_table()
    table.validate(full=True)
    assert table["id"].to_pylist() == [named.stem, "1", "2", "3", "4"]
    assert table["path"].to_pylist() == [str(named), *[""] * 4]
    assert table["error"].to_pylist() == list(rows.errors)

    def blank(values, told):
        return [value if known else None for value, known in zip(values.tolist(), told, strict=True)]

    told = np.array([not error for error in rows.errors])
    for name, fractions, low in zip(model.tree.fraction_names, rows.fractions.T, rows.low.T, strict=True):
        low_name = name.removesuffix("_fraction") + "_low"
        assert table[name].to_pylist() == pytest.approx(blank(fractions.astype(np.float32), told), nan_ok=True)
        assert table[low_name].to_pylist() == blank(low.astype(np.float32), ~np.isnan(low))
    assert table["class"].to_pylist() == blank(rows.class_index, told & (rows.class_index < 7))
    assert table["class_name"].to_pylist() == list(rows.class_names)
    assert table["description"].to_pylist() == list(rows.descriptions)
    for column, texts in (("nearest_class", rows.nearest_classes), ("clean_class", rows.clean_classes)):
        assert table[column].to_pylist() == [text or None for text in texts]
    assert table["no_class_probability"].to_pylist() == blank(rows.no_class_probability.astype(np.float32), told)
    assert table["out_of_domain"].to_pylist() == blank(rows.out_of_domain, told)
    assert table["interval_level"].to_pylist() == blank(rows.level, told)
    kaggle = rows.to_kaggle()
    kaggle.validate(full=True)
    for column, values in zip(model.tree.columns, rows.cumulative.T, strict=True):
        assert kaggle[column].to_pylist() == blank(values, told)


def test_a_table_imports_no_pandas():
    code = (
        "import sys, numpy, tuningfork\n"
        "rows = tuningfork.load('fast').predict([numpy.zeros((64, 64, 3), 'uint8')])\n"
        "rows.to_table(), rows.to_kaggle()\n"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_kaggles_layout_is_the_label_tables(model, pictures):
    table = model.predict(pictures).to_kaggle()
    assert table.column_names == ["GalaxyID", *model.tree.columns]
    assert [str(t) for t in table.schema.types] == ["string"] + ["double"] * 37


def test_clean_means_that_the_votes_pass_the_thresholds_of_the_class(model):
    rows = model.predict([render(draw(5, index)) for index in range(20)])
    names = [rule.name for rule in model.tree.classes]
    passed = [[names[c] for c in np.flatnonzero(fits == 1)] for fits in class_fits(rows.cumulative, model.tree)]
    assert [name for (name, *_) in filter(None, passed)] == [name for name in rows.clean_classes if name]
    assert [bool(each) for each in passed] == [bool(name) for name in rows.clean_classes]
    assert any(passed)
    assert [row.clean for row in map(rows.__getitem__, range(20))] == list(rows.clean_classes)


def test_the_class_is_the_most_probable_of_all_and_none(model):
    rows = model.predict([render(draw(5, index)) for index in range(20)])
    for row in map(rows.__getitem__, range(20)):
        assert row.class_name == max(row.classes, key=row.classes.__getitem__)
        given = {name: share for name, share in row.classes.items() if name != NO_CLASS}
        assert row.nearest_class == max(given, key=given.__getitem__)
        assert row.class_name in (NO_CLASS, row.nearest_class)
        shares = np.array(list(given.values()))
        np.testing.assert_allclose(row.class_probability, shares / shares.sum())
        assert row.headline().startswith(row.description + "; ")
        ending = f"{row.nearest_class} ({percent(row.classes[row.nearest_class])})"
        middle = f"no clean class ({percent(row.no_class_probability)}); nearest: "
        assert row.headline().endswith((middle if row.class_name == NO_CLASS else "class: ") + ending)
    assert {row in (7,) for row in rows.class_index.tolist()} == {True, False}


def test_the_majoritys_path_follows_the_tree(model, pictures):
    for picture in pictures:
        prediction = model.predict(picture)
        steps = prediction.steps()
        assert steps[0][0] == model.tree.questions[0].key
        for (key, text, share), following in zip(steps, [*steps[1:], None], strict=True):
            answer = next(a for a in model.tree.question(key).answers if a.text == text)
            assert share == pytest.approx(prediction.fractions[f"{key}_{answer.key}_fraction"])
            assert answer.next == (following[0] if following else None)
        assert all(key.replace("_", " ") in str(prediction) for key, *_ in steps)


def test_pandas_gets_the_same_table(model, pictures):
    frame = model.predict(pictures).to_pandas()
    assert frame.shape == (6, 133)
    assert frame["class"].dropna().between(0, 6).all()
    assert (frame["class"].isna() == (frame["class_name"] == NO_CLASS)).all()


def test_a_network_of_another_tree_is_refused():
    bundle = open_bundle()
    other = Bundle(**{**bundle.__dict__, "tree": tuningfork.load_tree("gz1")})
    with pytest.raises(BundleError, match="outputs"):
        Model(other)


def test_onnx_that_is_none_is_refused():
    bundle = open_bundle()
    broken = Network(b"not onnx", bundle.networks[0].preprocess, "broken")
    with pytest.raises(BundleError, match="broken"):
        Model(Bundle(**{**bundle.__dict__, "networks": (broken,)}))


class _Broken:
    """A runtime whose output is not finite for the second image of a call."""

    def __init__(self, runtime, value):
        self._runtime, self._value = runtime, value

    def __getattr__(self, name):
        return getattr(self._runtime, name)

    def run(self, names, images):
        outputs = self._runtime.run(names, images)
        outputs[0][1, 3] = self._value
        return outputs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_network_that_gives_no_finite_number_is_an_error_of_that_row(model, pictures, value):
    broken = Model(model.bundle, threads=1)
    broken.ensemble.networks = [_Broken(each, value) for each in broken.networks]
    with np.errstate(invalid="ignore"):
        told = broken.predict(pictures[:3])
    if value == -np.inf:  # a probability of exactly 0, which is a number
        assert told.errors == ("", "", "")
        return
    assert "NaN or infinity" in told.errors[1]
    assert told.errors[0] == told.errors[2] == ""
    assert np.isnan(told.cumulative[1]).all()
    assert told.class_index[1] == -1
    np.testing.assert_allclose(told.cumulative[[0, 2]], model.predict(pictures[:3]).cumulative[[0, 2]], atol=1e-6)
