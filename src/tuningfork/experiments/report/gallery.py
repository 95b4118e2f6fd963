"""The sections of a report that are pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...display import plots as figures
from ...display.html import Markup, figure, grid, integer, number, paragraph, section, text
from ...images.encode import jpeg, thumbnail
from ..runs import Run, Study

__all__ = [
    "confusions",
    "ensembles",
    "examples",
    "fractions",
    "learning_curves",
    "mosaics",
    "questions",
    "tree",
]

Section = tuple[str, str, Markup]
Numbers = Mapping[str, Any]
_CURVES = (
    ("votes", "train_loss", "training loss", "Votes: loss of the training part"),
    ("votes", "val_rmse", "RMSE", "Votes: RMSE of the validation part"),
    ("classes", "train_loss", "training loss", "Classes: loss of the training part"),
    ("classes", "val_loss", "cross-entropy", "Classes: cross-entropy of the validation part"),
    ("classes", "val_accuracy", "accuracy", "Classes: accuracy of the validation part"),
)


def examples(numbers: Numbers, study: Study) -> Section:
    """A few galaxies of each class."""
    parts = [
        paragraph(
            "Drawn at random from the validation and test parts; the class is what the volunteers' votes give by the "
            "paper's thresholds. Each picture is the central part that the networks see."
        )
    ]
    names = {rule.key: rule.name for rule in study.tree.classes}
    crop = _crop(study)
    for key, entries in numbers["galaxies"]["examples"].items():
        shown = [
            _galaxy(entry, crop, f"Galaxy {entry['id']}, {names[key]}", Markup(text(entry["id"]))) for entry in entries
        ]
        parts.append(Markup(f"<h3>{text(names[key])}</h3>"))
        parts.append(grid(shown, "mosaic") if shown else paragraph("No galaxy of this class was judged.", "missing"))
    if not names:
        parts.append(paragraph(f"The tree {study.tree.name} has no classes.", "missing"))
    return section("galaxies", "Galaxies of each class", *parts)


def learning_curves(numbers: Numbers, study: Study) -> Section:
    """Losses and scores of every epoch, all members."""
    groups = {run.name: run.group for run in study.everything}
    drawn = []
    for task, column, label, caption in _CURVES:
        runs = [run for run in numbers["runs"] if run["curves"] and run.get("task") in (task, "both")]
        if task == "classes" and column == "train_loss":
            runs = [run for run in runs if run.get("task") != "both"]  # it is drawn among the votes
        content = figures.curves(runs, column, label, [groups[run["name"]] for run in runs])
        count = sum(any(column in row for row in run["curves"]) for run in runs)
        drawn.append(figure(content, f"{caption} of {count} runs over their epochs.", caption))
    if not any(drawn):
        return section("curves", "Learning curves", paragraph("No run has curves.", "missing"))
    told = "One line a run; seeds of one recipe have the same colour and dashes."
    return section("curves", "Learning curves", paragraph(told), grid(drawn))


def fractions(numbers: Numbers, study: Study) -> Section:
    """Predicted against true fractions, one panel a question."""
    title, scores = "Predicted against true fractions", numbers["votes"]
    if not scores:
        return section("fractions", title, paragraph("No whole run tells votes.", "missing"))
    run = _named(study, scores["run"])
    assert run.predicted is not None
    rows = run.rows(numbers["part"])
    drawn = []
    for question in study.tree.questions:
        known = scores["rmse_per_question"][question.key]["galaxies"]
        if not known:
            drawn.append(paragraph(f"No votes are known for: {question.text}", "missing"))
            continue
        content = figures.predicted_against_true(
            run.predicted[rows], run.known[rows], study.tree, question.key, scores["volunteers"]
        )
        alt = f"The model's fractions over the volunteers' for the question: {question.text} {known} galaxies."
        drawn.append(figure(content, alt, f"{question.text} {integer(known)} galaxies."))
    told = (
        f"{run.name}, the best run by the validation part. Each point is one answer of one galaxy, as a cumulative "
        f"fraction; at most {figures.MAX_POINTS:,} galaxies are drawn. Grey: one standard deviation of the share of "
        f"{scores['volunteers']} votes, √(p(1 − p)/{scores['volunteers']}), about the number who looked at each galaxy "
        "(Willett et al. 2013, MNRAS 435, 2835): even a perfect model would leave about a third of the points "
        "outside."
    )
    return section("fractions", title, paragraph(told), grid(drawn, "grid three"))


def questions(numbers: Numbers) -> Section:
    """RMSE of each question beside the noise floor."""
    title, scores = "Error of each question", numbers["votes"]
    if not scores:
        return section("questions", title, paragraph("No whole run tells votes.", "missing"))
    drawn = figures.question_errors(scores["rmse_per_question"])
    floor, value = scores["noise_floor_known_columns"], scores["rmse_known_columns"]["value"]
    told = (
        f"{scores['run']}. Over all known columns the RMSE is {number(value)}, and the noise floor {number(floor)}: "
        f"what a perfect prediction would have against {scores['volunteers']} independent votes a galaxy. Kaggle's "
        "fractions are weighted by the volunteers' consistency, so the floor is a guide, not a bound."
    )
    alt = "Bars of the RMSE of each question with its interval, and a diamond at its noise floor."
    return section("questions", title, paragraph(told), figure(drawn, alt, kind="wide"))


def confusions(numbers: Numbers, study: Study) -> Section:
    """Our confusion matrix and the paper's, in counts and shares."""
    title, scores = "Confusion matrices", numbers["classes"]
    if not scores:
        return section("confusion", title, paragraph("No whole run tells classes.", "missing"))
    names = [rule.name for rule in study.tree.classes]
    sources = [("ours", scores["run"], scores["confusion_matrix"])]
    if numbers["paper"]["same_classes"]:
        sources.append(("paper", "EfficientNet-B5 of the paper", numbers["paper"]["confusion_matrix"]))
    drawn = []
    for who, source, matrix in sources:
        for shares in (False, True):
            what = "share of the true class" if shares else "counts"
            content = figures.confusion(matrix, names, f"{who}, {what}", shares=shares)
            drawn.append(figure(content, f"Confusion matrix of {source}, {what}.", f"{source}: {what}"))
    told = "Rows: the true class, by the volunteers' votes. Columns: the predicted class. Colour: share of the row."
    return section("confusion", title, paragraph(told), grid(drawn, "grid two"))


