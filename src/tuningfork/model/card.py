"""Model card in Markdown, generated from the bundle alone, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bundle import Bundle

__all__ = ["accuracy_text", "interval_text", "model_card", "test_rmse"]

#: What class probabilities are made of, in words.


def model_card(bundle: Bundle) -> str:
    """Return what the model is, was trained on, scores and fails at, and how it was made."""
    megabytes = sum(len(network.onnx) for network in bundle.networks) / 1e6
    parts = [
        f"# {bundle.name}: {bundle.title}",
        bundle.description,
        f"{len(bundle.networks)} network(s), {megabytes:.1f} MB, {bundle.n_views} view(s) averaged. "
        f"Licence: {bundle.licence}.",
        _section("Networks", [_network(network) for network in bundle.networks]),
        _section("Learned from", _training(bundle)),
        _section("Scores", _scores(bundle.figures)),
        _section("Samples of a class", _samples(bundle.figures.get("purity", {}))),
        _section("Calibration", _calibration(bundle)),
        _section("Known failures and limits", bundle.limits),
        _section("Credit", bundle.attribution),
        _section("Made with", [f"`{command}`" for command in bundle.training.get("commands", ())]),
        _section("Versions", [", ".join(f"{name} {version}" for name, version in bundle.versions.items())]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, lines: Any) -> str:
    lines = [line for line in lines if line]
    return f"## {title}\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _network(network: Any) -> str:
    p = network.preprocess
    return (
        f"{network.architecture}: central {p.crop:g} of the frame at {p.size}×{p.size} px ({p.filter}, antialiased); "
        f"SHA-256 {network.sha256}"
    )


def _training(bundle: Bundle) -> list[str]:
    training, lines = bundle.training, []
    counts: Mapping[str, Any] = training.get("counts", {})
    if "galaxies" in counts:
        galaxies, complete = counts["galaxies"], counts["complete_rows"]
        lines.append(
            "galaxies (with complete votes): "
            + ", ".join(f"{part} {galaxies[part]} ({complete[part]})" for part in galaxies)
            + f"; near-identical images: {counts['near_duplicates']}"
        )
        lines.append(
            "classes of the training part: "
            + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts["train_classes"].items())
        )
    lines += [
        f"beside them {source['galaxies']} galaxies of {source['name']}, for what their labels mean: "
        + ", ".join(f"{each['kind']} of {each['galaxies']}" for each in source["targets"])
        + f"; {source['in_validation_or_test']} of it left out, which are in the validation or test part"
        for source in _auxiliary(training)
    ]
    lines += [training.get("selection", "")]
    for key, name in (
        ("labels_sha256", "labels"),
        ("images_sha256", "images"),
        ("pictures_sha256", "images"),
        ("init_sha256", "initial weights"),
        ("start_sha256", "initial weights"),
    ):
        lines.append(f"SHA-256 of the {name}: {training[key]}" if training.get(key) else "")
    return lines


def _auxiliary(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Auxiliary label sources; older bundles call them `foreign`, with other keys."""
    older = [
        {**source, "targets": [{"kind": each["kind"], "galaxies": each["told"]} for each in source["tells"]]}
        for source in training.get("foreign", ())
    ]
    return [*training.get("auxiliary", ()), *older]


