"""The report: the paper's numbers, scores against independent ones, and a whole page of a made-up study."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest

pytest.importorskip("matplotlib", reason="the extra `report` is not installed")

from sklearn import metrics as reference

from tuningfork.display.html import render
from tuningfork.evaluation import metrics
from tuningfork.experiments import scores
from tuningfork.experiments.published import errata, load_published
from tuningfork.experiments.report.figures import image_reader
from tuningfork.experiments.report.network import look_inside
from tuningfork.experiments.report.numbers import gather
from tuningfork.experiments.report.write import write_report
from tuningfork.experiments.runs import RecordError, read_run, read_study
from tuningfork.simulation import simulate
from tuningfork.votes import fractions as votes
from tuningfork.votes.clean_samples import classify
from tuningfork.votes.traversal import outline

HOSTILE = "<script>alert('1')</script>"


@pytest.fixture(scope="module")
def galaxies(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("report") / "sim", 40, seed=5, workers=1)


@pytest.fixture(scope="module")
def known(galaxies, gz2):
    from tuningfork.votes.label_table import read_labels

    read = read_labels(galaxies / "training_solutions_rev1.csv", gz2)
    return read.ids, votes.cumulative_from(read.values, gz2)


@pytest.fixture
def put(galaxies, known, gz2):
    """Write a run folder as a training would have left it, its predictions the truth and some noise."""
    ids, true = known

    def write(folder, *, task="both", network="mobilenetv3_small_050", seed=0, noise=0.1, members=None, **result):
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, int(noise * 1000)])
        parts = ["validation" if n % 2 else "test" for n in range(len(ids))]
        classes = classify(true, gz2).astype(int)
        # All seven classes, also those that forty galaxies lack.
        classes[:14] = np.arange(14) % 7
        shown = [HOSTILE if n == 0 else id_ for n, id_ in enumerate(ids)]
        paths = [str(galaxies / "images_training_rev1" / f"{id_}.jpg") for id_ in ids]
        pq.write_table(
            pa.table(
                {"id": shown, "path": paths, "part": parts, **dict(zip(gz2.columns, true.T, strict=True)),
                 "class": pa.array(classes, pa.int8())}
            ),
            folder / "truth.parquet",
        )  # fmt: skip
        told = {"id": shown[::-1], "part": parts[::-1]}
        if task != "classes":
            values = np.clip(true + rng.normal(0, noise, true.shape), 0, 1)[::-1]
            told |= dict(zip(gz2.columns, values.T, strict=True))
        if task != "votes":
            logits = rng.normal(0, 1, (len(ids), 7))
            logits[np.arange(len(ids)), np.maximum(classes, 0)] += 2
            told |= {
                f"class_{c}_probability": p
                for c, p in enumerate((np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[::-1].T)
            }
        pq.write_table(pa.table(told), folder / "predictions.parquet")
        content = {
            "name": folder.name, "network": network, "task": task, "size": 32, "seed": seed,
            "initial_weights": "scratch",
            "epochs": 3, "epochs_planned": 3, "best_epoch": 2, "parameters": 123456, "seconds": 12.5,
            "galaxies_per_second": 77.0, "peak_memory_mb": 512.0, "notes": [f"note {HOSTILE}"],
            "counts": {"galaxies": {"train": 100, "validation": 20, "test": 20}, "near_duplicates": 0,
                       "complete_rows": {"train": 100, "validation": 20, "test": 20}},
            "versions": {"tuningfork": "0"}, **({"members": members} if members else {}), **result,
        }  # fmt: skip
        (folder / "result.json").write_text(json.dumps(content))
        if not members:
            recipe = {"network": network, "task": task, "size": 32, "seed": seed, "epochs": 3, "crop": 0.5}
            (folder / "run.json").write_text(json.dumps({"recipe": recipe, "labels_sha256": "ab" * 32}))
            lines = [f"{e},{1 / e},{0.2 / e},{'' if e == 1 else 0.5},0.001,4" for e in (1, 2, 3)]
            (folder / "curves.csv").write_text(
                "epoch,train_loss,val_rmse,val_accuracy,learning_rate,seconds\n" + "\n".join(lines) + "\n"
            )
        return folder

    return write


@pytest.fixture
def study(put, tmp_path):
    folder = tmp_path / "study"
    for seed in range(3):
        put(folder / f"runs/small/seed-{seed}", seed=seed, noise=0.1 + seed / 30)
    put(folder / "runs/fair-votes-efficientnet-b2/seed-0", task="votes", network="efficientnet_b2", noise=0.2)
    put(folder / "ensembles/both-seed-0", noise=0.05, members=["runs/small/seed-0", "runs/small/seed-1"])
    return folder


# ------------------------------------------------------------------ the paper


def test_the_errata_are_what_the_papers_matrix_gives():
    found = {row["what"]: (row["printed"], row["computed"]) for row in errata()}
    for what, printed, computed in (
        ("accuracy of EfficientNet-B5", 0.9370, 0.9370),
        ("macro F1 of EfficientNet-B5", 0.8857, 0.8831),
        ("macro recall of EfficientNet-B5", 0.8900, 0.8790),
        ("macro precision of EfficientNet-B5", 0.8885, 0.8897),
        ("RMSE of the mean of B0 and B2", 0.07765, 0.07792),
    ):
        assert found[what] == (printed, pytest.approx(computed, abs=5e-5))


def test_the_published_numbers_are_complete_and_agree_with_each_other(gz2):
    paper = load_published()
    for b in range(8):
        assert 0.08 < paper.rmse_of(f"efficientnet_b{b}") < 0.1
        assert paper.classes_of(f"efficientnet_b{b}")["accuracy"] > 0.92
    assert {"vgg16", "resnet50", "dai_tong", "inception_v3"} < {row["network"] for row in paper.classification}
    assert [entry["key"] for entry in paper.classes] == [rule.key for rule in gz2.classes]
    assert all(entry["train"] + entry["test"] == entry["galaxies"] for entry in paper.classes)
    assert sum(entry["galaxies"] for entry in paper.classes) == paper.class_galaxies
    assert paper.confusion.sum(1).tolist() == [entry["test"] for entry in paper.classes]
    assert paper.rmse_of("no_network") is None
    assert paper.classes_of("no_network") is None


# ------------------------------------------------------------------ scores


def test_class_scores_are_those_of_scikit_learn(gz2):
    rng = np.random.default_rng(0)
    true = np.concatenate([np.arange(7), rng.integers(0, 7, 200)])
    probability = rng.dirichlet(np.ones(7), len(true)) + np.eye(7)[true] * 0.3
    told = probability.argmax(1)
    found, drawn = scores.class_scores(probability, true, gz2, resamples=300)
    precision, recall, f1, count = reference.precision_recall_fscore_support(true, told, zero_division=0)
    assert found["accuracy"]["value"] == pytest.approx(reference.accuracy_score(true, told))
    assert found["macro_f1"]["value"] == pytest.approx(f1.mean())
    assert found["confusion_matrix"] == reference.confusion_matrix(true, told).tolist()
    each = list(found["per_class"].values())
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        assert [e[name]["value"] for e in each] == pytest.approx(values)
        assert all(e[name]["low"] <= e[name]["value"] <= e[name]["high"] for e in each)
    assert [e["galaxies"] for e in each] == count.tolist()
    slow = metrics.bootstrap(
        lambda r: metrics.macro(metrics.confusion_matrix(true[r], told[r], 7))["f1"], len(true), resamples=300
    )
    assert (found["macro_f1"]["low"], found["macro_f1"]["high"]) == pytest.approx((slow.low, slow.high))
    assert drawn["macro_f1"].shape == (300,)


def test_vote_scores_and_intervals_are_those_of_metrics(gz2, known):
    _, true = known
    true = true.copy()
    true[::3, 20:] = np.nan
    predicted = np.nan_to_num(true) + np.random.default_rng(1).normal(0, 0.1, true.shape)
    found, _ = scores.vote_scores(predicted, true, gz2, resamples=200)
    complete = ~np.isnan(true).any(1)
    for name, rows in (("rmse_complete_rows", complete), ("rmse_known_columns", np.ones(len(true), bool))):
        told, asked = predicted[rows], true[rows]
        slow = metrics.bootstrap(lambda r, t=told, a=asked: metrics.rmse(t[r], a[r]), rows.sum(), resamples=200)
        assert list(found[name].values()) == pytest.approx([slow.value, slow.low, slow.high])
    assert found["complete_rows"] == complete.sum()
    expected = metrics.rmse_per_question(predicted, true, gz2)
    assert {key: each["value"] for key, each in found["rmse_per_question"].items()} == pytest.approx(expected)
    blank, _ = scores.vote_scores(predicted[:0], true[:0], gz2)
    assert blank["rmse_known_columns"] == {"value": None, "low": None, "high": None}


def test_a_perfect_prediction_of_forty_votes_reaches_the_noise_floor(gz2):
    rng = np.random.default_rng(2)
    p = np.full((4000, 37), 0.3)
    observed = rng.binomial(40, p) / 40
    rmse = metrics.rmse(p, observed)
    assert scores.noise_floor(observed, gz2)["known_columns"] == pytest.approx(rmse, rel=0.02)


def test_wilsons_interval_is_that_of_the_textbook():
    # Brown, Cai & DasGupta 2001's formula, at 0 and all of 10, and as scipy gives it for 7 of 10.
    assert scores.wilson(0, 10)["high"] == pytest.approx(0.2775, abs=1e-4)
    assert scores.wilson(10, 10)["low"] == pytest.approx(0.7225, abs=1e-4)
    assert list(scores.wilson(7, 10).values()) == pytest.approx([0.7, 0.39678, 0.89221], abs=1e-4)
    assert scores.wilson(0, 0)["value"] is None


def test_mean_and_spread_over_repeats():
    each = [{"a": {"value": value}} for value in (1.0, 2.0, 4.0)]
    found = scores.repeats(each, "a")
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["spread"] == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert scores.repeats(each[:1], "a")["spread"] is None
    assert scores.repeats([{"a": {"value": None}}], "a")["mean"] is None
    drawn = [{"a": np.linspace(v, v + 1, 101)} for v in (1.0, 2.0, 4.0)]
    found = scores.repeats(each, "a", drawn)
    assert found["low"] == pytest.approx(7 / 3 + 0.025)


def test_one_run_is_its_own_ensemble_and_the_best_comes_first(study):
    runs = read_study(study).runs
    votes_curve = scores.ensemble_curve(runs, "votes", resamples=20)
    best = scores.best_run(runs, "votes")
    assert [row["size"] for row in votes_curve] == [1, 2, 3, 4]
    assert votes_curve[0]["added"] == best.name == "small/seed-0"
    alone = scores.run_scores(best, "test", resamples=20)[0]["votes"]
    assert votes_curve[0]["rmse_known_columns"] == alone["rmse_known_columns"]
    assert votes_curve[2]["rmse_known_columns"]["value"] < votes_curve[0]["rmse_known_columns"]["value"]
    told = [row["validation_score"] for row in votes_curve]
    assert told == sorted(told)
    assert len(scores.ensemble_curve(runs, "classes", resamples=20)) == 3


def test_the_average_of_identical_runs_is_the_run(put, tmp_path):
    for name in "abc":
        put(tmp_path / f"runs/{name}/seed-0", noise=0.1)
    curve = scores.ensemble_curve(read_study(tmp_path).runs, "votes", resamples=20)
    values = [row["rmse_known_columns"]["value"] for row in curve]
    assert values == pytest.approx([values[0]] * 3)


def test_the_flow_keeps_the_sums_of_the_tree(gz2, known):
    _, true = known
    flow = scores.tree_flow(true, true, gz2)["answers"]
    means = np.array([flow[column]["volunteers"] for column in gz2.columns])
    assert np.abs(votes.sum_violations(means, gz2)).max() < 1e-3
    assert all(each["volunteers"] == each["model"] for each in flow.values())
    columns = [row.column for row in outline(gz2) if row.column]
    assert sorted(columns) == sorted(gz2.columns)
    assert columns.index("Class7.1") == columns.index("Class1.1") + 1


# ------------------------------------------------------------------ records


def test_predictions_are_found_by_id_not_by_row(put, tmp_path, known):
    run = read_run(put(tmp_path / "runs/a/seed-0", noise=1e-9))
    np.testing.assert_allclose(run.predicted, known[1], atol=1e-6)
    assert run.name == "a/seed-0"


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("result.json", None, "has not ended"),
        ("result.json", "{", "not valid JSON"),
        ("result.json", "[]", "an object is expected"),
        ("result.json", '{"epochs": "many"}', "epochs = 'many'"),
        ("truth.parquet", None, "is missing"),
        ("truth.parquet", "PAR1", "not a readable Parquet file"),
        ("predictions.parquet", "", "not a readable Parquet file"),
        ("curves.csv", "epoch,train_loss\nfirst,1\n", "not a readable table of epochs"),
        ("run.json", '{"recipe": {"tree": "no_tree"}}', "no_tree"),
    ],
)
def test_a_broken_run_is_named_with_its_file_and_the_rest_goes_on(study, file, content, told):
    broken = study / "runs/small/seed-1" / file
    broken.unlink()
    if content is not None:
        broken.write_text(content)
    found = read_study(study)
    assert [each.name for each in found.broken] == ["small/seed-1"]
    assert told in found.broken[0].reason
    assert file in found.broken[0].reason
    assert len(found.runs) == 3


def test_a_prediction_that_is_missing_is_named(put, tmp_path):
    folder = put(tmp_path / "run")
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(RecordError, match=r"predictions\.parquet lacks galaxy .*train it again"):
        read_run(folder)


# ------------------------------------------------------------------ the page


class _Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.references, self.images, self.tags, self.words = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.references += [given[key] for key in ("src", "href", "srcset", "action", "data") if key in given]
        self.images += [given] if tag == "img" else []

    def handle_data(self, data):
        self.words.append(data)


def _numbers(value):
    if isinstance(value, dict):
        for each in value.values():
            yield from _numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float):
        yield value


@pytest.mark.slow
def test_the_page_is_whole_and_its_numbers_are_in_the_json(study, tmp_path):
    shutil.rmtree(study / "runs/small/seed-2")
    (study / "runs/small/seed-2").mkdir()
    (study / "study.json").write_text(json.dumps({"lint": {"rows": 40, "file": HOSTILE}, "classes": {"in-between": 9}}))
    report = write_report(study, tmp_path / "report.html", resamples=100)
    raw = (tmp_path / "report.html").read_text("utf-8")
    page, told = _Page(raw), " ".join(_Page(raw).words)
    numbers = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert numbers == json.loads(json.dumps(report.numbers))
    # Nothing from elsewhere, nothing that runs.
    assert all(each.startswith(("data:image/", "#")) for each in page.references)
    assert {"script", "iframe", "link", "object"}.isdisjoint(page.tags)
    assert HOSTILE not in raw
    assert HOSTILE in told
    assert page.images
    assert all(image["alt"].strip() for image in page.images)
    assert 'name="viewport"' in raw
    assert "@media print" in raw
    assert len(raw) < 8e6
    # Broken runs are named, the paper's numbers are there.
    assert [name for name, _ in report.broken] == ["small/seed-2"]
    assert "small/seed-2" in told
    assert "0.8857" in told
    assert "0.8831" in told
    assert "0.08086" in told  # of B2, which is ours too
    # Every number with four or more decimals on the page is one of the JSON's.
    known = {f"{value:.{digits}f}" for value in _numbers(numbers) for digits in (4, 5)}
    shown = set(re.findall(r"(?<![\d.])0\.\d{4,5}(?!\d)", told))
    assert len(shown) > 30
    assert shown - known == {"0.8886"} & shown  # in the note of an erratum, a text of the JSON
    row = next(row for row in numbers["networks"]["votes"] if row["group"] == "small")
    assert f"{row['scores']['rmse_known_columns']['mean']:.4f} ± " in told
    assert "(2 seeds)" in told


def test_sections_that_do_not_apply_are_not_there_and_it_says_why(put, tmp_path):
    folder = put(tmp_path / "alone", task="classes")
    report = write_report(folder, tmp_path / "alone.html", resamples=20)
    raw = report.page.read_text("utf-8")
    told = " ".join(_Page(raw).words)
    anchors = re.findall(r'<section id="([^"]*)"', raw)
    assert {"data", "networks-classes", "per-class", "purity", "confusion", "runs"} <= set(anchors)
    assert {"networks-votes", "fractions", "questions", "tree", "ensembles", "network"}.isdisjoint(anchors)
    assert re.findall(r'<a href="#([^"]*)"', raw) == anchors
    for sentence in (
        "Networks: votes: no complete run predicts vote fractions.",
        "Inside a network: no run has its best.ckpt any more.",
        "Ensemble size against score: fewer than two runs of the same galaxies.",
        "there is no study.json",
    ):
        assert sentence in told
    assert report.numbers["votes"] is None


def test_pictures_that_are_gone_do_not_stop_a_report(put, tmp_path, galaxies):
    folder = put(tmp_path / "alone", task="votes")
    truth = pq.read_table(folder / "truth.parquet")
    gone = truth.set_column(1, "path", pa.array(["/nowhere/x.jpg"] * truth.num_rows))
    pq.write_table(gone, folder / "truth.parquet")
    study = read_study(folder)
    numbers = gather(study, "validation", resamples=20)
    network, seen = look_inside(numbers, study)
    assert "No run has its best.ckpt" in seen["absent"]
    assert "no image" in render("report/remarkable.html", numbers=numbers, image=image_reader(study))
    assert "No run has its best.ckpt" in render("report/network.html", network=network)


def test_everything_is_escaped_but_markup():
    values = {"title": HOSTILE, "sections": [], "about": "a\udc80"}
    page = render("map.html", **values, map=render("map.html", **values, map="<b>"))
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;") == 2
    assert "a\\udc80" in page
    assert "&lt;b&gt;" in page
    assert page.count("<section") == 2  # markup of ours is not escaped again


@pytest.mark.slow
def test_a_look_inside_needs_the_checkpoint_and_shows_a_control(put, tmp_path, gz2):
    torch = pytest.importorskip("torch")
    from tuningfork.experiments import grad_cam as look
    from tuningfork.images.read import read_image
    from tuningfork.training.network import MorphologyNetwork

    folder = put(tmp_path / "run")
    run = read_run(folder)
    with pytest.raises(look.GradCamError, match=r"no best\.ckpt"):
        look.load_network(run)
    torch.manual_seed(0)
    network = MorphologyNetwork("mobilenetv3_small_050", gz2)
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({"state_dict": state}, folder / "best.ckpt")
    opened, preprocess = look.load_network(run)
    assert preprocess.size == 32
    torch.testing.assert_close(opened.head.weight, network.head.weight)
    picture = read_image(run.paths[1]).rgb
    maps = look.feature_maps(opened, preprocess(picture)[None], channels=4)
    assert [each.maps.shape[-1] for each in maps] == sorted((e.maps.shape[-1] for e in maps), reverse=True)
    (overlay,) = look.grad_cam(run, opened, preprocess, [picture])
    assert overlay.trained.shape == overlay.random.shape == (4, 4)
    assert overlay.trained.min() >= 0
    assert overlay.trained.max() <= 1
    assert not np.allclose(overlay.trained, overlay.random)
    study = read_study(folder)
    shown, seen = look_inside(gather(study, resamples=20), study)
    assert seen["grad_cam"]["run"] == seen["feature_maps"]["run"] == "run"
    assert len(shown["cam"]["galaxies"]) == len(seen["grad_cam"]["galaxies"]) > 0
    assert all(panels[2][0] == "random weights" for _, panels in shown["cam"]["galaxies"])
    torch.save({"state_dict": {"network.x": torch.zeros(1)}}, folder / "best.ckpt")
    with pytest.raises(look.GradCamError, match="does not fit its recipe"):
        look.load_network(run)


@pytest.mark.slow
def test_a_report_of_a_real_training(tmp_path, galaxies):
    pytest.importorskip("torch")
    from tuningfork.training.options import Hardware
    from tuningfork.training.recipe import Recipe
    from tuningfork.training.train import train

    recipe = Recipe(network="test_efficientnet", size=32, epochs=1, batch=8, ema_decay=0.5, views=1, test=0.2)
    labels, pictures = galaxies / "training_solutions_rev1.csv", galaxies / "images_training_rev1"
    train(labels, [pictures], tmp_path / "runs/tiny/seed-0", recipe, hardware=Hardware(workers=0, threads=1))
    report = write_report(tmp_path, tmp_path / "report.html", resamples=50)
    assert report.broken == ()
    assert report.numbers["runs"][0]["trained"] == "fully"
    assert "grad_cam" in report.numbers["look"]


# ------------------------------------------------------------------ the command


def test_the_command_names_broken_runs_and_leaves_with_3(run, put, tmp_path):
    study = put(tmp_path / "study/runs/small/seed-0", task="classes").parents[2]
    put(study / "runs/small/seed-1", task="classes")
    (study / "runs/small/seed-1/result.json").unlink()
    result = run("report", study, "-o", tmp_path / "r.html", "--resamples", 20, "--json", code=3)
    assert json.loads(result.stdout)["part"] == "test"
    assert "failed: small/seed-1: " in result.stderr
    assert (tmp_path / "r.html").exists()
    assert (tmp_path / "metrics.json").exists()


def test_wrong_usage_and_failures_have_their_exit_codes(run, put, tmp_path, monkeypatch):
    output = tmp_path / "r.html"
    run("report", tmp_path / "nowhere", "-o", output, code=2)
    folder = put(tmp_path / "run", task="votes")
    run("report", folder, "-o", output, "--part", "train", code=2)
    assert "no such folder" in run("report", folder, "-o", tmp_path / "no" / "r.html", code=1).stderr
    assert "name the page" in run("report", folder, "-o", tmp_path / "metrics.json", code=1).stderr
    (tmp_path / "empty").mkdir()
    assert "no complete run" in run("report", tmp_path / "empty", "-o", output, code=1).stderr
    output.write_text("before")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "exists" in run("report", folder, "-o", output, code=1).stderr
    assert "[report]" in run("report", folder, "-o", output, "--overwrite", code=1).stderr
    assert output.read_text() == "before"


def test_a_part_that_no_run_has_is_said(put, tmp_path):
    folder = put(tmp_path / "run")
    truth = pq.read_table(folder / "truth.parquet")
    here = truth.filter(pa.compute.equal(truth["part"], "validation"))
    pq.write_table(here, folder / "truth.parquet")
    with pytest.raises(RecordError, match="try --part validation"):
        write_report(folder, tmp_path / "r.html")
