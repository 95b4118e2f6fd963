"""Which pictures are flagged as unlike the galaxies that a model knows, and how often without cause."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from tuningfork.cli import app
from tuningfork.evaluation.ood_evaluation import evaluate_domain, image_statistics
from tuningfork.images.find import find_images
from tuningfork.images.read import read_image
from tuningfork.images.statistics import STATISTICS, appearance
from tuningfork.model import out_of_domain as room
from tuningfork.model.bundle import open_bundle, write_bundle
from tuningfork.model.calibration import Calibration
from tuningfork.model.model import Model
from tuningfork.model.out_of_domain import DomainError, NoveltyDetector, fit_novelty_detector, galaxies_needed
from tuningfork.simulation import CONTAMINANTS, answer_probabilities, contaminate, draw, render, simulate_votes

QUICK = settings(max_examples=40, derandomize=True)
WIDTH = len(STATISTICS)
AT = {name: number for number, name in enumerate(STATISTICS)}
#: The shipped model's frame.
CROP, COUNT = 0.5, 330


def heavy_tailed(rng: np.random.Generator, count: int) -> np.ndarray:
    """Correlated statistics with outliers (Student's t, 3 degrees of freedom), as galaxies have them."""
    mixing = np.random.default_rng(5).normal(size=(WIDTH, WIDTH))
    return rng.normal(size=(count, WIDTH)) @ mixing / np.sqrt(rng.chisquare(3, (count, 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    for index in range(COUNT):
        Image.fromarray(render(draw(31, index))).save(folder / f"{index:03d}.png", compress_level=1)
    return folder


@pytest.fixture(scope="module")
def bundle(folder):
    """The shipped model, seen from one side, with the domain of the first 300 simulated galaxies."""
    plain = replace(open_bundle(), n_views=1, calibration=None)
    rows, errors = image_statistics(plain, sorted(folder.iterdir())[:300])
    assert not errors
    return replace(plain, calibration=Calibration(domain=fit_novelty_detector(rows)))


@pytest.fixture(scope="module")
def model(bundle):
    return Model(bundle, threads=1)


pictures = st.tuples(st.integers(8, 50), st.integers(0, 2**32), st.sampled_from([1, 40, 255])).map(
    lambda made: np.random.default_rng(made[1]).integers(0, made[2] + 1, (made[0], made[0], 3), np.uint8)
)


@given(pictures, st.integers(0, 3), st.booleans())
@QUICK
def test_any_picture_has_an_appearance_that_turning_does_not_change(picture, quarter, mirrored):
    turned = np.rot90(picture, quarter)[:, :: -1 if mirrored else 1]
    found = appearance(turned)
    assert found.shape == (WIDTH,)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, appearance(picture), atol=1e-4)


def test_an_appearance_is_what_its_names_say():
    picture = np.full((64, 64, 3), (10, 20, 30), np.uint8)
    plain = appearance(picture)
    np.testing.assert_allclose(plain[:3], np.log([11, 21, 31]))
    assert plain[AT["off_centre"]] == plain[AT["black"]] == plain[AT["saturated"]] == 0
    picture[40, 8] = (255, 0, 0)
    spot = appearance(picture)
    light = (255 - 60) / 3
    assert spot[AT["off_centre"]] == pytest.approx(math.hypot(8.5, 23.5) / 64 * light / (light + 1), rel=1e-5)
    assert spot[AT["saturated"]] == pytest.approx(1 / 64)
    # The pixel's green and blue are below the sky's: no light of theirs, which counts as one count of each.
    assert spot[AT["red_green"]] == pytest.approx(math.log(light * (255 - 10) / (light + 1)), rel=1e-4)


@given(pictures)
@QUICK
def test_levels_and_noise_agree_with_numpy(picture):
    band = max(1, len(picture) // 16)
    edge = np.ones(picture.shape[:2], bool)
    edge[band:-band, band:-band] = False
    sky = np.quantile(picture[edge].astype(float), 0.5, axis=0, method="inverted_cdf")
    found = appearance(picture)
    np.testing.assert_allclose(found[:3], np.log1p(sky))
    noise = np.quantile(np.abs(picture[edge] - sky), 0.5, method="inverted_cdf")
    assert found[AT["sky_noise"]] == pytest.approx(math.log(noise + 0.5))
    spread = np.quantile(np.ptp(picture, 2).astype(float), 0.5, method="inverted_cdf")
    assert found[AT["colour_noise"]] == pytest.approx(math.log(spread + 0.5))


@pytest.mark.parametrize("rate", [0.05, 0.02])
def test_false_alarms_are_as_rare_as_promised(rate):
    rng, alarms = np.random.default_rng(2), []
    for _ in range(150):
        fitted = fit_novelty_detector(heavy_tailed(rng, 301), rate, seed=int(rng.integers(2**31)))
        alarms.append(float((fitted.scores(heavy_tailed(rng, 200)) > 1).mean()))
    # Of 151 held out and one more, in any order, the new one is among the largest so often.
    expected = 1 - math.ceil(152 * (1 - rate) - 1e-9) / 152
    assert expected <= rate
    assert np.mean(alarms) == pytest.approx(expected, abs=4 * np.std(alarms) / math.sqrt(len(alarms)))


def test_a_score_is_a_mahalanobis_distance_over_the_threshold():
    rows = heavy_tailed(np.random.default_rng(0), 400)
    fitted = fit_novelty_detector(rows)
    away = rows - fitted.mean
    expected = np.sqrt(np.einsum("ni,ni->n", away, np.linalg.solve(fitted.covariance, away.T).T))
    np.testing.assert_allclose(fitted.scores(rows) * fitted.threshold, expected, rtol=1e-8)
    assert (fitted.fitted, fitted.held_out) == (200, 200)
    # Two of the 200 that set it may lie above: ⌈201 × 0.99⌉ = 199.
    held_out = np.random.default_rng(0).permutation(400)[200:]
    assert (fitted.scores(rows[held_out]) > 1).sum() == 1


def test_units_of_the_statistics_do_not_matter(monkeypatch):
    monkeypatch.setattr(room, "RESOLUTION", 0.0)
    rng = np.random.default_rng(1)
    rows, new = heavy_tailed(rng, 400), heavy_tailed(rng, 50)
    mixing, shift = rng.normal(size=(WIDTH, WIDTH)) + 5 * np.eye(WIDTH), rng.normal(size=WIDTH)
    np.testing.assert_allclose(
        fit_novelty_detector(rows @ mixing + shift).scores(new @ mixing + shift),
        fit_novelty_detector(rows).scores(new),
        rtol=1e-6,
    )


def test_a_statistic_that_never_varies_is_no_trouble_and_its_change_is_seen():
    rows = heavy_tailed(np.random.default_rng(3), 400)
    rows[:, AT["saturated"]] = 0
    fitted, usual = fit_novelty_detector(rows), rows.mean(0)
    unusual = usual + np.eye(WIDTH)[AT["saturated"]]
    assert fitted.scores(usual[None])[0] < 1 < fitted.scores(unusual[None])[0]


def test_too_few_galaxies_are_refused():
    for rate in (0.2, 0.01, 0.001):
        needed = galaxies_needed(rate)
        rows = heavy_tailed(np.random.default_rng(4), needed)
        assert fit_novelty_detector(rows, rate).rate == rate
        with pytest.raises(DomainError, match=f"{needed - 1} galaxies; .* {needed} are needed"):
            fit_novelty_detector(rows[1:], rate)
    assert galaxies_needed(0.001) == 2 * 999
    for rate in (0, 1, -0.1):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            fit_novelty_detector(rows, rate)
    rows[3, 2] = np.nan
    with pytest.raises(ValueError, match="not a finite number"):
        fit_novelty_detector(rows)


def test_the_threshold_is_of_galaxies_that_the_model_was_not_trained_on():
    rng = np.random.default_rng(3)
    rows = heavy_tailed(rng, 1200)
    training = np.arange(1200) < 900
    rows[training] *= 0.2  # as if the training's images were all alike
    fitted = fit_novelty_detector(rows, training=training)
    assert (fitted.fitted, fitted.held_out) == (900, 300)
    new = heavy_tailed(rng, 3000)
    assert (fitted.scores(new) > 1).mean() < 0.02
    # By chance halves of all, most new galaxies would have been flagged.
    assert (fit_novelty_detector(rows).scores(new) > 1).mean() > (fitted.scores(new) > 1).mean()
    # Few of the training: the others alone, as without it.
    few = np.arange(1200) < 20
    assert fit_novelty_detector(rows, training=few).held_out == 590
    with pytest.raises(DomainError, match="50 galaxies that the model was not trained on"):
        fit_novelty_detector(rows, training=np.arange(1200) < 1150)


def test_a_domain_comes_back_from_json_as_it_was():
    fitted = fit_novelty_detector(heavy_tailed(np.random.default_rng(6), 300))
    assert NoveltyDetector.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize("damage", [
    {"threshold": 0}, {"threshold": math.nan}, {"rate": 1.0}, {"mean": [0.0]}, {"mean": ["0"] * WIDTH}, {"held_out": 0},
    {"covariance": [[1.0] * WIDTH] * WIDTH}, {"covariance": [[0.0] * WIDTH] * WIDTH}, {"covariance": []},
    {"statistics": ["sky"]}, {"kind": "k nearest neighbours"},
])  # fmt: skip
def test_a_domain_that_makes_no_sense_is_refused(damage):
    plain = fit_novelty_detector(heavy_tailed(np.random.default_rng(6), 300)).to_dict()
    with pytest.raises((ValueError, TypeError)):
        NoveltyDetector.from_dict({**plain, **damage})


@pytest.mark.parametrize("kind", CONTAMINANTS)
def test_a_spoiled_picture_is_reproducible_and_another(kind):
    galaxy = render(draw(1, 3))
    before, spoiled = galaxy.copy(), contaminate(galaxy, kind, seed=1, index=3)
    assert spoiled.shape == galaxy.shape
    assert spoiled.dtype == np.uint8
    assert (spoiled != galaxy).any()
    np.testing.assert_array_equal(galaxy, before)
    np.testing.assert_array_equal(spoiled, contaminate(galaxy, kind, seed=1, index=3))
    if kind not in ("blank", "inverted", "grey", "swapped_bands", "twice_as_large", "half_as_large"):
        assert (spoiled != contaminate(galaxy, kind, seed=1, index=4)).any()


def test_spoiled_pictures_are_what_their_names_say():
    frame = np.zeros((200, 240, 3), np.uint8)
    frame[95:105, 115:125] = 200
    for index in range(20):
        rows, columns = np.nonzero(contaminate(frame, "off_centre", 0, index, CROP).max(2))
        assert 0.28 <= math.hypot(rows.mean() - 99.5, columns.mean() - 119.5) / 100 <= 0.62
    area = (frame > 100).sum()
    assert (contaminate(frame, "twice_as_large", 0, 0) > 100).sum() == pytest.approx(4 * area, rel=0.1)
    assert (contaminate(frame, "half_as_large", 0, 0) > 100).sum() == pytest.approx(area / 4, rel=0.1)
    assert np.ptp(contaminate(frame, "blank", 0, 0)) == 0
    assert (contaminate(np.full_like(frame, 90), "cut", 0, 0) == 0).any()
    star = contaminate(frame * 0 + 3, "star", 0, 0)
    assert (star[90:110, 105:135] == 255).any()
    with pytest.raises(KeyError):
        contaminate(frame, "galaxy", 0, 0)


@pytest.mark.parametrize("kind", ["blank", "noise", "off_centre", "cut", "inverted"])
def test_what_is_no_galaxy_is_flagged(model, kind):
    strangers = [contaminate(render(draw(31, index)), kind, 0, index, CROP) for index in range(300, 312)]
    assert model.predict(strangers).out_of_domain.mean() >= 0.75


def test_few_galaxies_are_flagged(model, folder):
    told = model.predict(sorted(folder.iterdir())[300:])
    # At 1 % more than three of 30 come by chance once in 4,000 times.
    assert told.out_of_domain.sum() <= 3
    assert ((told.domain_score > 0) & np.isfinite(told.domain_score)).all()


def test_the_table_says_it_and_the_text_warns(model, folder):
    galaxy = read_image(folder / "301.png").rgb
    told = model.predict([galaxy, np.zeros_like(galaxy), b"no picture"])
    table = told.to_table()
    assert table["out_of_domain"].to_pylist() == [False, True, None]
    assert table["domain_score"].to_pylist()[1] > 1
    assert table["domain_score"].to_pylist()[2] is None
    assert "OUT OF DOMAIN" in str(told[1])
    assert "OUT OF DOMAIN" not in str(told[0])
    assert told[1].out_of_domain
    assert not told[0].out_of_domain


def test_without_a_domain_nothing_is_claimed(bundle):
    told = Model(replace(bundle, calibration=None), threads=1).predict([np.zeros((64, 64, 3), np.uint8)])
    assert told.to_table()["out_of_domain"].to_pylist() == told.to_table()["domain_score"].to_pylist() == [None]
    assert "OUT OF DOMAIN" not in str(told[0])


def test_the_number_of_views_changes_no_score(model, folder):
    paths = sorted(folder.iterdir())[300:303]
    np.testing.assert_array_equal(model.predict(paths, n_views=4).domain_score, model.predict(paths).domain_score)


def test_the_evaluation_counts_images_and_names_kinds(bundle, folder, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"broken")
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(tmp_path / "grey.png")
    inside = sorted(folder.iterdir())[300:]
    result = evaluate_domain(bundle, inside, {"cards": [tmp_path], "same": inside}, n_synthetic=5, resamples=50)
    kinds = result.report["kinds"]
    assert [error.file for error in result.errors] == [str(broken)]
    assert kinds["cards"] == {
        "images": 1,
        "auroc": {"value": 1.0, "low": 1.0, "high": 1.0},
        "flagged": {"value": 1.0, "low": pytest.approx(0.2065, abs=1e-3), "high": 1.0},
    }
    assert kinds["same"]["auroc"]["value"] == 0.5
    assert kinds["same"]["auroc"]["low"] < 0.5 < kinds["same"]["auroc"]["high"]
    assert kinds["synthetic: blank"]["auroc"]["value"] > 0.95
    assert set(kinds) == {"cards", "same", *(f"synthetic: {kind}" for kind in CONTAMINANTS)}
    assert result.report["images"] == 30
    with pytest.raises(DomainError, match="has no domain: it gets one by tuningfork calibrate"):
        evaluate_domain(replace(bundle, calibration=None), inside, {})
    with pytest.raises(DomainError, match="empty: no image"):
        evaluate_domain(bundle, inside, {"empty": [broken]}, n_synthetic=0)


@pytest.mark.slow
def test_commands_from_calibration_to_flags(bundle, folder, tmp_path):
    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result.stdout

    write_bundle(replace(bundle, calibration=None), tmp_path / "plain")
    paths = sorted(folder.iterdir())
    parts = {path.stem: "train" if i < 280 else "validation" if i < 300 else "test" for i, path in enumerate(paths)}
    (tmp_path / "split.csv").write_text("id,part\n" + "".join(f"{i},{part}\n" for i, part in parts.items()))
    columns = open_bundle().tree.columns
    votes = simulate_votes(
        np.stack([answer_probabilities(draw(31, index)) for index in range(COUNT)]), 45, np.random.default_rng(0)
    )
    rows = [[path.stem, *map(str, each)] for path, each in zip(paths, votes.tolist(), strict=True)]
    (tmp_path / "votes.csv").write_text("\n".join(map(",".join, [["GalaxyID", *columns], *rows])))
    split = ("--split", tmp_path / "split.csv")
    calibrating = ("--images", folder, "--labels", tmp_path / "votes.csv", *split, "-o", tmp_path / "new")
    # Twenty galaxies are too few for the classes, which the exit code says.
    told = run("calibrate", tmp_path / "plain", *calibrating, code=3)
    assert "fitted on 150 images" in told
    # As fitted in memory on the same 300, none of the test part among them.
    assert open_bundle(tmp_path / "new").calibration.domain == bundle.calibration.domain
    strange = tmp_path / "strange"
    strange.mkdir()
    for index in range(3):
        Image.fromarray(np.full((99, 99, 3), 50 * index, np.uint8)).save(strange / f"{index}.png")
    report = json.loads(
        run(
            "ood",
            tmp_path / "new",
            "--in-domain",
            folder,
            *split,
            "--out-of-domain",
            f"plain={strange}",
            "--n-synthetic",
            0,
            "--json",
        )
    )
    assert report["images"] == 30
    assert report["kinds"]["plain"]["flagged"]["value"] == 1
    shown = run("ood", tmp_path / "new", "--in-domain", folder, *split, "--n-synthetic", 2)
    assert "promised: at most 1 %" in shown
    assert "synthetic: star" in shown
    run("ood", tmp_path / "new", "--in-domain", folder, "--out-of-domain", "nameless", code=2)
    run("ood", tmp_path / "plain", "--in-domain", folder, code=1)
    predicting = ("predict", strange, "--model", tmp_path / "new", "--views", 1, "-o")
    assert "0 failed, 3 out of domain" in run(*predicting, tmp_path / "out.parquet")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet")["out_of_domain"].to_pylist() == [True] * 3
    told = json.loads(run(*predicting, tmp_path / "out.csv", "--format", "kaggle", "--json"))
    assert told["out_of_domain"] == 3


@pytest.mark.slow
def test_another_survey_is_told_from_galaxy_zoo_2(shared):
    inside = list(find_images([shared / "data/gz2_hart16/images"]))
    plain = open_bundle()
    rows, _ = image_statistics(plain, inside[:800])
    fitted = replace(plain, calibration=Calibration(domain=fit_novelty_detector(rows)))
    report = evaluate_domain(
        fitted, inside[800:], {"decals": [shared / "data/galaxy10_decals"]}, n_synthetic=0, resamples=20
    ).report
    assert report["kinds"]["decals"]["auroc"]["value"] > 0.95
    assert report["kinds"]["decals"]["flagged"]["value"] > 0.8
    assert report["false_alarms"]["low"] < 0.03
