"""Model card in Markdown, generated from the bundle alone, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._utils.text import bounds_text, counted, decimals
from .bundle import Bundle

__all__ = ["accuracy_text", "coverage_cells", "interval_text", "model_card", "share_text", "test_rmse"]

#: Scores of each class.
_PER_CLASS = ("precision", "recall", "f1")
#: Of a share of `evaluation.purity`: what it is called in an interval → the end of its name.
_BOUNDS = {"value": "", "low": "_low", "high": "_high"}
#: Kinds of targets of auxiliary sources, in words.
_TARGETS = {
    "classes": "{column}, each of which leaves several of the classes open",
    "counts": "vote fractions of another reduction with the number of volunteers",
    "labels": "{column}, learned by outputs of their own",
    "shares": "vote fractions of another reduction",
    "teacher": "predictions of trained models",
}


def model_card(bundle: Bundle) -> str:
    """Return what the model is, was trained on, scores and fails at, and how it was made."""
    megabytes = sum(len(network.onnx) for network in bundle.networks) / 1e6
    parts = [
        f"# {bundle.name}: {bundle.title}",
        bundle.description,
        f"{counted(len(bundle.networks), 'network')}, {megabytes:.1f} MB, {counted(bundle.n_views, 'view')}. "
        f"Licence: {bundle.licence}.",
        _section("Networks", _list([_network(network) for network in bundle.networks])),
        _section("Training data", _list(_training(bundle))),
        _section("Scores", *_scores(bundle.figures)),
        _section("Samples of a class", *_samples(bundle.figures.get("purity", {}))),
        _section("Calibration", *_calibration(bundle)),
        _section("Known failures and limits", _list(bundle.limits)),
        _section("Credit", _list(bundle.attribution)),
        _section("Commands that made it", _list([f"`{command}`" for command in bundle.training.get("commands", ())])),
        _section("Versions", ", ".join(f"{name} {version}" for name, version in bundle.versions.items())),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _section(title: str, *parts: str) -> str:
    """A heading with its paragraphs, lists and tables; nothing without any."""
    filled = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *filled]) if filled else ""


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines if line)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table whose columns are as wide as their cells, to be read as it is; the first to the left, others right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]
    rule = " | ".join("-" * (width - 1) + ":" if at else "-" * width for at, width in enumerate(widths))
    return "\n".join(f"| {line} |" for line in (lines[0], rule, *lines[1:]))


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
    lines += [training.get("selection", ""), *map(_source, _auxiliary(training))]
    for key, name in (
        ("labels_sha256", "labels"),
        ("images_sha256", "images"),
        ("pictures_sha256", "images"),
        ("init_sha256", "initial weights"),
        ("start_sha256", "initial weights"),
    ):
        lines.append(f"SHA-256 of the {name}: {training[key]}" if training.get(key) else "")
    return lines


def _source(source: Mapping[str, Any]) -> str:
    """An auxiliary source: what it is, and how many of its galaxies have which label."""
    about = f", {source['about']}" if source.get("about") else ""
    text = f"{source['galaxies']} further galaxies of {source['name']}{about}. Labels: "
    text += "; ".join(_target(each) for each in source["targets"])
    if left_out := source["in_validation_or_test"]:
        text += f". Left out, since they are in the validation or test part: {left_out}"
    return text


def _target(target: Mapping[str, Any]) -> str:
    """A kind of label of an auxiliary source, with its column and labels where the bundle names them."""
    column = f"`{target['column']}`" if target.get("column") else target["kind"]
    if target.get("labels"):
        column += f" ({', '.join(target['labels'])})"
    text = _TARGETS.get(target["kind"], "{column}").format(column=column)
    return f"{text} ({counted(target['galaxies'], 'galaxy', 'galaxies')})"


def _auxiliary(training: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Auxiliary label sources; older bundles call them `foreign`, with other keys."""
    older = [
        {**source, "targets": [{"kind": each["kind"], "galaxies": each["told"]} for each in source["tells"]]}
        for source in training.get("foreign", ())
    ]
    return [*training.get("auxiliary", ()), *older]


def _scores(figures: Mapping[str, Any]) -> list[str]:
    """Paragraphs, lists and tables."""
    parts = []
    if test := figures.get("test"):
        about = test.get("about") or f"untouched test part, {test['galaxies']} galaxies"
        parts.append(f"Of {about}, {test['complete_rows']} with complete votes; 95 % bootstrap intervals.")
        baselines = {f"baseline, {name.replace('_', ' ')}": each for name, each in test.get("baselines", {}).items()}
        keys = ("rmse_complete_rows", "rmse_known_columns")
        parts.append(
            _table(
                ("", "RMSE, all columns of complete rows", "RMSE, known columns"),
                [
                    (name, *(interval_text(scores[key]) for key in keys))
                    for name, scores in {"this model": test, **baselines}.items()
                ],
            )
        )
        parts += _class_scores(test) + _coverage_scores(test.get("intervals"))
    lines = [f"validation, {name}: {_validation(scores)}" for name, scores in figures.get("validation", {}).items()]
    lines += [f"{name}: {value:.2g}" for name, value in figures.get("deviation", {}).items()]
    return [*parts, _list(lines)]


def _validation(scores: Mapping[str, Any]) -> str:
    if "val_rmse" in scores:
        return f"RMSE {scores['val_rmse']:.4f} in epoch {scores['epoch']}"
    # A model of the classes alone.
    accuracy, loss = scores["val_accuracy"], scores["val_loss"]
    return f"accuracy {accuracy:.4f}, cross-entropy {loss:.4f} in epoch {scores['epoch']}"


