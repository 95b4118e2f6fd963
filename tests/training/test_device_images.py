"""Input that is prepared on the device is what the host prepares: here the device is a CPU, on the same code."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import lightning
from PIL import Image

from tuningfork.images.preprocess import Preprocess
from tuningfork.simulation import draw, render
from tuningfork.training import batches, device_images, speed
from tuningfork.training.augmentation import RandomView, augmented
from tuningfork.training.dataset import CachedImages, EpochSampler, GalaxyDataset, ImageFiles, Targets, loader
from tuningfork.training.device_images import DeviceFrames, DeviceLoader, DeviceViews, triangle
from tuningfork.training.join import TrainError, read_training_set
from tuningfork.training.lightning_module import MorphologyModule
from tuningfork.training.options import Hardware
from tuningfork.training.recipe import Augmentation, Recipe
from tuningfork.votes.label_table import read_labels

CPU = torch.device("cpu")
SIDE, N = 212, 10
WILD = Augmentation(shift=0.3, zoom=(0.5, 1.5), brightness=(0.7, 1.4))
RECIPE = Recipe(network="mobilenetv3_small_050", size=48, batch=4)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> CachedImages:
    """Simulated galaxies as the image cache stores them."""
    images = [np.asarray(Image.fromarray(render(draw(3, i))).resize((SIDE, SIDE))) for i in range(N + 1)]
    path = tmp_path_factory.mktemp("cache") / "images.npy"
    np.save(path, np.stack(images))
    return CachedImages(path, np.array([10, *range(N - 1)]))  # not in the file's order


def targets(n: int = N) -> Targets:
    return Targets(np.random.default_rng(0).random((n, 37), np.float32), np.eye(n, 7, dtype=np.float32))


@pytest.mark.parametrize("size", [48, 96, 106, 160])
def test_the_resize_is_pillows(size):
    image = np.random.default_rng(0).integers(0, 256, (106, 106, 3), np.uint8)
    preprocess = Preprocess(crop=1.0, size=size)
    views = DeviceViews(preprocess, image.shape, CPU)
    found = views.shrunk(torch.from_numpy(image.transpose(2, 0, 1).copy()).float()[None])[0].numpy()
    difference = np.abs(found - preprocess.resized(image).transpose(2, 0, 1))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01  # where a sum lies on a half
    torch.testing.assert_close(triangle(106, size).sum(1), torch.ones(size))


@pytest.mark.parametrize("augmentation", [Augmentation(), WILD])
@pytest.mark.parametrize("crop", [0.5, 0.9])
def test_a_view_is_the_hosts(frames, augmentation, crop):
    preprocess = Preprocess(crop=crop, size=64)
    views = DeviceViews(preprocess, (SIDE, SIDE, 3), CPU)
    drawn = [
        RandomView.of((SIDE, SIDE, 3), preprocess, augmentation, np.random.default_rng([0, 1, i])) for i in range(N)
    ]
    found = views(torch.from_numpy(np.stack([frames[i] for i in range(N)])), drawn).numpy()
    host = np.stack([
        preprocess.scaled(augmented(frames[i], preprocess, augmentation, np.random.default_rng([0, 1, i])))
        for i in range(N)
    ])  # fmt: skip
    levels = np.abs(found - host) * 127.5
    assert levels.mean() < 0.15
    assert levels.max() < 4


@pytest.mark.parametrize("share", [0.5, 0.0])
@pytest.mark.parametrize("epoch", [0, 3])
def test_batches_are_the_hosts_in_the_same_order(frames, share, epoch, caplog):
    """Resident frames, and those that do not fit and are sent batch by batch."""
    recipe = RECIPE.changed(seed=7)
    host = loader(
        GalaxyDataset(frames, targets(), recipe.preprocess, recipe.augmentation, recipe.seed),
        batch=4, shuffle=True, workers=0, seed=recipe.seed,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "tuningfork"):
        there = DeviceFrames(frames, CPU, share)
    assert (there.resident is None) == (not share) == ("do not fit into the" in caplog.text)
    sampler = EpochSampler(N, shuffle=True, seed=recipe.seed, batch=4)
    device = DeviceLoader(there, targets(), recipe.preprocess, sampler, 4, CPU, recipe.augmentation)
    assert len(device) == len(host) == 2
    for each in (host.sampler, device.sampler):
        each.set_epoch(epoch)
    for expected, found in zip(host, device, strict=True):
        assert (expected[0] - found[0]).abs().mean() * 127.5 < 0.15
        for i in (1, 2):
            torch.testing.assert_close(found[i], expected[i])
    assert device.wait_seconds > 0


def test_validation_is_read_as_a_prediction_reads_it(galaxies: Path):
    paths = sorted((galaxies / "images_training_rev1").iterdir())[:5]
    preprocess = Preprocess(crop=0.5, size=48, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25))
    host = loader(GalaxyDataset(ImageFiles(paths), targets(5), preprocess), batch=2, shuffle=False, workers=0)
    device = DeviceLoader(paths, targets(5), preprocess, EpochSampler(5, shuffle=False), 2, CPU)
    for _ in range(2):
        for expected, found in zip(host, device, strict=True):
            torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(found[1], expected[1])


def test_an_error_in_a_batch_reaches_the_training(frames):
    there = DeviceFrames(frames, CPU)
    device = DeviceLoader(there, targets(3), RECIPE.preprocess, EpochSampler(N, shuffle=False), 4, CPU, WILD)
    with pytest.raises(IndexError):
        list(device)


def test_another_filter_than_the_bilinear_is_refused():
    with pytest.raises(ValueError, match="cannot be computed on the device"):
        DeviceViews(Preprocess(filter="lanczos"), (SIDE, SIDE, 3), CPU)


def test_where_images_are_augmented_follows_from_device_and_cache(caplog):
    class Data:
        cache = None

    gpu = torch.device("cuda", 0)
    assert not batches.prepared_on_device(Data, RECIPE, Hardware(), CPU)
    assert not batches.prepared_on_device(Data, RECIPE, Hardware(augment="host"), gpu)
    with caplog.at_level(logging.WARNING, "tuningfork"):
        assert not batches.prepared_on_device(Data, RECIPE, Hardware(), gpu)
    assert "with a cache cuda:0 would do it" in caplog.text
    with pytest.raises(TrainError, match="leave --no-cache out"):
        batches.prepared_on_device(Data, RECIPE, Hardware(augment="device"), CPU)


def test_a_device_that_cannot_do_it_leaves_it_to_the_host(monkeypatch, caplog):
    class Data:
        cache = object()

    def fails(*_):
        raise NotImplementedError("the operator 'aten::grid_sampler_2d' is not implemented for this device")

    monkeypatch.setattr(batches, "_probe", fails)
    with caplog.at_level(logging.WARNING, "tuningfork"):
        assert not batches.prepared_on_device(Data, RECIPE, Hardware(), torch.device("meta"))
    assert "augmented by the CPU, since meta cannot" in caplog.text


def test_free_memory_is_a_number_of_bytes():
    assert device_images.free_memory(CPU) > 2**20


def test_the_speed_of_both_ways_is_measured(galaxies: Path):
    found = speed.measure_training(RECIPE.changed(size=32), galaxies / "images_training_rev1", steps=2, workers=0)
    assert found.device in ("cpu", "cuda")
    assert set(found.paths) == {"host", "device"}
    for figures in found.paths.values():
        assert min(figures["input"], figures["training"], found.synthetic) > 0
        assert 0 <= figures["waiting"] <= 1
        assert figures["of_bound"] == pytest.approx(figures["training"] / found.synthetic)


def test_nothing_to_measure_with_is_an_error(tmp_path: Path):
    with pytest.raises(TrainError, match="no image to measure with"):
        speed.measure_training(RECIPE, tmp_path)


def test_a_training_on_the_device_is_that_on_the_host(galaxies: Path, tmp_path: Path):
    """Lightning's loop, sampler and all, on both kinds of batches."""
    recipe = RECIPE.changed(size=48, epochs=2, batch=16, dropout=0.0, drop_path=0.0, learning_rate=1e-6)
    labels = read_labels(galaxies / "training_solutions_rev1.csv")
    data = read_training_set(labels, [galaxies / "images_training_rev1"], recipe, tmp_path / "cache")
    figures = []
    for device in (None, CPU):
        lightning.seed_everything(0, verbose=False)
        module = MorphologyModule(recipe, labels.tree)
        parts = [
            batches.subset_batches(data, labels.tree, subset, recipe, Hardware(workers=0), device)
            for subset in ("train", "validation")
        ]
        assert isinstance(parts[0], DeviceLoader) == bool(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
                use_distributed_sampler=False,
            )  # fmt: skip
            trainer.fit(module, *parts)
        assert parts[0].sampler.epoch == 1  # Lightning told it
        figures.append({key: float(value) for key, value in trainer.callback_metrics.items()})
    assert figures[1]["train_loss"] == pytest.approx(
        figures[0]["train_loss"], rel=1e-2
    )  # batch norm of few, from scratch
    assert figures[1]["val_rmse"] == pytest.approx(figures[0]["val_rmse"], abs=1e-3)
    for mine, host in zip(batches.on_host(parts[0]), parts[0], strict=True):
        torch.testing.assert_close(mine, host)
