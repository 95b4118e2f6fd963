"""Several processes learn as one: the same galaxies once an epoch, the same figures, the same weights."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

import pyarrow.parquet as pq

from tuningfork.cli import app
from tuningfork.images.preprocess import Preprocess
from tuningfork.model.bundle import open_bundle
from tuningfork.simulation import simulate
from tuningfork.tables import RowError
from tuningfork.training import train as fit
from tuningfork.training.dataset import EpochSampler, GalaxyDataset, ImageFiles, Targets, loader
from tuningfork.training.join import TrainError
from tuningfork.training.lightning_module import MorphologyModule, candidate_loss, rmse_loss, vote_loss
from tuningfork.training.network import MorphologyNetwork, synchronize_batch_norms
from tuningfork.training.recipe import Recipe
from tuningfork.training.train import TrainReport

# ------------------------------------------------------------------ which galaxies


@settings(max_examples=200)
@given(
    count=st.integers(1, 300),
    world=st.integers(1, 8),
    share=st.integers(1, 16),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**31),
    epoch=st.integers(0, 1000),
)
def test_a_batch_of_all_processes_is_the_batch_of_one(count, world, share, shuffle, seed, epoch):
    batch = share * world

    def batches(rank, world, size):
        sampler = EpochSampler(count, shuffle=shuffle, seed=seed, batch=batch if shuffle else 0, rank=rank, world=world)
        sampler.set_epoch(epoch)
        rows = list(sampler)
        assert len(rows) == len(sampler)
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    whole = batches(0, 1, batch)
    parts = [batches(rank, world, share) for rank in range(world)]
    for number, expected in enumerate(whole):
        together = [row for part in parts if number < len(part) for row in part[number]]
        assert sorted(together) == sorted(expected)
        assert len(set(together)) == len(together)
    assert max(map(len, parts)) == len(whole)
    if shuffle and count >= batch:  # the processes wait for each other at every step
        assert {len(rows) for part in parts for rows in part} == {share}
    seen = [row for rows in whole for _, row in rows]
    assert len(set(seen)) == len(seen) == (count // batch * batch if shuffle and count >= batch else count)


def test_two_loaders_see_every_galaxy_once_an_epoch():
    data = GalaxyDataset(
        ImageFiles([Path()] * 37), Targets(np.zeros((37, 37), np.float32), np.zeros((37, 7), np.float32)), Preprocess()
    )
    loaders = [loader(data, batch=8, shuffle=False, workers=0, rank=rank, world=2) for rank in range(2)]
    rows = [row for each in loaders for _, row in each.sampler]
    assert sorted(rows) == list(range(37))
    assert [each.batch_size for each in loaders] == [4, 4]


# ------------------------------------------------------------------ losses


@pytest.mark.parametrize("loss", [vote_loss, rmse_loss, candidate_loss])
@pytest.mark.parametrize("first", [0, 1, 5, 8])
def test_shares_of_a_batch_give_the_loss_and_the_slope_of_the_whole(loss, first):
    """What each process would compute, with the other's sums at hand; then the mean of slopes, as DDP takes it."""
    torch.manual_seed(first)
    given_ = torch.randn(8, 7, dtype=torch.float64)
    known = (torch.rand(8, 7) < 0.4).double()
    known[2] = 0  # no candidate
    if loss is not candidate_loss:
        known = torch.where(torch.rand(8, 7) < 0.3, torch.nan, torch.rand(8, 7, dtype=torch.float64))
    whole = given_.clone().requires_grad_()
    expected = loss(whole, known)
    expected.backward()

    pieces = [slice(0, first), slice(first, 8)]
    sums = []
    for piece in pieces:
        loss(given_[piece], known[piece], lambda own: sums.append(own) or own)
    total = sums[0] + sums[1]
    slopes = []
    for piece in pieces:
        part = given_[piece].clone().requires_grad_()
        value = loss(part, known[piece], lambda own: total + 2 * (own - own.detach()))
        torch.testing.assert_close(value.detach(), expected.detach())
        value.backward()
        slopes.append(part.grad / 2)
    torch.testing.assert_close(torch.cat(slopes), whole.grad)


# ------------------------------------------------------------------ batch norm