def _class_scores(test: Mapping[str, Any]) -> list[str]:
    parts = []
    if classes := test.get("classes"):
        parts += [
            f"Class of the {classes['galaxies']} galaxies whose votes decide it: accuracy "
            f"{interval_text(classes['accuracy'])}, macro F1 {interval_text(classes['macro_f1'])}"
            f"{_calibration_error(classes)}.",
            _table(
                ("class", "galaxies", "precision", "recall", "F1"),
                [
                    (name.replace("_", " "), each["galaxies"], *(decimals(each[key], 3) for key in _PER_CLASS))
                    for name, each in classes["per_class"].items()
                ],
            ),
        ]
    if every := test.get("classes_and_none"):
        left_out = (
            f" (without {every['undecided']} whose class the votes leave open; the others are weighted for them)"
            if every["undecided"]
            else ""
        )
        parts += [
            f"Class, or none, of {every['galaxies']} galaxies{left_out}: accuracy {interval_text(every['accuracy'])}, "
            f"macro F1 {interval_text(every['macro_f1'])}{_calibration_error(every)}. *Expected* is the sum of the "
            "probabilities.",
            _table(
                ("class", "true", "named", "expected", "precision", "recall"),
                [
                    (
                        name.replace("_", " "),
                        *(f"{each[key]:.0f}" for key in ("true", "named", "expected")),
                        *(decimals(each[key], 3) for key in _PER_CLASS[:2]),
                    )
                    for name, each in every["per_class"].items()
                ],
            ),
        ]
    return parts


def _calibration_error(scores: Mapping[str, Any]) -> str:
    reliability = scores.get("reliability")
    if not reliability:
        return ""
    return (
        f", calibration error of its probability {reliability['calibration_error']:.4f} (a perfectly calibrated model: "
        f"{reliability['if_perfect']['mean']:.4f})"
    )


def _coverage_scores(intervals: Mapping[str, Any] | None) -> list[str]:
    if not intervals:
        return []
    return [
        f"How often intervals hold the fractions of *all* answers to a question ({intervals['level']:.3g} promised), "
        "and that of the shown answer, the one on the path of the majority; 95 % Wilson intervals.",
        _coverage_table(intervals["per_question"]),
    ]


def _coverage_table(per_question: Mapping[str, Any]) -> str:
    rows = []
    for name, each in per_question.items():
        if each["galaxies"]:
            of_all, of_shown = coverage_cells(each)
            galaxies = each["galaxies"], each["shown"]["galaxies"]
            rows.append((name.replace("_", " "), galaxies[0], *of_all, galaxies[1], *of_shown))
    return _table(("question", "galaxies", "all answers", "width", "shown", "shown answer", "width"), rows)


def _samples(purity: Mapping[str, Any]) -> list[str]:
    """Purity and completeness of clean samples at three thresholds, as `evaluation.purity` measures them."""
    if not purity.get("clean"):
        return []
    rows = [
        (
            f"{each['name']} ({each['galaxies']} of {each['judged']})",
            "any" if not point["threshold"] else format(point["threshold"], "g"),
            point["selected"],
            share_text(point, "purity"),
            share_text(point, "completeness"),
        )
        for each in purity["clean"].values()
        for point in each["curve"]
    ]
    return [
        f"Clean samples (`clean_class`) of {purity['galaxies']} galaxies, {purity['no_class']} of which have no class "
        "and contaminate any sample, by the least probability of the class; 95 % Wilson intervals.",
        _table(("class", "least", "galaxies", "purity", "completeness"), rows),
    ]


def _calibration(bundle: Bundle) -> list[str]:
    calibration, lines = bundle.calibration, []
    if calibration and calibration.intervals:
        intervals = calibration.intervals
        lines.append(
            f"intervals that promise to hold the volunteers' fractions of all answers to a question for "
            f"{intervals.level:.3g} of galaxies like those that they were fitted on, for "
            f"{counted(intervals.n_views, 'view')}"
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
    figures = bundle.figures.get("calibration")
    if not figures:
        return [_list(lines)]
    lines.append(
        f"fitted on {figures['galaxies']} galaxies (part: {figures['part']}), "
        f"SHA-256 of the labels: {figures['labels_sha256']}"
    )
    left_out = figures["left_out"]
    if left_out == bundle.figures.get("test", {}).get("intervals", {}).get("per_question"):
        return [_list(lines)]  # shown above
    return [_list(lines), "Coverage of galaxies that were left out of the fit:", _coverage_table(left_out)]


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


def interval_text(interval: Mapping[str, float | None], name: str = "value", digits: int = 4) -> str:
    """`value (low…high)` of an evaluation's interval; a dash where there was nothing to score."""
    value, low, high = (interval[key] for key in (name, "low", "high"))
    if value is None or low is None:
        return decimals(value, digits)
    return f"{decimals(value, digits)} ({bounds_text(low, high, digits)})"


def coverage_cells(each: Mapping[str, Any], digits: int = 4) -> tuple[tuple[str, str], tuple[str, str]]:
    """How often a question's intervals hold, by `reliability.coverage`, and their mean width.

    Two pairs of cells: of all answers together, and of the shown one; dashes where there was no galaxy.
    """
    shown = each["shown"]
    return (
        (interval_text(each, "joint", digits), decimals(each["mean_width"], digits - 1)),
        (interval_text(shown, "coverage", digits), decimals(shown["mean_width"], digits - 1)),
    )


def share_text(point: Mapping[str, float | None], name: str) -> str:
    """`share (low…high)` of a point of `evaluation.purity`; a dash where nothing was selected."""
    return interval_text({key: point[f"{name}{end}"] for key, end in _BOUNDS.items()}, digits=2)
