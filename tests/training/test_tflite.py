"""The int8 TensorFlow Lite MobileNetV2 as initial weights of timm's float network."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("flatbuffers")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision
timm = pytest.importorskip("timm")

from tuningfork.training.initial import tflite as mobilenet
from tuningfork.training.initial.tflite import MEAN, STD, load_mobilenet_v2, read_tflite, unfold_batch_norm

#: The folder that holds `data/`; TUNINGFORK_SHARED names another one.
SHARED = Path(os.environ.get("TUNINGFORK_SHARED") or Path(__file__).parents[3] / "shared")
FILE = SHARED / "data/imagenet_mobilenet_v2/tf2_mobilenet_v2_1.0_224_ptq.tflite"
needs_file = pytest.mark.skipif(not FILE.is_file(), reason=f"{FILE} is not there")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """(24, 3, 96, 96), scaled: blobs of light on a dark sky, each image another."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    rgb = np.empty((24, 3, 96, 96), np.float32)
    for image in rgb:
        cx, cy, q, angle = *rng.uniform(-0.2, 0.2, 2), rng.uniform(0.2, 1), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        light = np.exp(-np.hypot(u, v / q) / rng.uniform(0.05, 0.5))
        image[:] = light * rng.uniform(0.4, 1, (3, 1, 1)) + rng.normal(0, 0.03, (3, 96, 96))
    mean, std = (torch.tensor(t).view(3, 1, 1) for t in (MEAN, STD))
    return (torch.from_numpy(rgb.clip(0, 1)) - mean) / std


def network(classes: int, **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilenetv2_100", pad_type="same", num_classes=classes, **options)


@pytest.fixture(scope="module")
def loaded() -> torch.nn.Module:
    model = network(1001)
    load_mobilenet_v2(model, FILE)
    return model.eval()


def norms(model: torch.nn.Module) -> list[torch.nn.BatchNorm2d]:
    return [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]


@needs_file
def test_reads_every_layer() -> None:
    layers = read_tflite(FILE)
    assert len(layers) == 53
    assert [w.shape for w, _ in layers[:3]] == [(32, 3, 3, 3), (32, 1, 3, 3), (16, 32, 1, 1)]
    assert [w.shape for w, _ in layers[-2:]] == [(1280, 320, 1, 1), (1001, 1280, 1, 1)]
    assert sum(w.size + b.size for w, b in layers) == 3_489_097
    for weight, bias in layers:
        assert weight.dtype == bias.dtype == np.float32
        assert bias.shape == weight.shape[:1]
        assert np.isfinite(weight).all()
        assert np.isfinite(bias).all()
    # Each output channel has its own scale, so at most 255 levels of its own.
    top = layers[-1][0]
    assert max(len(np.unique(channel)) for channel in top) <= 255 < len(np.unique(top))


@needs_file
def test_folded_network_is_convolution_and_bias(loaded: torch.nn.Module, images: torch.Tensor) -> None:
    """Batch norm in eval mode adds the file's bias and does nothing else."""
    weight, bias = (torch.from_numpy(a) for a in read_tflite(FILE)[0])
    padded = torch.nn.functional.pad(images, (0, 1, 0, 1))  # TensorFlow's "same" at stride 2
    with torch.no_grad():
        expected = torch.nn.functional.conv2d(padded, weight, bias, stride=2).clamp(0, 6)
        torch.testing.assert_close(loaded.bn1(loaded.conv_stem(images)), expected, rtol=1e-6, atol=1e-6)
    assert all((norm.running_var + norm.eps == 1).all() for norm in norms(loaded))


@needs_file
def test_classifier(loaded: torch.nn.Module, images: torch.Tensor) -> None:
    """1000 classes are the 1001 without "background"; any other head stays as it was made."""
    thousand, votes, features = network(1000), network(37), network(0)
    made = votes.classifier.weight.detach().clone()
    for model in (thousand, votes, features):
        load_mobilenet_v2(model, FILE)
        model.eval()
    with torch.no_grad():
        torch.testing.assert_close(thousand(images[:2]), loaded(images[:2])[:, 1:])
        torch.testing.assert_close(
            features(images[:2]),
            loaded.forward_head(loaded.forward_features(images[:2]), pre_logits=True),
        )
    assert torch.equal(votes.classifier.weight, made)


@needs_file
def test_unfolding_keeps_the_function(loaded: torch.nn.Module, images: torch.Tensor) -> None:
    model = network(1001)
    model.load_state_dict(loaded.state_dict())
    model.train()
    model.bn1.eval()  # a frozen layer stays frozen
    unfold_batch_norm(model, images[:16].split(8))
    assert model.training
    assert not model.bn1.training
    assert not any(norm._forward_pre_hooks for norm in norms(model))
    with torch.no_grad():
        folded, unfolded = loaded(images), model.eval()(images)  # the last 8 were not seen
    assert folded.std() > 0.5
    torch.testing.assert_close(unfolded, folded, rtol=0, atol=2e-3)

    # Train mode on the very images: batch norm divides by what its weight multiplies with.
    with torch.no_grad():
        trained = model.train()(images[:16])
    torch.testing.assert_close(trained, folded[:16], rtol=0, atol=2e-3)
    # Without unfolding train mode is another network: what this is for.
    other = network(1001)
    other.load_state_dict(loaded.state_dict())
    with torch.no_grad():
        assert (other.train()(images[:16]) - folded[:16]).abs().max() > 1


@needs_file
def test_dead_channels_stay_harmless(loaded: torch.nn.Module, images: torch.Tensor) -> None:
    model = network(1001)
    model.load_state_dict(loaded.state_dict())
    with torch.no_grad():
        model.conv_stem.weight[3] = 0
        before = model.eval()(images)
        unfold_batch_norm(model, [images])
        assert model.bn1.running_var[3] == 0
        torch.testing.assert_close(model(images), before, rtol=0, atol=2e-3)
        # eps stands under both roots: the factor is 1, however small the variance.
        for norm in norms(model):
            factor = norm.weight / (norm.running_var + norm.eps).sqrt()
            torch.testing.assert_close(factor, torch.ones_like(factor))
        torch.testing.assert_close(model.train()(images), before, rtol=0, atol=2e-3)
    model.train()(images).square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_unfolding_any_batch_norm_and_its_refusals(images: torch.Tensor) -> None:
    """Also of a network that was never folded; nothing changes where the images are no good."""
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(5)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), norm)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    norm.running_var.uniform_(0.5, 2)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    for batches in ([], [torch.full_like(images, torch.nan)]):
        with pytest.raises(ValueError, match="no images, or values"):
            unfold_batch_norm(model, batches)
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        before = model.eval()(images)
        unfold_batch_norm(model, images.split(7))
        torch.testing.assert_close(model(images), before, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.train()(images), before, rtol=1e-4, atol=1e-5)