def test_batch_norms_are_of_all_processes_and_stay_the_same_layers(gz2):
    """PyTorch's own conversion drops the activations that timm's layers hold."""
    torch.manual_seed(0)
    network = MorphologyNetwork("test_efficientnet", gz2).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before, names = network(images), list(network.state_dict())
    assert synchronize_batch_norms(network, 1, "cuda")  # one process has the whole batch
    assert not synchronize_batch_norms(network, 2, "cpu")
    assert not any(isinstance(each, torch.nn.SyncBatchNorm) for each in network.modules())
    assert synchronize_batch_norms(network, 2, "cuda")
    norms = [each for each in network.modules() if isinstance(each, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(each, torch.nn.SyncBatchNorm) for each in norms)
    assert list(network.state_dict()) == names
    with torch.no_grad():
        torch.testing.assert_close(network(images), before)
    assert synchronize_batch_norms(MorphologyNetwork("convnext_atto", gz2), 2, "cpu")  # it has none


def test_frozen_norms_stay_frozen_when_they_are_synchronised(gz2):
    module = MorphologyModule(Recipe(network="test_efficientnet", frozen_norms=True), gz2)
    synchronize_batch_norms(module.network, 2, "cuda")
    module.train()
    norms = [each for each in module.network.modules() if isinstance(each, torch.nn.SyncBatchNorm)]
    assert norms
    assert not any(each.training for each in norms)


# ------------------------------------------------------------------ what cannot be shared


def test_a_batch_that_cannot_be_shared_is_refused():
    counts = {"train": 50, "validation": 5, "test": 5}
    fit._check_process_count(Recipe(batch=16), counts, 4)
    with pytest.raises(TrainError, match="batch = 16 cannot be shared by 3"):
        fit._check_process_count(Recipe(batch=16), counts, 3)
    with pytest.raises(TrainError, match="the validation part has fewer galaxies than there are processes"):
        fit._check_process_count(Recipe(batch=16), counts, 8)


def test_only_the_first_process_speaks(tmp_path, monkeypatch, capsys):
    """A second line of JSON, or an exit code of its own, would spoil what the first one says."""
    for first in (True, False):
        errors = (RowError("x.jpg", 0, "x", "", "empty"),) if first else ()
        report = TrainReport(tmp_path / "bundle", 1, {"val_rmse": 0.1}, {}, errors, 1.0, first)
        monkeypatch.setattr(fit, "train", lambda *a, report=report, **k: report)
        arguments = ["train", "--images", str(tmp_path), "--labels", str(tmp_path), "-o", str(tmp_path / "run")]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == (3 if first else 0)
        assert bool(done.stdout) is first


# ------------------------------------------------------------------ two processes against one

RECIPE = """
network = "test_convnext"  # no batch norm, whose statistics are each process's own
size = 32
epochs = 2
batch = 16
dropout = 0.0
drop_path = 0.0
ema_decay = 0.0
views = 1
validation = 0.2
test = 0.1
class_weight = 0.5
"""


@dataclass
class Run:
    """What a finished command said, and the folder it filled."""

    code: int
    stdout: str
    stderr: str
    folder: Path

    @property
    def curves(self):
        with open(self.folder / "curves.csv", encoding="utf-8") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]

    @property
    def weights(self):
        return torch.load(self.folder / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One process, two by `--devices`, two by torchrun: 97 galaxies, of which one has lost its image."""
    folder = tmp_path_factory.mktemp("ddp")
    galaxies = simulate(folder / "sim", 97, seed=6, workers=1)
    images = galaxies / "images_training_rev1"
    lost = sorted(images.iterdir())[50]
    lost.unlink()
    labels = galaxies / "training_solutions_rev1.csv"
    whole = folder / "whole.csv"  # torchrun would take the exit code 3 for a failure
    lines = labels.read_text().splitlines(True)
    whole.write_text("".join(line for line in lines if not line.startswith(lost.stem + ",")))
    (folder / "recipe.toml").write_text(RECIPE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def words(name, labels, devices):
        return ["train", "--recipe", str(folder / "recipe.toml"), "--images", str(images), "--labels", str(labels),
                "-o", str(folder / name), "--workers", "0", "--cache", str(folder / "cache"), "--threads", "1",
                "--accelerator", "cpu", "--json", "--devices", str(devices),
                "--strategy", "ddp" if devices > 1 else "auto"]  # fmt: skip

    def run(name, labels, *launcher):
        command = [sys.executable, *launcher, "-m", "tuningfork", *words(name, labels, 2)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        return Run(done.returncode, done.stdout, done.stderr, folder / name)

    one = CliRunner().invoke(app, words("one", labels, 1))
    return {
        "one": Run(one.exit_code, one.stdout, one.stderr, folder / "one"),
        "two": run("two", labels),
        "torchrun": run("torchrun", whole, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    }


@pytest.mark.slow
def test_both_ways_end_cleanly_and_once(runs):
    for name, run in runs.items():
        assert run.code == (0 if name == "torchrun" else 3), run.stderr
        assert "Traceback" not in run.stderr
        report = json.loads(run.stdout)  # one document: only the first process speaks
        assert report["left_out"] == (0 if name == "torchrun" else 1)
        assert run.stderr.count("epoch 2/2") == 1
        assert sorted(path.name for path in run.folder.iterdir()) == sorted(
            path.name for path in runs["one"].folder.iterdir()
        )
        assert len(open_bundle(run.folder / "bundle").networks) == 1
        result = json.loads((run.folder / "result.json").read_text())
        assert result["processes"] == (1 if name == "one" else 2)
        assert result["epochs"] == 2
        assert json.loads((run.folder / "run.json").read_text())["initial_weights"] == "scratch"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "torchrun"])
def test_two_processes_end_where_one_does(runs, name, capsys):
    one, two = runs["one"], runs[name]
    for ours, theirs in zip(one.curves, two.curves, strict=True):
        for figure in ("train_loss", "val_rmse", "val_accuracy", "val_loss", "learning_rate"):
            assert theirs[figure] == pytest.approx(ours[figure], rel=1e-4, abs=1e-5), figure
    weights, others = one.weights, two.weights
    assert weights.keys() == others.keys()
    largest = max(float((weights[key] - others[key]).abs().max()) for key in weights)
    assert largest < 1e-4
    told = [pq.read_table(run.folder / "predictions.parquet") for run in (one, two)]
    assert told[0]["id"].equals(told[1]["id"])
    difference = max(
        np.abs(told[0][c].to_numpy() - told[1][c].to_numpy()).max()
        for c in told[0].column_names
        if c not in ("id", "part")
    )
    assert difference < 1e-3
    with capsys.disabled():
        rmse = [run.curves[-1]["val_rmse"] for run in (one, two)]
        print(f"\n{name}: val_rmse {rmse[0]:.7f} in one process, {rmse[1]:.7f} in two, {abs(rmse[0] - rmse[1]):.1e} "
              f"apart; largest difference of a weight {largest:.1e}, of a prediction {difference:.1e}")  # fmt: skip
