"""The job for a GPU machine, packed from simulated galaxies and carried out on the CPU, in small."""

import importlib
import importlib.util
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tuningfork import load_tree
from tuningfork.model.bundle import open_bundle
from tuningfork.model.card import model_card
from tuningfork.simulation.dataset import simulate

SCRIPTS = Path(__file__).parents[2] / "scripts" / "gpu"
#: A teacher, its students, of which one has no teacher, and one step with changes of its own.
PLAN = """
longest = 1000
share = 0.95
least_scale = 1.0
most_scale = 1.0

[family.teacher]
network = "efficientnet_lite0"
size = 32
labelled = 4
hart = 0
weak = 0
pictures = 8
teaches = true

[family.default]
network = "efficientnet_lite0"
size = 32
labelled = 4
hart = 0
weak = 0
pictures = 8
taught = ["teacher"]
teaches = true

[[step]]
family = "teacher"
folds = [0]

[[step]]
family = "default"
folds = [0, -1, 1]

[trial.default]
folds = [0]
changes = [{ noise = 4.0 }]

[[step]]
family = "default"
variant = "alone"
folds = [1]
changes = { taught = [], mix = 0.3 }

[[step]]
family = "teacher"
variant = "pairs"
folds = [0]
changes = { pairs = 1.0, plain_from = 0.5, choose = false, apart = 1.0 }

[[step]]
family = "teacher"
variant = "sigmoid"
folds = [0]
changes = { output = "sigmoid" }
"""