@needs_file
@pytest.mark.parametrize("kept", [0, 3, 8, 100, 0.1, 0.5, 0.9, 0.99])
def test_refuses_a_truncated_file(tmp_path: Path, kept: float) -> None:
    data = FILE.read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[: kept if isinstance(kept, int) else int(kept * len(data))])
    with pytest.raises(ValueError, match="cut"):
        read_tflite(path)


@needs_file
def test_refuses_or_survives_damage(tmp_path: Path) -> None:
    """Bytes changed where the file's tables stand: a ValueError, or finite weights, never anything else."""
    data, rng, refused = FILE.read_bytes(), np.random.default_rng(0), 0
    path = tmp_path / "damaged.tflite"
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(len(data) - 300_000, len(data), 20)
        damaged[where] = rng.integers(0, 256, 20)
        path.write_bytes(damaged.tobytes())
        try:
            assert all(np.isfinite(w).all() and np.isfinite(b).all() for w, b in read_tflite(path))
        except ValueError:
            refused += 1
    assert refused > 30


def test_refuses_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(b"PK\3\4 not a network")
    with pytest.raises(ValueError, match="not a TensorFlow Lite file"):
        read_tflite(path)
    path.write_bytes(b"\x20\0\0\0TFL3" + bytes(1000))
    with pytest.raises(ValueError, match="damaged, or not an int8 MobileNetV2"):
        read_tflite(path)
    monkeypatch.setattr(mobilenet, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="larger than"):
        read_tflite(path)


@needs_file
def test_refuses_another_network() -> None:
    for model in (timm.create_model("mobilenetv2_050"), network(10, in_chans=1)):
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with pytest.raises(ValueError, match="not those of the model"):
            load_mobilenet_v2(model, FILE)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