def _scores(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    test = figures.get("test")
    if test:
        lines.append(
            f"{test.get('about') or 'untouched test part, {} galaxies'.format(test['galaxies'])}, "
            f"{test['complete_rows']} with complete votes (95 % bootstrap intervals):"
        )
        lines.append(f"RMSE of 37 columns on complete rows {interval_text(test['rmse_complete_rows'])}")
        lines.append(f"RMSE over all known columns {interval_text(test['rmse_known_columns'])}")
        for name, scores in test.get("baselines", {}).items():
            complete, known = interval_text(scores["rmse_complete_rows"]), interval_text(scores["rmse_known_columns"])
            lines.append(f"baseline, {name.replace('_', ' ')}: {complete} on complete rows, {known} over known columns")
        classes = test.get("classes")
        if classes:
            lines.append(
                f"class of the {classes['galaxies']} galaxies whose votes decide it: accuracy "
                f"{interval_text(classes['accuracy'])}, macro F1 {interval_text(classes['macro_f1'])}"
            )
            lines += [
                f"{name.replace('_', ' ')}: {each['galaxies']} galaxies, precision {_number(each['precision'])}, "
                f"recall {_number(each['recall'])}, F1 {_number(each['f1'])}"
                for name, each in classes["per_class"].items()
            ]
        if every := test.get("classes_and_none"):
            left_out = f" ({every['undecided']} undecided ones left out and made up for)" if every["undecided"] else ""
            lines.append(
                f"class, or none, of {every['galaxies']} galaxies{left_out}: "
                f"accuracy {interval_text(every['accuracy'])}, macro F1 {interval_text(every['macro_f1'])}"
            )
            lines += [
                f"{name.replace('_', ' ')}: {each['true']:.0f} true, {each['named']:.0f} named, {each['expected']:.0f} "
                f"expected from the probabilities; precision {_number(each['precision'])}, recall "
                f"{_number(each['recall'])}"
                for name, each in every["per_class"].items()
            ]
        lines += _reliability(test)
    for name, scores in figures.get("validation", {}).items():
        text = [f"RMSE {scores['val_rmse']:.4f}"] if "val_rmse" in scores else []
        if not text:  # a model of the classes alone
            text = [f"accuracy {scores['val_accuracy']:.4f}", f"cross-entropy {scores['val_loss']:.4f}"]
        lines.append(f"validation, {name}: {', '.join(text)} in epoch {scores['epoch']}")
    for name, value in figures.get("deviation", {}).items():
        lines.append(f"{name}: {value:.2g}")
    return lines


def _samples(purity: Mapping[str, Any]) -> list[str]:
    """Purity and completeness of clean samples at three thresholds, as `evaluation.purity` measures them."""
    if not purity.get("clean"):
        return []
    lines = [
        f"clean samples (`clean_class`) of {purity['galaxies']} galaxies, {purity['no_class']} of which have no class "
        "and contaminate any sample; by the least probability of the class (95 % Wilson intervals):"
    ]
    for each in purity["clean"].values():
        points = [
            f"{'any' if not point['threshold'] else format(point['threshold'], 'g')}: {point['selected']} galaxies, "
            f"purity {_share(point, 'purity')}, completeness {_share(point, 'completeness')}"
            for point in each["curve"]
        ]
        lines.append(f"{each['name']} ({each['galaxies']} of {each['judged']}): {'; '.join(points)}")
    return lines


def _share(point: Mapping[str, Any], name: str) -> str:
    if point[name] is None:
        return "–"
    return f"{point[name]:.2f} ({point[f'{name}_low']:.2f}…{point[f'{name}_high']:.2f})"


def _calibration(bundle: Bundle) -> list[str]:
    calibration, lines = bundle.calibration, []
    if calibration and calibration.intervals:
        intervals = calibration.intervals
        lines.append(
            f"intervals that promise to hold the volunteers' fractions of all answers to a question for "
            f"{intervals.level:.3g} of galaxies like those that they were fitted on, for {intervals.n_views} view(s)"
        )
        lines += [
            f"no interval for {key.replace('_', ' ')}: {each.reason}"
            for key, each in intervals.questions.items()
            if each.reason
        ]
    if calibration and calibration.posterior:
        fitted = [each.galaxies for each in calibration.posterior.questions.values() if not each.reason]
        lines.append(
            f"posterior of the fractions, for draws and for counts of populations: of {len(fitted)} questions, each "
            f"fitted on {min(fitted)} to {max(fitted)} galaxies"
            if fitted
            else ""
        )
        lines += [f"no draws of {key.replace('_', ' ')}: {why}" for key, why in calibration.posterior.missing.items()]
    if calibration and calibration.classes:
        lines.append(f"class probabilities {calibration.classes.summary()}")
    if calibration and calibration.domain:
        domain = calibration.domain
        lines.append(
            "flags images unlike those of its training, by their sky, noise, light and colours; of galaxies like the "
            f"{domain.fitted + domain.held_out} that it was fitted on, at most {100 * domain.rate:.3g} %"
        )
    if figures := bundle.figures.get("calibration"):
        lines.append(
            f"fitted on {figures['galaxies']} galaxies (part: {figures['part']}), "
            f"SHA-256 of the labels: {figures['labels_sha256']}"
        )
        lines += [f"left out of the fit: {line}" for line in _covered(figures["left_out"])]
    return lines


def _reliability(test: Mapping[str, Any]) -> list[str]:
    lines = []
    if intervals := test.get("intervals"):
        lines.append(
            f"fractions of all answers to a question within their intervals, {intervals['level']:.3g} promised, and of "
            "the shown answer, the one on the path of the majority (95 % Wilson intervals):"
        )
        lines += _covered(intervals["per_question"])
    for part, of in (("classes", "given that there is one"), ("classes_and_none", "or of none")):
        reliability = test.get(part, {}).get("reliability")
        if not reliability:
            continue
        lines.append(
            f"calibration error of the class {of}: {reliability['calibration_error']:.4f}; a perfectly calibrated "
            f"model would show {reliability['if_perfect']['mean']:.4f} with {reliability['galaxies']} galaxies"
        )
    return lines


def _covered(per_question: Mapping[str, Any]) -> list[str]:
    return [
        f"{name.replace('_', ' ')}: {each['galaxies']} galaxies, {interval_text(each, 'joint')} within their "
        f"intervals, mean width {each['mean_width']:.3f}, median {each['median_width']:.3f}" + _shown(each["shown"])
        for name, each in per_question.items()
        if each["galaxies"]
    ]


def _shown(answer: Mapping[str, Any]) -> str:
    if not answer["galaxies"]:
        return ""
    return (
        f"; shown answer of {answer['galaxies']}: {interval_text(answer, 'coverage')}, "
        f"mean width {answer['mean_width']:.3f}"
    )


def test_rmse(bundle: Bundle) -> str:
    """RMSE of 37 columns on the complete rows of the untouched test part, with its interval; a dash if not measured."""
    test = bundle.figures.get("test")
    return interval_text(test["rmse_complete_rows"]) if test else "–"


def accuracy_text(bundle: Bundle) -> list[str]:
    """The test scores in a few words: RMSE of the votes, accuracy of the class; those that were measured."""
    test = bundle.figures.get("test", {})
    rmse = test.get("rmse_complete_rows", {}).get("value")
    accuracy = test.get("classes", {}).get("accuracy", {}).get("value")
    texts = [f"RMSE {rmse:.4f}"] if rmse is not None else []
    return texts + ([f"class accuracy {accuracy:.3f}"] if accuracy is not None else [])


def interval_text(interval: Mapping[str, float | None], name: str = "value") -> str:
    """`value (low…high)` of an evaluation's interval; a dash where there was nothing to score."""
    if interval[name] is None:
        return "–"
    if interval["low"] is None:
        return f"{interval[name]:.4f}"
    return f"{interval[name]:.4f} ({interval['low']:.4f}…{interval['high']:.4f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