@pytest.fixture(scope="module", autouse=True)
def trainer():
    """The job's modules can be imported, as beside `job.py`."""
    if not importlib.util.find_spec("timm"):  # not imported here: it needs what `trainer.network` imports before it
        pytest.skip("timm is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield


@pytest.fixture(scope="module")
def work(trainer, tmp_path_factory):
    """What the job leaves, and what it printed."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("gpu")
    galaxies = simulate(folder / "galaxies", n=20, seed=3, workers=1)
    pack = folder / "pack"
    prepare = runpy.run_path(str(SCRIPTS / "prepare.py"))
    main = prepare["main"]
    main.__globals__.update(WEIGHTS={})  # those of ImageNet are not needed to show that the job works
    words = ["--images", galaxies / "images_training_rev1", "--labels", galaxies / "training_solutions_rev1.csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["prepare.py", *map(str, words), "--output", str(pack)])
        main()
    timm = main.__globals__["timm"]
    body = timm.create_model("efficientnet_lite0").state_dict()
    save_file(dict(main.__globals__["_small"](body.items())), pack / "weights" / "efficientnet_lite0.safetensors")
    (pack / "plan.toml").write_text(PLAN)
    return folder / "work", pack, carry_out(folder / "work", pack)


def carry_out(work, pack, *words):
    """Run the job."""
    command = [sys.executable, "job.py", "--work", str(work), "--device", "cpu", "--seconds", "600", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=pack, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_each_step_leaves_predictions_of_its_fold(work):
    done, pack = work[0] / "done", np.load(work[1] / "pack.npz")
    assert set(pack["fold"]) == {0, 1, 2, 3, 4}
    for name in ("teacher-0", "default-0", "default-trial1-0", "default-alone-1", "teacher-pairs-0"):
        with np.load(done / f"{name}.npz") as file:
            fold, views, figures = file["held"], file["views"], json.loads(str(file["figures"]))
        assert fold.tolist() == np.flatnonzero(pack["fold"] == int(name[-1])).tolist()
        assert views.shape == (8, len(fold), 37 + 7)
        # The first question's fractions, and the probabilities of the classes.
        np.testing.assert_allclose(views[..., :3].sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(views[..., 37:].sum(-1), 1, atol=1e-5)
        known = pack["cumulative"][fold]
        assert figures["rmse 8"]["known"] == pytest.approx(np.sqrt(((views.mean(0)[:, :37] - known) ** 2).mean()))
    assert not list(done.glob(".*"))


def test_a_batch_of_pairs_has_each_galaxy_twice():
    from trainer.family import Family
    from trainer.plan import order_of

    family = Family("efficientnet_lite0", 32, labelled=4, hart=2, weak=2, pictures=0, pairs=1.0)
    galaxies = SimpleNamespace(rows=lambda source: {"hart": np.arange(10, 13), "weak": np.arange(20, 23)}[source])
    order = order_of(family, np.arange(10), galaxies, 5, 0)
    assert order.shape == (5, family.batch)
    assert (order[:, :4] == order[:, 4:]).all()
    assert sorted(order[:, :2].flatten()) == list(range(10))  # each of ten once in five steps
    assert (order[:, 2] // 10 == 1).all()
    assert (order[:, 3] // 10 == 2).all()


def test_weights_are_averaged_plainly_from_a_part_on():
    from trainer.family import Family
    from trainer.training import STEADY, paces

    family = Family("efficientnet_lite0", 32, labelled=4, hart=0, weak=0, pictures=0, plain_from=0.5)
    rates, keeps = paces(family, 100, 120)
    weights, mean = np.random.default_rng(0).random(100), 0.0
    for weight, keep in zip(weights, keeps[:100], strict=True):
        mean = keep * mean + (1 - keep) * weight
    assert mean == pytest.approx(weights[50:].mean())
    assert rates[50:100] == pytest.approx(family.rate * STEADY)
    assert rates.max() == pytest.approx(family.rate)


@pytest.mark.parametrize("size", [112, 144, 300])
def test_images_are_shrunk_as_the_package_shrinks_them(size):
    """The job has the matrix once more, since the package is not on its machine."""
    import torch
    from trainer.views import CROP, shrinking

    from tuningfork.training.device_images import triangle

    torch.testing.assert_close(shrinking(size), triangle(CROP, size), rtol=0, atol=0)


def test_a_second_head_learns_beside_the_first_and_is_not_kept():
    import torch
    from trainer.family import Family
    from trainer.network import Network, cost
    from trainer.questions import Questions
    from trainer.targets import TABLES

    # Two questions of two answers, the second asked below the first answer; three classes; two folders of one scheme.
    tree = Questions({"question": np.array([0, 0, 1, 1]), "parent": np.array([-1, 0])}, torch.device("cpu"))
    plain = Family("efficientnet_lite0", 32, labelled=4, hart=0, weak=0, pictures=0)
    family = replace(plain, apart=0.5)
    network = Network(family, tree, 3, 2).eval()
    logits, beside = network(torch.rand(5, 3, 32, 32))
    assert (logits.shape, beside.shape) == ((5, 7), (5, 2 + 4))
    widths = {"A": 4, "C": 3, "F": 2}
    told = {key: torch.rand(5, widths[width]) for key, width in TABLES.items()}
    one, both = (cost(f, network, logits, beside, told, tree, [slice(0, 2)]) for f in (plain, family))
    apart = (told["weight"] * (beside[:, 2:].sigmoid() - told["target"]) ** 2).sum(1)
    torch.testing.assert_close(both - one, 0.5 * apart)
    assert Network(plain, tree, 3, 2)(torch.rand(2, 3, 32, 32))[1].shape == (2, 2)


@pytest.mark.slow
def test_each_fraction_by_itself_has_sums_of_its_own(work):
    with np.load(work[0] / "done" / "teacher-sigmoid-0.npz") as file:
        fractions = file["views"][..., :37]
    assert ((fractions > 0) & (fractions < 1)).all()
    assert (np.abs(fractions[..., :3].sum(-1) - 1) > 0.01).any()


@pytest.mark.slow
def test_the_better_trial_is_the_families_fold(work):
    errors, done = [], work[0] / "done"
    for name in ("default-trial0-0", "default-trial1-0", "default-0"):
        with np.load(done / f"{name}.npz") as file:
            told = json.loads(str(file["figures"]))["rmse 1"]
        errors.append((told["complete"] + told["known"]) / 2)
    assert errors[2] in errors[:2]
    assert errors[2] <= errors[0]


@pytest.mark.slow
def test_a_finished_network_teaches_later(work, tmp_path):
    done = tmp_path / "done"
    done.mkdir()
    shutil.copy(work[0] / "done" / "default-0.safetensors", done)
    with np.load(work[0] / "done" / "default-0.npz") as file:
        told = file["soft"].astype(float)
        np.savez(done / "default-0.npz", **{key: file[key] for key in file.files if key != "soft"})
    ended = carry_out(tmp_path, work[1], "--tell", "default")
    assert ended.returncode == 0, ended.stderr
    with np.load(done / "default-0.npz") as file:
        np.testing.assert_allclose(file["soft"], told, atol=0.01)  # its weights are kept in 16 bits
        assert "views" in file


@pytest.mark.slow
def test_all_galaxies_teach_the_last_network(work):
    done, pack = work[0] / "done", np.load(work[1] / "pack.npz")
    with np.load(done / "default-all.npz") as file:
        fractions = file["all"]
    assert fractions.shape == (len(pack["ids"]), 37 + 7)
    assert (done / "default-all.safetensors").stat().st_size > 1_000_000


@pytest.mark.slow
def test_a_student_without_its_teacher_fails_alone(work):
    ended = work[2]
    assert ended.returncode == 1
    assert "default-1 failed: ValueError: no teacher of ('teacher',) is there" in ended.stdout
    assert ended.stdout.splitlines()[-1].endswith("all done; failed: default-1")


@pytest.mark.slow
def test_packing_keeps_the_middle_of_the_image(work):
    from PIL import Image

    from tuningfork import read_image

    galaxies, pack = work[0].parent / "galaxies", np.load(work[1] / "pack.npz")
    first = (work[1] / "pictures.bin").read_bytes()[: int(pack["ends"][0])]
    stored = np.asarray(Image.open(io.BytesIO(first)))
    whole = read_image(galaxies / "images_training_rev1" / f"{pack['ids'][0]}.jpg").rgb
    assert stored.shape == (240, 240, 3)
    # WebP's loss, of a few levels; a shift by a pixel would be a multiple of it.
    middle = whole.astype(float)
    errors = {at: np.abs(stored - middle[92 + at : 332 + at, 92 + at : 332 + at]).mean() for at in (-1, 0, 1)}
    assert errors[0] < 3
    assert errors[0] < min(errors[-1], errors[1])


def test_the_bundle_says_which_labels_each_auxiliary_source_has():
    """As many galaxies as have each label; the shipped bundles name the same sources, columns and labels."""
    ship, prepare = importlib.import_module("ship"), importlib.import_module("prepare")
    rows = [
        {"five_class": "2", "spiral_folder": "non_spiral", "four_folder": ""},
        {"five_class": "", "spiral_folder": "spiral", "four_folder": ""},
        {"five_class": "", "spiral_folder": "spiral", "four_folder": "barred_spiral"},
    ]
    weak = prepare._weak(rows, load_tree("gz2"))
    pack = {
        "source": np.array(["weak"] * 3 + ["hart"]),
        "candidates": np.concatenate([weak["candidates"], np.zeros((1, 7))]),
        "folders": np.concatenate([weak["folders"], np.zeros((1, 6))]),
        "scheme": np.array([0, 0, 1, 1, 1, 1]),
        "hart_asked": np.concatenate([np.zeros((3, 37)), np.ones((1, 37))]),
    }
    sources = ship.auxiliary(pack)
    counts = [each["galaxies"] for each in sources[0]["targets"]]
    assert counts == [1, 3, 1, 3]
    for name in ("default", "fast"):
        assert _without_counts(open_bundle(name).training["auxiliary"]) == _without_counts(sources)
        card = model_card(open_bundle(name))
        assert "`four_folder` (elliptical, spiral, edge_view_spiral, barred_spiral)" in card


def _without_counts(sources):
    return [
        {**each, "galaxies": 0, "targets": [{**target, "galaxies": 0} for target in each["targets"]]}
        for each in sources
    ]
