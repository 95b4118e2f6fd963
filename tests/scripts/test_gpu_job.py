"""The job for a GPU machine, packed from simulated galaxies and carried out on the CPU, in small."""

import importlib.util
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tuningfork.simulation.dataset import simulate

SCRIPTS = Path(__file__).parents[2] / "scripts" / "gpu"
#: Teachers, a student that learns from them, and one that is trained further, at a rate of 0: it stays as it was.
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

[family.further]
network = "efficientnet_lite0"
size = 32
labelled = 4
hart = 0
weak = 0
pictures = 8
init = "default"
taught = ["teacher", "default"]
rate = 0.0

[[step]]
family = "teacher"
folds = [0, 1]

[[step]]
family = "default"
folds = [0, -1]

[[step]]
family = "further"
folds = [0, -1, 1]
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """What the job leaves, and what it printed."""
    if not importlib.util.find_spec("timm"):  # not imported here: it needs what `prepare.py` imports before it
        pytest.skip("timm is not installed")
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("gpu")
    galaxies = simulate(folder / "galaxies", n=20, seed=3, workers=1)
    pack = folder / "pack"
    prepare = runpy.run_path(str(SCRIPTS / "prepare.py"))
    main = prepare["main"]
    main.__globals__.update(WEIGHTS={})  # those of ImageNet are not needed to show that the job works
    words = ["--images", galaxies / "images_training_rev1", "--labels", galaxies / "training_solutions_rev1.csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["prepare.py", *map(str, words), "--output", str(pack), "--lossless"])
        main()
    timm = main.__globals__["timm"]
    body = timm.create_model("efficientnet_lite0").state_dict()
    save_file(dict(main.__globals__["_small"](body.items())), pack / "weights" / "efficientnet_lite0.safetensors")
    (pack / "plan.toml").write_text(PLAN)
    command = [sys.executable, "job.py", "--work", str(folder / "work"), "--device", "cpu", "--seconds", "600"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=pack, env=environment, capture_output=True, text=True)
    return folder / "work", pack, ended


@pytest.mark.slow
def test_each_step_leaves_predictions_of_its_fold(work):
    done, pack = work[0] / "done", np.load(work[1] / "pack.npz")
    assert set(pack["fold"]) == {0, 1, 2, 3, 4}
    for name in ("teacher-0", "teacher-1", "default-0", "further-0"):
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


@pytest.mark.slow
def test_a_network_is_trained_further(work):
    from safetensors.torch import load_file

    for tag in ("0", "all"):
        before, after = (
            load_file(work[0] / "done" / f"{family}-{tag}.safetensors") for family in ("default", "further")
        )
        assert before.keys() == after.keys()
        kernels = [key for key, value in before.items() if value.ndim == 4]
        assert len(kernels) > 40
        assert all(bool((before[key] == after[key]).all()) for key in kernels)


@pytest.mark.slow
def test_a_step_whose_network_is_missing_fails_alone(work):
    ended = work[2]
    assert ended.returncode == 1
    assert (
        "further-1 failed: ValueError: default-1.safetensors, which is to be trained further, is not there"
        in ended.stdout
    )
    assert ended.stdout.splitlines()[-1].endswith("all done; failed: further-1")


@pytest.mark.slow
def test_lossless_packing_keeps_every_pixel(work):
    from PIL import Image

    from tuningfork import read_image

    galaxies, pack = work[0].parent / "galaxies", np.load(work[1] / "pack.npz")
    first = (work[1] / "pictures.bin").read_bytes()[: int(pack["ends"][0])]
    stored = np.asarray(Image.open(io.BytesIO(first)))
    whole = read_image(galaxies / "images_training_rev1" / f"{pack['ids'][0]}.jpg").rgb
    np.testing.assert_array_equal(stored, whole[92:332, 92:332])
