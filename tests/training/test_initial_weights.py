"""First weights: from a file, from timm's hub, or none; said, checked, and never from a pickle."""

from __future__ import annotations

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import timm
from huggingface_hub import constants
from safetensors.torch import save_file
from trainings import fit

from tuningfork.training.initial import weights as weights_module
from tuningfork.training.initial.weights import check_init, load_initial_weights
from tuningfork.training.join import TrainError
from tuningfork.training.network import MorphologyNetwork
from tuningfork.training.recipe import Recipe

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
        self.error, self.asked = error, []

    def head(self, address, timeout):
        self.asked.append((address, timeout))
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


# ------------------------------------------------------------------ from the hub, or none


def test_nothing_is_asked_for_from_scratch(network, monkeypatch, messages):
    monkeypatch.setattr(weights_module, "get_session", None)
    assert load_initial_weights(network, Recipe(network=NAME), None, []) == "scratch"
    assert messages() == []


def test_without_a_net_it_says_so_soon_and_begins_from_scratch(network, monkeypatch, tmp_path, messages):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub = Hub(ConnectionError("no net"))
    monkeypatch.setattr(weights_module, "get_session", lambda: hub)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    started = time.monotonic()
    assert load_initial_weights(network, RECIPE, None, []) == "scratch"
    said = messages()
    assert time.monotonic() - started < 10
    assert len(said) == 1
    assert said[0].startswith(f"no ImageNet weights of {NAME} (")
    assert said[0].endswith("it begins from scratch; --init FILE.safetensors names a local file")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [timeout <= 10 for _, timeout in hub.asked] == [True]
    assert constants.HF_HUB_OFFLINE is False  # as it was


def test_an_offline_machine_is_not_even_asked(network, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(weights_module, "get_session", None)
    assert load_initial_weights(network, RECIPE, None, []) == "scratch"
    assert constants.HF_HUB_OFFLINE is True


def test_weights_of_the_hub_become_the_body(network, monkeypatch, messages):
    monkeypatch.setattr(weights_module, "get_session", lambda: Hub())
    torch.manual_seed(5)
    source = timm.create_model(NAME, num_classes=0)
    monkeypatch.setattr(weights_module.timm, "create_model", lambda *a, **k: source)
    assert load_initial_weights(network, RECIPE, None, []) == "imagenet"
    assert messages() == [f"{NAME} begins with timm's ImageNet weights"]
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.body.state_dict().items())


@pytest.mark.parametrize("name", ["dai_tong", "galaxy_se_resnet"])
def test_a_network_without_published_weights_says_so(gz2, monkeypatch, name, messages):
    monkeypatch.setattr(weights_module, "get_session", lambda: Hub())
    network = MorphologyNetwork(name, gz2)
    assert load_initial_weights(network, Recipe(network=name, init="imagenet"), None, []) == "scratch"
    assert "no published weights" in messages()[0]


# ------------------------------------------------------------------ in a training


@pytest.mark.slow
def test_a_training_begins_with_the_file_and_notes_it(galaxies, tmp_path, file):
    import hashlib
    import json

    fit(galaxies, tmp_path / "run", RECIPE, init=file)
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["init_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert about["initial_weights"] == "weights.safetensors"
    assert json.loads((tmp_path / "run/result.json").read_text())["initial_weights"] == "weights.safetensors"
    # To go on needs no weights, but other ones are refused.
    fit(galaxies, tmp_path / "run", RECIPE, resume=True)
    save_file({"x": torch.from_numpy(np.zeros(1))}, file)
    with pytest.raises(TrainError, match="was begun with other weights"):
        fit(galaxies, tmp_path / "run", RECIPE, resume=True, init=file)
