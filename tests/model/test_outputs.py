"""What a network's numbers may mean: votes in the tree's sums, votes each by itself, classes alone."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import Bundle, BundleError, Network, Outputs, builtin_models, open_bundle, write_bundle
from tuningfork.model.bundle_json import digest_of, json_text
from tuningfork.model.class_calibration import class_probabilities
from tuningfork.model.model import Model
from tuningfork.model.prediction_columns import output_schema
from tuningfork.simulation import simulate
from tuningfork.votes import fractions as votes
from tuningfork.votes.clean_samples import NO_CLASS, class_fits
from tuningfork.votes.fractions import softmax

onnx = pytest.importorskip("onnx")
KINDS = {
    "both": Outputs(),
    "votes": Outputs("tree", False),
    "sigmoid": Outputs("sigmoid", False),
    "sigmoid and classes": Outputs("sigmoid", True),
    "classes": Outputs("", True),
}


def linear_network(width, seed=0):
    """ONNX bytes: the mean colour of a picture times a random matrix; as good as any for what comes after."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(0, 3, (3, width)), rng.normal(0, 1, width)
    helper, as_tensor = onnx.helper, onnx.numpy_helper.from_array
    nodes = [
        helper.make_node("GlobalAveragePool", ["pictures"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("pictures", onnx.TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", width])],
        [as_tensor(weight.astype(np.float32), "weight"), as_tensor(bias.astype(np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString(), (lambda x: x.mean((-2, -1)) @ weight + bias)


def made(tree, outputs, networks=1):
    """A bundle of linear networks, and the functions that they are."""
    width = sum(outputs.widths(tree))
    pairs = [linear_network(width, seed) for seed in range(networks)]
    preprocess = Preprocess(crop=0.5, size=16)
    bundle = Bundle(
        name="linear", title="Linear", description="For a test", licence="BSD-3-Clause", tree=tree, outputs=outputs,
        networks=tuple(Network(data, preprocess, "linear") for data, _ in pairs),
    )  # fmt: skip
    return bundle, [function for _, function in pairs]


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("galaxies") / "sim", 30, seed=9, workers=1)


@pytest.fixture
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8))


# ------------------------------------------------------------------ as numbers


def test_widths_follow_the_tree(gz2):
    assert [kind.widths(gz2) for kind in KINDS.values()] == [(37, 7), (37, 0), (37, 0), (37, 7), (0, 7)]


@pytest.mark.parametrize("wrong", [("", False), ("softmax", True), ("tree", 1), (None, True), ("Tree", False)])
def test_no_other_outputs_are_known(wrong):
    with pytest.raises(ValueError, match="outputs: "):
        Outputs(*wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_gives_what_its_outputs_mean(gz2, pictures, kind):
    outputs = KINDS[kind]
    bundle, (function,) = made(gz2, outputs)
    rows = Model(bundle).predict(pictures, n_views=1)
    logits = function(np.stack([bundle.networks[0].preprocess(picture) for picture in pictures]))
    answers = 37 if outputs.votes else 0
    if outputs.votes == "sigmoid":
        np.testing.assert_allclose(rows.cumulative, 1 / (1 + np.exp(-logits[:, :answers])), atol=1e-5)
        shares = rows.fractions
        for part in gz2.slices:
            np.testing.assert_allclose(shares[:, part].sum(1), 1, atol=1e-9)
    elif outputs.votes == "tree":
        assert np.abs(votes.sum_violations(rows.cumulative, gz2)).max() < 1e-9
        np.testing.assert_allclose(rows.fractions, votes.conditional_from_logits(logits[:, :37], gz2), atol=1e-4)
    else:
        assert np.isnan(rows.cumulative).all()
        assert np.isnan(rows.fractions).all()
        assert not any(rows.clean_classes)
        assert not any(rows.descriptions)
    if outputs.votes:
        # The classes follow from the votes, whether the network has class outputs or not.
        expected, none = class_probabilities(None, gz2, votes=rows.cumulative)
        np.testing.assert_array_equal(rows.class_probability, expected)
        np.testing.assert_array_equal(rows.no_class_probability, none)
        fits = class_fits(rows.cumulative, gz2) == 1
        assert ((rows.class_index == 7) == ~fits.any(1)).all()
    else:
        np.testing.assert_allclose(rows.class_probability, softmax(logits[:, answers:]), atol=1e-5)
        assert (rows.class_index == logits[:, answers:].argmax(1)).all()
        assert np.isnan(rows.no_class_probability).all()
    assert not any(rows.errors)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_and_views_are_averaged(gz2, pictures, kind):
    bundle, _ = made(gz2, KINDS[kind], networks=2)
    alone = [Model(replace(bundle, networks=(network,))).predict(pictures, n_views=8) for network in bundle.networks]
    both = Model(bundle).predict(pictures, n_views=8)
    for name in ("cumulative",) if KINDS[kind].votes else ("class_probability",):
        np.testing.assert_allclose(getattr(both, name), np.mean([getattr(rows, name) for rows in alone], 0), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_has_blanks_where_the_model_tells_nothing(gz2, pictures, kind):
    outputs = KINDS[kind]
    table = Model(made(gz2, outputs)[0]).predict(pictures).to_table()
    blanks = {name: table[name].null_count for name in table.column_names}
    for name in gz2.fraction_names:
        assert blanks[name] == (0 if outputs.votes else 5)
    assert all(blanks[f"class_{c}_probability"] == 0 for c in range(7))
    assert blanks["no_class_probability"] == (0 if outputs.votes else 5)
    assert blanks["class"] == table["class_name"].to_pylist().count(NO_CLASS)
    assert set(table["error"].to_pylist()) == {""}
    assert all(table["class_name"].to_pylist())
    assert all(bool(text) is bool(outputs.votes) for text in table["description"].to_pylist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_prediction_in_words_is_clean(gz2, pictures, kind):
    outputs = KINDS[kind]
    prediction = Model(made(gz2, outputs)[0]).predict(pictures[0])
    text = str(prediction)
    assert prediction.class_name
    assert sum(prediction.classes.values()) == pytest.approx(1)
    assert (NO_CLASS in prediction.classes) is bool(outputs.votes)
    assert prediction.headline() in text
    assert bool(prediction.steps()) is bool(outputs.votes)
    assert "nan" not in text
    assert text == text.strip().rstrip(";")
    assert ("smooth or features: " in text) is bool(outputs.votes)


@pytest.mark.parametrize(("kind", "other"), [("votes", "both"), ("classes", "both"), ("both", "votes")])
def test_a_network_of_other_outputs_is_refused(gz2, kind, other):
    bundle, _ = made(gz2, KINDS[kind])
    with pytest.raises(BundleError, match="outputs"):
        Model(replace(bundle, outputs=KINDS[other]))


# ------------------------------------------------------------------ as files


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_come_back_from_the_folder(gz2, tmp_path, kind):
    bundle, _ = made(gz2, KINDS[kind])
    content = json.loads((write_bundle(bundle, tmp_path) / "bundle.json").read_text("utf-8"))
    assert content["version"] == (1 if kind == "both" else 2)
    assert ("outputs" in content) is (kind != "both")
    again = open_bundle(tmp_path)
    assert again == bundle
    assert again.sha256 == bundle.sha256 == content["sha256"]


@pytest.mark.parametrize("name", builtin_models())
def test_what_was_shipped_before_is_written_as_it_was(name):
    folder = Path(str(resources.files("tuningfork.model") / "models" / name))
    written = (folder / "bundle.json").read_text("utf-8")
    bundle = open_bundle(name)
    assert json.loads(written)["version"] == 3
    assert bundle.outputs == Outputs()
    assert json_text(bundle.to_dict()) == written
    # The oldest form that can say it: without its calibration, the first.
    plain = json.loads(json_text(replace(bundle, calibration=None).to_dict()))
    assert plain["version"] == 1
    told = json.loads(written)
    assert {key for key in told if plain.get(key) != told[key]} <= {"version", "calibration", "outputs", "sha256"}


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("outputs"),
        lambda content: content.update(outputs=None),
        lambda content: content.update(outputs=["tree", True]),
        lambda content: content.update(outputs="tree"),
        lambda content: content.update(outputs={"votes": "tree"}),
        lambda content: content.update(outputs={"votes": "tree", "classes": "yes"}),
        lambda content: content.update(outputs={"votes": "beta", "classes": True}),
        lambda content: content.update(outputs={"votes": "", "classes": False}),
        lambda content: content.update(outputs={"votes": ["tree"], "classes": True}),
        lambda content: content.update(outputs={"votes": "tree", "classes": False, "redshift": True}),
    ],
)
def test_outputs_that_are_not_known_are_told(gz2, tmp_path, change):
    folder = write_bundle(made(gz2, KINDS["votes"])[0], tmp_path / "model")
    content = json.loads((folder / "bundle.json").read_text("utf-8"))
    change(content)
    del content["sha256"]
    content["sha256"] = digest_of(content)
    (folder / "bundle.json").write_text(json_text(content), "utf-8")
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert str(caught.value).startswith(str(folder / "bundle.json"))
    assert "upgrade tuningfork" in str(caught.value) or "copy the model again" in str(caught.value)


# ------------------------------------------------------------------ through the command line


def predicted(galaxies, tmp_path, tree, kind, *options, table="votes.parquet"):
    model = write_bundle(made(tree, KINDS[kind])[0], tmp_path / "model")
    arguments = ["predict", str(galaxies / "images_training_rev1"), "--model", str(model)]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / table), *options])
    return done, tmp_path / table


@pytest.mark.parametrize("kind", KINDS)
def test_predict_writes_the_table(galaxies, tmp_path, gz2, kind):
    outputs = KINDS[kind]
    done, file = predicted(galaxies, tmp_path, gz2, kind)
    assert done.exit_code == 0, done.output
    table = pq.read_table(file)
    assert table.num_rows == 30
    fractions = np.stack([table[name].to_numpy() for name in gz2.fraction_names], 1)
    if outputs.votes:
        for part in gz2.slices:
            np.testing.assert_allclose(fractions[:, part].sum(1), 1, atol=1e-5)
    else:
        assert sum(table[name].null_count for name in gz2.fraction_names) == 37 * 30
    assert table["class"].null_count == table["class_name"].to_pylist().count(NO_CLASS)


@pytest.mark.parametrize("kind", ["votes", "classes"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_predict_prints_to_the_terminal(galaxies, tmp_path, gz2, kind, options):
    model = write_bundle(made(gz2, KINDS[kind])[0], tmp_path / "model")
    picture = next((galaxies / "images_training_rev1").iterdir())
    done = CliRunner().invoke(app, ["predict", str(picture), "--model", str(model), *options])
    assert done.exit_code == 0, done.output
    assert picture.stem in done.stdout
    if options:
        told = json.loads(done.stdout)
        assert told["class_name"]
        assert (told["no_class_probability"] is None) is (kind == "classes")
        assert (told["bar_yes_fraction"] is None) is (kind == "classes")


def test_kaggles_layout_holds_the_sigmoids_themselves(galaxies, tmp_path, gz2):
    done, file = predicted(galaxies, tmp_path, gz2, "sigmoid", "--format", "kaggle", table="submission.csv")
    assert done.exit_code == 0, done.output
    with open(file, encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    expected = open_bundle(tmp_path / "model")
    told = Model(expected).predict(galaxies / "images_training_rev1")
    values = np.array([[float(row[column]) for column in gz2.columns] for row in rows])
    assert [row["GalaxyID"] for row in rows] == list(told.ids)
    np.testing.assert_allclose(values, told.cumulative, atol=1e-9)
    assert np.abs(votes.sum_violations(values, gz2)).max() > 0.05  # nobody made them obey


@pytest.mark.parametrize(
    "kind",
    [
        "both",
        "sigmoid and classes",
        "sigmoid",
        "classes",
    ],
)
def test_evaluate_takes_what_predict_wrote(galaxies, tmp_path, gz2, kind):
    _, file = predicted(galaxies, tmp_path, gz2, kind)
    labels = galaxies / "training_solutions_rev1.csv"
    done = CliRunner().invoke(app, ["evaluate", str(file), str(labels), "--json", "--resamples", "20"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert ("rmse_known_columns" in report) is bool(KINDS[kind].votes)
    assert "classes" in report
    assert ("classes_and_none" in report) is bool(KINDS[kind].votes)


FIGURES = {
    "votes": {"val_rmse": 0.1},
    "both": {"val_rmse": 0.1, "val_accuracy": 0.9, "val_loss": 0.3},
    "classes": {"val_accuracy": 0.9, "val_loss": 0.3},
}


@pytest.mark.parametrize(
    "kind",
    [
        "votes",
        "both",
        "classes",
    ],
)
def test_the_card_of_a_model_is_printed(tmp_path, gz2, kind):
    bundle = replace(made(gz2, KINDS[kind])[0], figures={"validation": {"linear": {**FIGURES[kind], "epoch": 2}}})
    done = CliRunner().invoke(app, ["models", str(write_bundle(bundle, tmp_path / "model"))])
    assert done.exit_code == 0, done.output
    assert "in epoch 2" in done.stdout


def test_columns_say_what_this_tree_s_classes_mean(gz2):
    others = tuple(replace(rule, description="of another kind") for rule in gz2.classes)
    for tree in (gz2, replace(gz2, classes=others), gz2):  # equal to each other
        text = output_schema(tree).field("class").metadata[b"description"].decode()
        assert ("of another kind" in text) == (tree.classes is others)
