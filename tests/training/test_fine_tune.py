"""A trained model adapted to other labels: its network recovered, its last layer kept or not, own classes told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

from trainings import fit

from tuningfork.cli import app
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import Bundle, Network, open_bundle, write_bundle
from tuningfork.training.export_onnx import halved, to_onnx, with_features
from tuningfork.training.initial.from_onnx import EXACT, recover_network
from tuningfork.training.initial.tflite import unfold_batch_norm
from tuningfork.training.initial.weights import adapt_recipe, check_init, credit, digest, is_model, load_initial_weights
from tuningfork.training.join import TrainError
from tuningfork.training.lightning_module import MorphologyModule
from tuningfork.training.network import MorphologyNetwork
from tuningfork.training.options import Hardware, TrainingOptions
from tuningfork.training.recipe import Recipe, RecipeError, load_recipe
from tuningfork.training.train import train
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.tree_files import load_tree

#: Norms after convolutions, which are folded; before them too, which stay; of layers, which never fold.
NETWORKS = ("test_resnet", "test_efficientnet", "mobilenetv3_small_050", "dai_tong", "test_convnext")
SIZE = 32


def lively(network):
    """Norms as after a training: no two tensors alike."""
    torch.manual_seed(3)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.normal_(1, 0.1)
                module.bias.normal_(0, 0.2)
    return network.eval()


@cache
def network_and_onnx(name, tree_name, hidden):
    """A network and its ONNX bytes; nobody changes them."""
    torch.manual_seed(2)
    network = lively(MorphologyNetwork(name, load_tree(tree_name), hidden=hidden))
    return network, to_onnx(network, SIZE)


def exported(name, tree, *, hidden=0, **kept):
    _, data = network_and_onnx(name, tree.name, hidden)
    entry = Network(halved(data), Preprocess(crop=0.6, size=SIZE), name)
    return Bundle("small", "", "", "MIT", tree, (entry,), training={"recipe": {"hidden": hidden}}, **kept)


@pytest.fixture(scope="module")
def bundle(gz2):
    return exported("test_resnet", gz2, hidden=8, attribution=("someone",))


@pytest.fixture
def folder(bundle, tmp_path):
    return write_bundle(bundle, tmp_path / "small")


def images(count=8):
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(5))


def told(bundle, batch):
    session = onnxruntime.InferenceSession(bundle.networks[0].onnx, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"pictures": batch.numpy()})[0]


# ------------------------------------------------------------------ its ONNX, and the network out of it


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0, 8])
def test_the_exported_features_are_what_the_head_stands_on(gz2, hidden):
    (network, data), batch = network_and_onnx("test_resnet", gz2.name, hidden), images()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    logits, features = session.run(["logits", "features"], {"pictures": batch.numpy()})
    with torch.no_grad():
        expected = network.features(batch)
        np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(logits, network.head(expected).numpy(), rtol=1e-4, atol=1e-4)
    assert features.shape == (8, network.head.in_features)
    assert with_features(data) == data
    without = onnx.load_from_string(data)
    del without.graph.output[1]
    session = onnxruntime.InferenceSession(without.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"pictures": batch.numpy()})[0], logits)


def test_a_head_that_is_not_linear_has_no_features(gz2):
    model = onnx.load_from_string(network_and_onnx("test_resnet", gz2.name, 0)[1])
    del model.graph.output[1]
    head = model.graph.node[-1]
    model.graph.node.append(onnx.helper.make_node("Identity", ["inner"], list(head.output)))
    head.output[0] = "inner"
    with pytest.raises(ValueError, match="Identity, not from a linear layer"):
        with_features(model.SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_recovered_network_gives_the_bundles_logits(gz2, name):
    bundle = exported(name, gz2, hidden=8 if name == "test_resnet" else 0)
    network, batch = recover_network(bundle), images()
    wanted = told(bundle, batch)
    assert np.ptp(wanted) > 0.01
    with torch.no_grad():
        np.testing.assert_allclose(network(batch).numpy(), wanted, rtol=EXACT, atol=EXACT)
    # Trainable: statistics of the batches in place of the folded ones, and still the same function.
    unfold_batch_norm(network.body, [batch])
    with torch.no_grad():
        np.testing.assert_allclose(network(batch).numpy(), wanted, rtol=10 * EXACT, atol=EXACT)
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        assert norm.running_var.std() > 0


def test_the_shipped_models_network_is_recovered_on_real_galaxies(shared):
    from tuningfork.images.read import read_image

    bundle = open_bundle("default")
    entry = bundle.networks[0]
    files = sorted((shared / "data/gz2_kaggle/images_training_rev1").glob("*.jpg"))[:8]
    batch = torch.from_numpy(np.stack([entry.preprocess(read_image(file).rgb) for file in files]))
    with torch.no_grad():
        np.testing.assert_allclose(recover_network(bundle)(batch).numpy(), told(bundle, batch), rtol=EXACT, atol=EXACT)


def test_a_network_that_is_not_the_bundles_is_told(bundle):
    other = replace(bundle, networks=(replace(bundle.networks[0], architecture="test_efficientnet"),))
    with pytest.raises(ValueError, match=r"small: its network test_efficientnet cannot be recovered"):
        recover_network(other)


# ------------------------------------------------------------------ what a training begins with


def begun(folder, tree, **changes):
    recipe = adapt_recipe(load_recipe("finetune"), folder).changed(**changes)
    torch.manual_seed(0)
    network = MorphologyNetwork(recipe.network, tree, task=recipe.task, hidden=recipe.hidden)
    assert load_initial_weights(network, recipe, folder, [(images(16),)], tree) == "small"
    return network.eval()


def test_the_recipe_takes_network_crop_and_size_from_the_model(folder):
    recipe = adapt_recipe(load_recipe("finetune"), folder)
    assert (recipe.network, recipe.size, recipe.crop, recipe.hidden) == ("test_resnet", SIZE, 0.6, 8)
    check_init(recipe, folder)
    assert adapt_recipe(Recipe(), folder) == Recipe()


def test_the_last_layer_stays_for_the_same_tree(folder, bundle, gz2, messages):
    network = begun(folder, gz2)
    assert messages() == ["test_resnet begins with the model small (the same questions, so its last layer too)"]
    batch = images()
    with torch.no_grad():
        np.testing.assert_allclose(network(batch).numpy(), told(bundle, batch), rtol=10 * EXACT, atol=EXACT)


@pytest.mark.parametrize(
    ("tree", "changes"), [(class_tree("abc"), {}), (None, {"task": "votes"}), (None, {"output": "sigmoid"})]
)
def test_the_last_layer_is_new_for_another_tree_or_other_outputs(folder, bundle, gz2, tree, changes, messages):
    network = begun(folder, tree or gz2, **changes)
    assert messages() == ["test_resnet begins with the model small (another tree, so the last layer is new)"]
    source = recover_network(bundle)
    with torch.no_grad():
        np.testing.assert_allclose(network.body(images()), source.body(images()), rtol=0.01, atol=10 * EXACT)
    rows = min(len(network.head.weight), len(source.head.weight))
    assert not torch.allclose(network.head.weight[:rows], source.head.weight[:rows])


def test_other_recipes_and_no_model_are_told(folder, tmp_path):
    tuned = adapt_recipe(load_recipe("finetune"), folder)
    for recipe, init, said in (
        (Recipe(), folder, "begins from scratch; to begin with a model take --recipe finetune"),
        (Recipe(init="a.tflite"), folder, "begins with the weights of a.tflite; to begin"),
        (tuned, None, "begins with a trained model; name it with --init default"),
        (tuned.changed(network="resnet18"), folder, "its network is not resnet18"),
        (tuned, tmp_path / "no", "neither a model .* nor a file of weights"),
    ):
        with pytest.raises(TrainError, match=said):
            check_init(recipe, init)
    assert [is_model(x) for x in ("default", folder, None, tmp_path / "no")] == [True, True, False, False]


def test_a_model_of_other_preprocessing_is_told(bundle, tmp_path):
    seen = replace(bundle.networks[0].preprocess, filter="lanczos")
    folder = write_bundle(replace(bundle, networks=(replace(bundle.networks[0], preprocess=seen),)), tmp_path / "b")
    with pytest.raises(TrainError, match="resizes images with the filter lanczos, which no training does"):
        adapt_recipe(load_recipe("finetune"), folder)


def test_identity_and_debts_of_a_model(folder, bundle):
    assert digest(folder) == bundle.sha256
    assert digest(None) == ""
    assert credit(Recipe(), folder) == {"licence": "MIT", "attribution": ["someone"]}
    assert credit(Recipe(), None) == {}


# ------------------------------------------------------------------ the recipe's own settings


def module(**changes):
    return MorphologyModule(
        Recipe(network="test_resnet", size=SIZE, learning_rate=1e-2, **changes), class_tree(("a", "b"))
    )


def test_the_body_learns_at_its_own_rate():
    parts = module(body_rate=0.1)._adamw().param_groups
    assert sorted({group["lr"] for group in parts}) == pytest.approx([1e-3, 1e-2])
    assert sum(len(group["params"]) for group in parts) == len(list(module().network.parameters()))
    frozen = module(body_rate=0.0)
    assert {id(p) for group in frozen._adamw().param_groups for p in group["params"]} == {
        id(p) for name, p in frozen.network.named_parameters() if not name.startswith("body.")
    }
    assert not any(p.requires_grad for p in frozen.network.body.parameters())
    with pytest.raises(RecipeError, match="needs optimizer"):
        Recipe(body_rate=0.1, optimizer="adam")


@pytest.mark.parametrize(
    ("changes", "frozen"), [({}, False), ({"frozen_norms": True}, True), ({"body_rate": 0.0}, True)]
)
def test_frozen_norms_keep_their_statistics(changes, frozen):
    model = module(**changes)
    model.eval()
    model.train()
    before = {key: value.clone() for key, value in model.network.body.named_buffers() if "running" in key}
    model(images())
    same = all(torch.equal(value, dict(model.network.body.named_buffers())[key]) for key, value in before.items())
    assert same == frozen


def test_few_galaxies_get_more_epochs():
    recipe = Recipe(epochs=10, patience=5, batch=16, min_steps=400)
    for galaxies in (1, 20, 40, 170, 425, 640, 10_000):
        scaled = recipe.scaled(galaxies)
        steps = max(galaxies // 16, 1)
        assert scaled.epochs == max(10, -(-400 // steps))
        assert scaled.patience / scaled.epochs >= 0.5
        assert scaled.scaled(galaxies) == scaled


# ------------------------------------------------------------------ the whole way


@pytest.fixture(scope="module")
def classes(galaxies, tmp_path_factory):
    """Labels of the simulated galaxies by what the crowd sees first, with a bad row of every kind."""
    path = tmp_path_factory.mktemp("labels") / "my.csv"
    with open(galaxies / "training_solutions_rev1.csv", encoding="utf-8", newline="") as file:
        rows = [(row["GalaxyID"], "smooth" if float(row["Class1.1"]) > 0.5 else "disc") for row in csv.DictReader(file)]
    other = {"smooth": "disc", "disc": "smooth"}
    rows += [(rows[0][0], other[rows[0][1]]), ("unseen", "")]
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *rows])
    return path, dict(rows[:-2])


#: One epoch of a recipe.
QUICK = {"epochs": 1, "min_steps": 2, "views": 1, "validation": 0.2, "test": 0.2}


@pytest.mark.slow
def test_own_labels_from_training_to_evaluation(galaxies, classes, bundle, tmp_path):
    labels, truth = classes
    folder = write_bundle(bundle, tmp_path / "small")
    recipe = tmp_path / "quick.toml"
    recipe.write_text('base = "finetune"\n' + "".join(f"{key} = {value}\n" for key, value in QUICK.items()))
    images = galaxies / "images_training_rev1"
    words = ["train", "--init", folder, "--recipe", recipe, "--images", images, "--labels", labels, "-o",
             tmp_path / "run", "--epochs", 1, "--workers", 0, "--threads", 1, "--no-cache"]  # fmt: skip

    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.output

    out = run(*words, code=3)
    assert "contradictory labels disc and smooth" in out
    assert "(unseen)" in out
    made = open_bundle(tmp_path / "run/bundle")
    assert made.tree == class_tree(["disc", "smooth"])
    assert (made.licence, made.attribution) == ("MIT", ("someone",))
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["init_sha256"] == bundle.sha256
    assert about["initial_weights"] == "small"
    assert about["recipe"]["tree"] == "labels"
    assert about["recipe"]["epochs"] == 1
    # To go on with the same command is no other training; with another model it is.
    assert "best epoch" in run(*words, "--resume", code=3)
    write_bundle(replace(bundle, name="other"), tmp_path / "small")
    assert "was begun with other weights" in run(*words, "--resume", code=1)
    # Predictions, and their evaluation against the same table.
    run("predict", images, "-o", tmp_path / "votes.parquet", "--model", tmp_path / "run/bundle")
    table = pq.read_table(tmp_path / "votes.parquet")
    fractions = np.array([table[f"label_{name}_fraction"] for name in ("disc", "smooth")])
    np.testing.assert_allclose(fractions.sum(0), 1, atol=1e-6)
    assert set(table["class_name"].to_pylist()) <= {"disc", "smooth"}
    out = run("evaluate", tmp_path / "votes.parquet", labels, "--split", tmp_path / "run/split.csv", "--json", code=3)
    scores = json.loads(out[out.index("{") : out.rindex("}") + 1])
    parts = dict(line.split(",") for line in (tmp_path / "run/split.csv").read_text().splitlines()[1:])
    tested = {id_: truth[id_] for id_, part in parts.items() if part == "test"}
    told = dict(zip(table["id"].to_pylist(), table["class_name"].to_pylist(), strict=True))
    assert scores["classes"]["galaxies"] == len(tested)
    right = np.mean([told[id_] == label for id_, label in tested.items()])
    assert scores["classes"]["accuracy"]["value"] == pytest.approx(right)
    assert run("lint", labels, "--tree", tmp_path / "run/bundle", code=3)


@pytest.mark.slow
def test_a_folder_for_each_class_trains_too(galaxies, classes, bundle, tmp_path):
    _, truth = classes
    for file in (galaxies / "images_training_rev1").glob("*.jpg"):
        target = tmp_path / "D" / truth[file.stem] / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    folder = write_bundle(bundle, tmp_path / "small")
    recipe = adapt_recipe(load_recipe("finetune"), folder).changed(**QUICK)
    report = train(
        None, [tmp_path / "D"], tmp_path / "run", recipe, options=TrainingOptions(init=folder), hardware=Hardware(0)
    )
    assert not report.errors
    labels = dict(line.split(",") for line in (tmp_path / "run/labels.csv").read_text().splitlines()[1:])
    assert labels == truth
    assert open_bundle(report.bundle).tree.columns == ("disc", "smooth")


@pytest.mark.slow
def test_a_tree_of_votes_may_be_learned_too(galaxies, bundle, gz2, tmp_path):
    """The model's own tree, more of the same: the first epoch begins where the model was."""
    folder = write_bundle(bundle, tmp_path / "small")
    recipe = adapt_recipe(load_recipe("finetune"), folder).changed(**QUICK, learning_rate=1e-9, dropout=0.0)
    labels = galaxies / "training_solutions_rev1.csv"
    report = fit(galaxies, tmp_path / "run", recipe, labels=labels, init=folder)
    made, batch = open_bundle(report.bundle), images()
    assert made.tree == gz2
    np.testing.assert_allclose(told(made, batch), told(bundle, batch), rtol=0.02, atol=0.01)