def ensembles(numbers: Numbers) -> Section:
    """Score over the number of runs averaged."""
    labels = {
        "votes": {"rmse_complete_rows": "RMSE, complete rows", "rmse_known_columns": "RMSE, known columns"},
        "classes": {"accuracy": "accuracy", "macro_f1": "macro F1"},
    }
    drawn, parts = [], []
    for kind, names in labels.items():
        curve = numbers[kind]["ensemble_curve"] if numbers[kind] else []
        if len(curve) < 2:
            parts.append(paragraph(f"{kind.capitalize()}: fewer than two runs of the same galaxies.", "missing"))
            continue
        order = ", ".join(row["added"] for row in curve)
        drawn.append(
            figure(
                figures.ensemble_size(curve, names),
                f"Scores of the {kind} of the average of 1 to {len(curve)} runs.",
                f"{kind.capitalize()}: averaged in this order: {order}.",
            )
        )
    told = "The predictions of the k best runs by the validation part, averaged; bars are 95 % bootstrap intervals."
    return section("ensembles", "Ensemble size against score", paragraph(told), *parts, grid(drawn))


def mosaics(numbers: Numbers, study: Study) -> Section:
    """The best, the worst and the most uncertain predictions."""
    words = {"best": "Best", "worst": "Worst", "uncertain": "Most uncertain"}
    parts: list[Markup] = []
    for kind in ("classes", "votes"):
        scores = numbers[kind]
        if not scores or not scores["remarkable"]:
            parts.append(paragraph(f"No whole run tells {kind}.", "missing"))
            continue
        crop = _crop(study, scores["run"])
        parts.append(paragraph(_chosen(kind, scores)))
        for which, entries in scores["remarkable"].items():
            parts.append(Markup(f"<h3>{words[which]}, {kind}</h3>"))
            shown = [_galaxy(e, crop, f"Galaxy {e['id']}", _told(kind, e)) for e in entries]
            parts.append(grid(shown, "mosaic") if shown else paragraph("There is none.", "missing"))
    return section("remarkable", "Best, worst and most uncertain", *parts)


def tree(numbers: Numbers, study: Study) -> Section:
    """The decision tree with the volunteers' flow beside the model's."""
    title, scores = "Down the decision tree", numbers["votes"]
    if not scores:
        return section("tree", title, paragraph("No whole run tells votes.", "missing"))
    flow = scores["flow"]
    most = max(each["galaxies"] for each in flow["answers"].values())
    which = "with complete votes" if flow["complete_rows_only"] else "whose votes are known"
    told = (
        f"{scores['run']}: of all votes, the share that goes through each answer, a mean over {integer(most)} "
        f"galaxies {which}. A question stands below the answer that leads to it; the answers of a question share what "
        "came there."
    )
    content = figures.decision_tree(flow, study.tree)
    alt = "The decision tree as indented bars: for each answer the volunteers' mean fraction and the model's."
    return section("tree", title, paragraph(told), figure(content, alt, kind="wide"))


def _galaxy(entry: Numbers, crop: float, alt: str, caption: Markup) -> Markup:
    small = thumbnail(entry["path"], crop)
    if small is None:
        return Markup(f"<figure><p class='missing'>no picture</p><figcaption>{caption}</figcaption></figure>")
    return figure(jpeg(small), alt, caption)


def _told(kind: str, entry: Numbers) -> Markup:
    lines = [f"<b>{text(entry['id'])}</b>"]
    if kind == "classes":
        lines += [f"true: {text(entry['true'])}", f"model: {text(entry['predicted'])} {entry['probability']:.2f}"]
        lines.append(f"entropy {entry['entropy_bits']:.2f} bit")
    else:
        lines.append(f"RMSE {entry['rmse']:.3f}")
        question = f"{entry['question'].replace('_', ' ')}: {entry['answer']}"
        lines.append(f"{text(question)}: volunteers {entry['volunteers']:.2f}, model {entry['model']:.2f}")
        lines.append(
            f"spread {entry['spread']:.3f}" if "spread" in entry else f"entropy {entry['entropy_bits']:.2f} bit"
        )
    return Markup("<br>".join(lines))


def _chosen(kind: str, scores: Numbers) -> str:
    if kind == "classes":
        return (
            f"Classes, {scores['run']}: best are the surest of the right ones, worst the surest of the wrong ones, "
            "uncertain those with the highest entropy of the class probabilities."
        )
    spread = any("spread" in entry for entry in scores["remarkable"]["uncertain"])
    how = "the runs' predictions differ most" if spread else "the first question's fractions have the highest entropy"
    return (
        f"Votes, {scores['run']}: best and worst by the RMSE over a galaxy's known columns, with the answer that is "
        f"furthest off; uncertain where {how}."
    )


def _named(study: Study, name: str) -> Run:
    return next(run for run in study.everything if run.name == name)


def _crop(study: Study, name: str = "") -> float:
    for run in study.runs:
        crop = run.recipe.get("crop")
        if (not name or run.name == name) and isinstance(crop, int | float) and 0 < crop <= 1:
            return float(crop)
    return 0.5
