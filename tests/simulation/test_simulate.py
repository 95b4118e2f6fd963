"""Simulated galaxies look as their parameters say, and their crowds follow the tree."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuningfork import simulation as sim
from tuningfork.simulation import dataset as simulated_folder
from tuningfork.simulation.canvas import WEIGHTS, Canvas, sersic
from tuningfork.simulation.galaxy import FRAME, KINDS, PETRO_R90, petrosian_r90, sersic_b
from tuningfork.simulation.render import stretch
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.fractions import conditional_from_cumulative, sum_violations
from tuningfork.votes.tree import Answer, DecisionTree, Question
from tuningfork.votes.tree_files import load_tree

TREE = load_tree("gz2")
QUICK = settings(max_examples=12, derandomize=True)

#: A disk without bulge or noise, large on the sky, so that blurring hardly matters.
PLAIN = sim.Galaxy(
    seed=1,
    index=1,
    kind="disk",
    petro_r90=14.0,
    magnitude=14.0,
    seeing=0.8,
    noise=0.0,
    bulge_to_total=0.0,
    disk_radius=14.0,
)
#: A tree with a question that two answers lead to, one of them of a question further down.
FORKED = DecisionTree(
    name="forked",
    title="forked",
    reference="",
    questions=(
        Question("first", "?", (Answer("x", "x", "B1", "mid"), Answer("y", "y", "B2", "last"))),
        Question("last", "?", (Answer("p", "p", "A1"), Answer("q", "q", "A2"))),
        Question("mid", "?", (Answer("u", "u", "C1", "last"), Answer("v", "v", "C2")), parent="B1"),
    ),
)


def moments(galaxy: sim.Galaxy) -> tuple[float, float]:
    """Axis ratio and position angle (degrees) from the second moments of the r-band light."""
    image = sim.light(galaxy)[1].astype(np.float64)
    canvas = Canvas(galaxy)
    x, y = np.broadcast_arrays(canvas.x, canvas.y)
    xx, yy, xy = ((image * w).sum() / image.sum() for w in (x * x, y * y, x * y))
    spread = math.hypot(xx - yy, 2 * xy)
    ratio = math.sqrt((xx + yy - spread) / (xx + yy + spread))
    return ratio, math.degrees(0.5 * math.atan2(2 * xy, xx - yy) - math.pi / 2) % 180


def rings(galaxy: sim.Galaxy, radii: np.ndarray, angles: int = 180) -> np.ndarray:
    """The r-band light of a face-on galaxy on circles, (radii, angles), from the top leftwards."""
    image, canvas = sim.light(galaxy)[1], Canvas(galaxy)
    angle = 2 * np.pi * np.arange(angles) / angles
    column = (radii[:, None] * -np.sin(angle) + FRAME / 2) / canvas.scale - 0.5
    row = (FRAME / 2 - radii[:, None] * np.cos(angle)) / canvas.scale - 0.5
    return image[row.round().astype(int), column.round().astype(int)]


def one_by_one(probabilities: np.ndarray, volunteers: int, rng: np.random.Generator, tree: DecisionTree) -> np.ndarray:
    """The walk as a volunteer takes it, answer after answer."""
    counts = np.zeros(len(tree.columns), int)
    start = dict(zip((q.key for q in tree.questions), tree.slices, strict=True))
    for _ in range(volunteers):
        key = tree.questions[0].key
        while key is not None:
            part = start[key]
            chance = probabilities[part] / probabilities[part].sum()
            choice = int(np.searchsorted(np.cumsum(chance), rng.uniform()))
            choice = min(choice, len(chance) - 1)
            counts[part.start + choice] += 1
            key = tree.question(key).answers[choice].next
    return counts


def hashes(folder) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# The galaxies


def test_same_galaxy_whatever_else_is_drawn():
    a, b = list(sim.galaxies(4, seed=5)), list(sim.galaxies(2, seed=5))
    for (id_a, picture_a, votes_a), (id_b, picture_b, votes_b) in zip(a, b, strict=False):
        assert id_a == id_b
        assert np.array_equal(picture_a, picture_b)
        assert np.array_equal(votes_a, votes_b)
    assert np.array_equal(sim.render(sim.draw(5, 3)), a[3][1])
    assert sim.draw(5, 3) != sim.draw(6, 3)
    assert not np.array_equal(sim.render(sim.draw(6, 3)), a[3][1])


def test_galaxies_are_lazy():
    many = sim.galaxies(10**12, seed=0)
    ids = [galaxy_id for galaxy_id, _, _ in islice(many, 2)]
    assert ids == [sim.galaxy_id(0), sim.galaxy_id(1)]


def test_ids_are_kaggle_like():
    ids = [sim.galaxy_id(i) for i in range(61_578)]
    assert ids == sorted(set(ids))
    assert ids[0] > 999_999  # Kaggle's have six digits: none is the ID of a galaxy that a model was trained on


@QUICK
@given(index=st.integers(0, 10**9))
def test_any_galaxy_can_be_drawn(index):
    galaxy = sim.draw(3, index)
    assert galaxy.kind in KINDS
    assert 0 < galaxy.axis_ratio <= 1
    assert petrosian_r90(galaxy) == pytest.approx(PETRO_R90, rel=0.03)
    light = sim.light(galaxy)
    assert light.dtype == np.float32
    assert np.isfinite(light).all()
    assert light.min() >= 0
    picture = sim.render(galaxy)
    assert picture.shape == (FRAME, FRAME, 3)
    assert picture.dtype == np.uint8
    assert picture[180:244, 180:244].mean() > picture[:20].mean()


def test_population_has_every_class_and_the_votes_of_galaxy_zoo():
    galaxies = [sim.draw(0, index) for index in range(2000)]
    assert {galaxy.kind for galaxy in galaxies} == set(KINDS)
    assert {galaxy.arms for galaxy in galaxies} == set(range(7))
    votes = sim.simulate_votes(np.array([sim.answer_probabilities(g) for g in galaxies]), 45, np.random.default_rng(0))
    assert set(range(len(TREE.classes))) <= set(classify(votes, TREE).tolist())
    # Means of the challenge's training set, in round numbers.
    mean = dict(zip(TREE.columns, votes.mean(0), strict=True))
    for column, fraction in (("Class1.1", 0.44), ("Class2.1", 0.1), ("Class4.1", 0.22), ("Class6.1", 0.22)):
        assert mean[column] == pytest.approx(fraction, abs=0.06)


# The pictures


@pytest.mark.parametrize(("index", "b"), [(1, 1.67835), (4, 7.66925)])
def test_sersic_b_is_ciotti_and_bertins(index, b):
    assert sersic_b(index) == pytest.approx(b, abs=1e-4)


@QUICK
@given(index=st.floats(0.5, 6), effective=st.floats(1, 20))
def test_half_the_light_is_inside_the_effective_radius(index, effective):
    r = np.geomspace(1e-4, 1e4, 20_000) * effective
    step = sersic(r, index, effective) * r * np.gradient(r)
    assert step[r <= effective].sum() / step.sum() == pytest.approx(0.5, abs=5e-3)


@QUICK
@given(inclination=st.floats(0, 90), angle=st.floats(0, 179), bulge=st.booleans())
def test_moments_of_the_image_are_the_truth(inclination, angle, bulge):
    galaxy = replace(PLAIN, inclination=inclination, position_angle=angle)
    if bulge:
        galaxy = replace(
            galaxy,
            kind="elliptical",
            bulge_to_total=1.0,
            bulge_index=1.0,
            bulge_radius=20.0,
            bulge_thickness=0.3,
        )
    ratio, measured = moments(galaxy)
    assert ratio == pytest.approx(galaxy.axis_ratio, abs=0.03)
    if ratio < 0.9:
        assert abs((measured - angle + 90) % 180 - 90) < 2


def test_edge_on_is_more_elongated_than_face_on():
    ratios = [moments(replace(PLAIN, inclination=i))[0] for i in (0, 30, 60, 79, 90)]
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize("arms", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("handedness", [-1, 1])
def test_arms_and_their_pitch_can_be_measured(arms, handedness):
    galaxy = replace(PLAIN, arms=arms, arm_strength=1.0, pitch=22.0, handedness=handedness)
    radii = np.geomspace(16, 38, 24)
    modes = np.fft.rfft(rings(galaxy, radii), axis=1)
    power = np.abs(modes / modes[:, :1])[:, 1:9].sum(0)
    assert power.argmax() + 1 == arms
    # A logarithmic spiral: the phase of its mode runs with ln r at the slope m / tan(pitch).
    slope = np.polyfit(np.log(radii), np.unwrap(np.angle(modes[:, arms])), 1)[0]
    assert math.degrees(math.atan(arms / abs(slope))) == pytest.approx(22, abs=1.5)
    mirrored = np.fft.rfft(rings(replace(galaxy, handedness=-handedness), radii), axis=1)[:, arms]
    assert np.polyfit(np.log(radii), np.unwrap(np.angle(mirrored)), 1)[0] * slope < 0


def test_no_arms_no_modes():
    modes = np.abs(np.fft.rfft(rings(PLAIN, np.geomspace(16, 38, 24)), axis=1))
    assert (modes[:, 1:9] / modes[:, :1]).max() < 0.05


def test_bar_lies_where_the_truth_says():
    galaxy = replace(PLAIN, bar=1.0, bar_length=18.0, bar_angle=0.0)
    angle = 40.0
    light = rings(replace(galaxy, position_angle=angle), np.array([12.0, 14.0]), 360).sum(0)
    phase = np.angle(np.fft.rfft(light)[2])
    assert abs((math.degrees(-phase / 2) - angle + 90) % 180 - 90) < 3


def test_ring_is_where_the_truth_says():
    radii = np.arange(10.0, 45.0)
    extra = rings(replace(PLAIN, ring=1.0, ring_radius=28.0), radii).mean(1) / rings(PLAIN, radii).mean(1)
    assert radii[extra.argmax()] == pytest.approx(28, abs=3)


def test_bulge_is_redder_than_arms():
    galaxy = replace(PLAIN, bulge_to_total=0.3, bulge_radius=5.0, arms=2, arm_strength=1.0)
    i, _, g = sim.light(galaxy)
    centre = i.shape[0] // 2
    ridge = np.unravel_index(np.argmax(np.where(i < 0.1 * i.max(), g / i, 0)), i.shape)
    assert i[centre, centre] / g[centre, centre] > 1.3 * i[ridge] / g[ridge]


def test_dust_dims_and_reddens():
    edge_on = replace(PLAIN, inclination=88.0)
    dusty = sim.light(replace(edge_on, dust_lane=1.5)).sum((1, 2))
    clear = sim.light(edge_on).sum((1, 2))
    assert (dusty < clear).all()
    assert dusty[2] / clear[2] < dusty[1] / clear[1] < dusty[0] / clear[0]


def test_companion_brings_its_light():
    alone = sim.light(PLAIN).sum()
    together = sim.light(replace(PLAIN, companion=0.5, companion_distance=30.0)).sum()
    assert together / alone == pytest.approx(1.5, rel=0.15)


def test_magnitude_is_the_light():
    assert sim.light(PLAIN)[1].sum() == pytest.approx(10 ** (0.4 * (22.5 - 14)), rel=0.01)


def test_noise_is_only_noise():
    quiet, noisy = (sim.render(replace(PLAIN, noise=noise))[:40].astype(float) for noise in (0.0, 1.0))
    assert quiet.std() < 1 < noisy.std() < 12
    assert np.median(noisy) < 25


def test_stretch_keeps_grey_grey_and_rises():
    grey = np.tile(np.geomspace(1e-3, 50, 64, dtype=np.float32), (3, 1, 1))
    picture = stretch(grey / WEIGHTS[:, None, None]).astype(int)
    assert np.ptp(picture, axis=2).max() <= 1
    assert (np.diff(picture[0, :, 0]) >= 0).all()


# The crowd


@QUICK
@given(seed=st.integers(0, 2**32), volunteers=st.integers(1, 200), concentration=st.floats(0.02, 5))
def test_every_sum_holds(seed, volunteers, concentration):
    rng = np.random.default_rng(seed)
    chance = np.concatenate([rng.dirichlet([concentration] * len(q.answers), 30) for q in TREE.questions], axis=1)
    votes = sim.simulate_votes(np.nan_to_num(chance), volunteers, rng)
    assert votes.shape == (30, 37)
    assert np.abs(sum_violations(votes, TREE)).max() < 1e-9
    assert votes.min() >= 0
    assert votes.max() <= 1


@QUICK
@given(index=st.integers(0, 10**6))
def test_opinions_are_probabilities(index):
    chance = sim.answer_probabilities(sim.draw(2, index))
    assert chance.shape == (37,)
    assert (chance >= 0).all()
    for part in TREE.slices:
        assert chance[part].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("index", range(5))
def test_a_large_crowd_agrees_with_its_probabilities(index):
    chance = sim.answer_probabilities(sim.draw(4, index))[None]
    rng = np.random.default_rng(index)
    counts = sim.simulate_counts(chance, 200_000, rng)
    for part in TREE.slices:
        asked = counts[:, part].sum()
        error = np.sqrt(chance[:, part] * (1 - chance[:, part]) * asked)
        assert (np.abs(counts[:, part] - asked * chance[:, part]) <= 5 * error + 3).all()
    votes = sim.simulate_votes(chance, 200_000, rng)
    known = ~np.isnan(conditional_from_cumulative(votes, TREE))
    assert np.abs(conditional_from_cumulative(votes, TREE) - chance)[known].max() < 0.05


@pytest.mark.parametrize("tree", [TREE, FORKED], ids=lambda tree: tree.name)
def test_walk_agrees_with_volunteers_one_by_one(tree):
    rng = np.random.default_rng(8)
    chance = np.concatenate([rng.dirichlet([1.0] * len(q.answers)) for q in tree.questions])
    slow = one_by_one(chance, 3000, rng, tree)
    fast = sim.simulate_counts(np.tile(chance, (400, 1)), 300, rng, tree)
    expected = fast.mean(0) * 10
    assert (np.abs(slow - expected) < 5 * np.sqrt(expected + 1)).all()
    # The scatter, too: of the first question exactly binomial.
    first = chance[tree.slices[0]]
    assert fast[:, tree.slices[0]].var(0) == pytest.approx(300 * first * (1 - first), rel=0.35)


def test_walk_follows_next_and_not_the_parents():
    stops, goes_on = [1.0, 0.0, 0.5, 0.5, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]
    counts = sim.simulate_counts(np.array([stops, goes_on]), 10, np.random.default_rng(0), FORKED)
    assert counts.tolist() == [[10, 0, 0, 0, 0, 10], [10, 0, 10, 0, 10, 0]]


def test_a_question_that_nobody_reached():
    chance = sim.answer_probabilities(sim.draw(0, 0))
    chance[:3] = 0, 0, 1
    votes = sim.simulate_votes(chance[None], 45, np.random.default_rng(0))[0]
    odd = TREE.slices[[q.key for q in TREE.questions].index("odd")]
    assert votes[odd] == pytest.approx(chance[odd])
    assert np.abs(sum_violations(votes, TREE)).max() < 1e-12
    assert votes[3] == votes[15] == 0


def test_crowd_refuses_what_it_cannot_use():
    with pytest.raises(ValueError, match=r"\(N, 37\)"):
        sim.simulate_votes(np.ones(37), 45, np.random.default_rng(0))
    with pytest.raises(ValueError, match="1 volunteer or more"):
        sim.simulate_votes(np.ones((1, 37)), 0, np.random.default_rng(0))


def answer(galaxy: sim.Galaxy, name: str) -> float:
    return sim.answer_probabilities(galaxy)[TREE.fraction_names.index(name)]


@pytest.mark.parametrize(
    ("name", "less", "more"),
    [
        ("edge_on_yes_fraction", {"inclination": 60.0}, {"inclination": 85.0}),
        ("bar_yes_fraction", {"bar": 0.1}, {"bar": 0.9}),
        ("spiral_yes_fraction", {"arms": 2, "arm_strength": 0.1}, {"arms": 2, "arm_strength": 0.9}),
        ("smooth_or_features_features_or_disk_fraction", {}, {"arms": 2, "arm_strength": 0.9}),
        (
            "spiral_yes_fraction",
            {"arms": 2, "arm_strength": 0.9, "magnitude": 18.5},
            {"arms": 2, "arm_strength": 0.9},
        ),
        ("bulge_prominence_dominant_fraction", {"bulge_to_total": 0.1}, {"bulge_to_total": 0.8}),
        ("rounded_completely_round_fraction", {"inclination": 50.0}, {"inclination": 5.0}),
        ("arms_winding_loose_fraction", {"pitch": 10.0}, {"pitch": 30.0}),
        ("odd_feature_merger_fraction", {}, {"companion": 0.9}),
        ("odd_yes_fraction", {}, {"ring": 1.0}),
        ("smooth_or_features_star_or_artifact_fraction", {}, {"kind": "star"}),
    ],
)
def test_opinions_follow_the_shape(name, less, more):
    assert answer(replace(PLAIN, **less), name) + 0.1 < answer(replace(PLAIN, **more), name)


# The folder


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(simulated_folder, "TASK_SIZE", 2)


def test_layout_is_kaggles(tmp_path):
    seen = []
    out = sim.simulate(tmp_path / "new" / "sim", 5, seed=2, workers=1, progress=lambda *a: seen.append(a))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    with open(out / "training_solutions_rev1.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["GalaxyID", *TREE.columns]
    ids = [int(row[0]) for row in rows]
    assert ids == sorted(ids)
    votes = np.array([[float(value) for value in row[1:]] for row in rows])
    assert votes.shape == (5, 37)
    assert np.abs(sum_violations(votes, TREE)).max() < 1e-9
    names = sorted(path.name for path in (out / "images_training_rev1").iterdir())
    assert names == [f"{i}.jpg" for i in ids]
    for (galaxy_id, picture, expected), row in zip(sim.galaxies(5, seed=2), votes, strict=True):
        with Image.open(out / "images_training_rev1" / f"{galaxy_id}.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (424, 424))
            assert np.abs(np.asarray(image, float) - picture).mean() < 4
        assert np.array_equal(row, expected)
    with open(out / "truth.csv", newline="") as file:
        truth = list(csv.DictReader(file))
    assert [int(row["GalaxyID"]) for row in truth] == ids
    for index, row in enumerate(truth):
        galaxy = sim.draw(2, index)
        assert all(row[field.name] == str(getattr(galaxy, field.name)) for field in fields(galaxy))
        assert float(row["axis_ratio"]) == galaxy.axis_ratio


def test_interrupted_and_resumed_is_the_same_folder(tmp_path):
    whole = sim.simulate(tmp_path / "whole", 6, seed=1, workers=1)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    part = tmp_path / "part"
    with pytest.raises(KeyboardInterrupt):
        sim.simulate(part, 6, seed=1, workers=1, progress=interrupt)
    pictures = part / "images_training_rev1"
    assert len(list(pictures.iterdir())) == 2
    (pictures / f".{sim.galaxy_id(2)}.jpg.part").write_bytes(b"half")
    (pictures / f"{sim.galaxy_id(3)}.jpg").write_bytes(b"")
    (part / "truth.csv").unlink()
    (part / ".truth.csv.part").write_text("half")
    kept = pictures / f"{sim.galaxy_id(0)}.jpg"
    before = kept.stat().st_mtime_ns
    sim.simulate(part, 6, seed=1, workers=1)
    assert kept.stat().st_mtime_ns == before
    assert hashes(part) == hashes(whole)


def test_interrupted_before_the_first_file(tmp_path):
    (tmp_path / ".simulation.json.part").write_text("{")
    sim.simulate(tmp_path, 1, workers=1)
    assert json.loads((tmp_path / "simulation.json").read_text())["n"] == 1


def test_workers_change_nothing(tmp_path):
    one = sim.simulate(tmp_path / "one", 7, seed=9, workers=1)
    two = sim.simulate(tmp_path / "two", 7, seed=9, workers=2)
    assert hashes(one) == hashes(two)


def test_another_seed_is_another_folder(tmp_path):
    a = hashes(sim.simulate(tmp_path / "a", 2, seed=0, workers=1))
    b = hashes(sim.simulate(tmp_path / "b", 2, seed=1, workers=1))
    assert a.keys() == b.keys()
    assert all(a[name] != b[name] for name in a)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"n": 3}, {"volunteers": 20}])
def test_refuses_another_simulation(tmp_path, changed):
    asked = {"n": 2, "seed": 0, "volunteers": 45}
    sim.simulate(tmp_path, **asked, workers=1)
    before = hashes(tmp_path)
    with pytest.raises(sim.SimulationError, match=next(iter(changed))):
        sim.simulate(tmp_path, **{**asked, **changed}, workers=1)
    assert hashes(tmp_path) == before


def test_refuses_a_foreign_folder_a_file_and_a_broken_marker(tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(sim.SimulationError, match="not a simulation"):
        sim.simulate(tmp_path, 1)
    with pytest.raises(sim.SimulationError, match="is a file"):
        sim.simulate(tmp_path / "holiday.txt", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.txt"]
    (tmp_path / "simulation.json").write_text("not json")
    with pytest.raises(sim.SimulationError, match="not JSON"):
        sim.simulate(tmp_path, 1)
    (tmp_path / "simulation.json").write_text("[]")
    with pytest.raises(sim.SimulationError, match="holds a simulation with"):
        sim.simulate(tmp_path, 1)


@pytest.mark.parametrize("bad", [{"n": 0}, {"seed": -1}, {"volunteers": 0}, {"workers": 0}])
def test_refuses_numbers_out_of_range(tmp_path, bad):
    with pytest.raises(sim.SimulationError, match=next(iter(bad))):
        sim.simulate(tmp_path / "out", **{"n": 1, **bad})
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize(
    "name", ["SIGKILL", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGTERM", "SIGHUP"))]
)
def test_workers_end_with_the_command(tmp_path, name):
    """However the command is ended, none of its processes draws on."""
    words = ["-m", "tuningfork", "simulate", str(tmp_path / "out"), "--n", "1000", "--workers", "2"]

    def at_work():
        lines = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes()
                if f"TUNINGFORK_TEST={tmp_path}".encode() in environment and (entry / "cmdline").read_bytes():
                    lines[int(entry.name)] = (entry / "cmdline").read_bytes()
        return lines

    with subprocess.Popen(
        [sys.executable, "-P", *words],
        env={**os.environ, "TUNINGFORK_TEST": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        images = tmp_path / "out" / "images_training_rev1"
        deadline = time.monotonic() + 120
        while len(list(images.glob("*.jpg"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [line for number, line in at_work().items() if number != command.pid]
        assert len(workers) == 2
        assert all(b"-P" in line.split(b"\0") for line in workers)  # no module is imported from the current folder
        command.send_signal(getattr(signal, name))
        command.wait(30)
    while at_work() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not at_work()
