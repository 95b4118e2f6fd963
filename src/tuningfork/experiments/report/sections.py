"""The sections of a report that are texts and tables, from its numbers alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...display.html import Markup, integer, interval, number, paragraph, section, table, text
from ...votes.tree import DecisionTree

__all__ = ["about", "data", "errata_table", "networks", "per_class", "runs_list"]

Section = tuple[str, str, Markup]
Numbers = Mapping[str, Any]


def about(numbers: Numbers) -> list[Markup]:
    """What this page is, of what data, and what to beware of."""
    runs = numbers["runs"]
    trained = [run for run in runs if not run["members"]]
    ensembles = len(runs) - len(trained)
    joined = f" and {_count(ensembles, 'ensemble')}" if ensembles else ""
    parts = [
        paragraph(
            f"{_count(len(trained), 'trained network')}{joined} judged on the {numbers['part']} part of the data, "
            f"beside {numbers['paper']['reference']}. All numbers of this page are also in metrics.json beside it, "
            "unrounded."
        )
    ]
    if numbers["broken"]:
        parts.append(paragraph(f"{_count(len(numbers['broken']), 'run')} could not be used; see the last section."))
    return parts


def data(numbers: Numbers, tree: DecisionTree) -> Section:
    """Counts of the split, lint of the label table, sources of error."""
    runs, parts = [run for run in numbers["runs"] if run.get("counts")], []
    rows, seen = [], set()
    for run in runs:
        counts = run["counts"]
        galaxies, complete = counts.get("galaxies", {}), counts.get("complete_rows", {})
        key = (run.get("task"), *galaxies.values())
        if key not in seen:
            seen.add(key)
            rows.append(
                [
                    {"votes": "votes", "classes": "classes", "both": "votes and classes"}.get(run.get("task"), "?"),
                    *(integer(galaxies.get(part)) for part in ("train", "validation", "test")),
                    *(integer(complete.get(part)) for part in ("train", "validation", "test")),
                    integer(counts.get("near_duplicates")),
                ]
            )
    if rows:
        head = ["task", "train", "validation", "test", "complete: train", "validation", "test", "near duplicates"]
        parts.append(
            table(head, rows, "Galaxies in each part; complete: with all votes known. Only the training part teaches.")
        )
    study = numbers["study"]
    lint, classes = study.get("lint"), study.get("classes")
    if isinstance(lint, dict):
        parts.append(paragraph(_lint(lint)))
    else:
        parts.append(paragraph("No check of the label table was recorded: there is no study.json.", "missing"))
    if isinstance(classes, dict):
        paper = {rule.name: numbers["paper"]["per_class"].get(rule.key) for rule in tree.classes}
        published = {rule.name: entry for rule, entry in zip(tree.classes, _published_counts(numbers), strict=False)}
        parts.append(
            table(
                ["class", "here", "paper"],
                [
                    [name, integer(count), integer(published.get(name) if paper.get(name) else None)]
                    for name, count in classes.items()
                ],
                "Galaxies by class of the whole label table, by the paper's thresholds.",
            )
        )
    else:
        parts.append(paragraph("No counts of classes were recorded: there is no study.json.", "missing"))
    parts.append(_errors(numbers))
    return section("data", "The data", *parts)


def networks(numbers: Numbers, kind: str) -> Section:
    """Ours beside the paper's, the best first."""
    title = {"votes": "Networks: votes", "classes": "Networks: classes"}[kind]
    rows = numbers["networks"][kind]
    if not rows:
        what = {"votes": "vote fractions", "classes": "classes"}[kind]
        return section(f"networks-{kind}", title, paragraph(f"No whole run tells {what}.", "missing"))
    names = {
        "votes": {"rmse_complete_rows": "RMSE, complete rows", "rmse_known_columns": "RMSE, known columns"},
        "classes": {"accuracy": "accuracy", "macro_precision": "macro precision", "macro_recall": "macro recall",
                    "macro_f1": "macro F1"},
    }[kind]  # fmt: skip
    printed = ["rmse"] if kind == "votes" else ["accuracy", "precision", "recall", "f1"]
    theirs = {"rmse": "RMSE", "f1": "F1"}
    body, costs, digits = [], [], 5 if kind == "votes" else 4
    known = {entry["network"]: entry["name"] for entry in numbers["paper"]["classification"]}
    known |= {entry["network"]: entry["name"] for entry in numbers["paper"]["regression"]}
    for row in rows:
        paper = {"rmse": row["paper"]} if kind == "votes" else (row["paper"] or {})
        name = Markup(
            f"{text(known.get(row['network']) or _plus(row['network']))}<br><small>{text(row['group'])}</small>"
        )
        body.append(
            [
                name,
                *(_mean(row["scores"][score]) for score in names),
                *(number(paper.get(score), digits) for score in printed),
                _trained(row),
                integer(row["galaxies"]),
            ]
        )
        costs.append(
            [
                name,
                integer(row["size"]),
                row["initial_weights"],
                integer(row["train_galaxies"]),
                _time(row["seconds"]),
                _gigabytes(row["peak_memory_mb"]),
                integer(row["galaxies_per_second"]),
                _millions(row["parameters"]),
            ]
        )
    here = {row["network"] for row in rows}
    for entry in numbers["paper"]["regression" if kind == "votes" else "classification"]:
        if entry["network"] not in here:
            told = (number(entry[score], digits) for score in printed)
            body.append([entry["name"], *("–" for _ in names), *told, "not here", "–"])
    judged = sorted({row["galaxies"] for row in rows})
    caption = f"Judged on {_range(judged)} galaxies of the {numbers['part']} part"
    if kind == "votes":
        caption += f", {_range(sorted({row['complete_rows'] for row in rows}))} of them with complete votes"
    if len(judged) > 1:
        caption += "; rows judged on other galaxies cannot be compared"
    caption += (
        ". Below a score: its 95 % bootstrap interval over galaxies; ±: sample standard deviation over seeds. "
        "Fully: all epochs of the recipe, or until its patience ended; shortly: fewer."
    )
    head = ["network", *names.values(), *(f"paper: {theirs.get(score, score)}" for score in printed)]
    cost = ["network", "px", "began with", "trained on", "time", "memory", "galaxies/s", "parameters"]
    parts = [
        paragraph(_unlike(rows, numbers, kind)),
        table([*head, "trained", "judged on"], body, caption),
        table(
            cost, costs, "What ours cost. Time and galaxies/s: of the training, a mean over seeds; memory: the most."
        ),
    ]
    if kind == "votes":
        told = [f"{e['name']} {number(e['rmse'], 5)}" + (f" ({e['set']})" if e["set"] else "")
                for e in numbers["paper"]["anchors"]]  # fmt: skip
        parts.append(paragraph("Others on the same Kaggle task, trained on its full set: " + "; ".join(told) + "."))
    return section(f"networks-{kind}", title, *parts)


def errata_table(numbers: Numbers) -> Section:
    """What the paper's own numbers say against it."""
    return section(
        "errata",
        "Errata of the paper",
        paragraph("What the paper prints, beside what follows from its own confusion matrix and tables."),
        table(
            ["number", "printed", "found", "how"],
            [
                [row["what"], number(row["printed"], 5 if row["printed"] < 0.1 else 4),
                 number(row["found"], 5 if row["found"] < 0.1 else 4), row["note"]]
                for row in numbers["errata"]
            ],
            wrap=(3,),
        ),
        paragraph(
            "Its printed equation of the RMSE is also wrong: Kaggle takes the root of the mean of all squared errors, "
            "and so do we. Its networks' outputs break the sums of the decision tree; one split and no repeats were "
            "made, so its numbers have no error bars."
        ),
    )  # fmt: skip


def per_class(numbers: Numbers, tree: DecisionTree) -> Section:
    """Precision, recall, F1 of each class beside those that the paper's confusion matrix gives."""
    scores, title = numbers["classes"], "Class by class"
    if not scores:
        return section("per-class", title, paragraph("No whole run tells classes.", "missing"))
    paper = numbers["paper"]["per_class"] if numbers["paper"]["same_classes"] else {}
    rows = []
    for key, each in scores["per_class"].items():
        theirs = paper.get(key, {})
        rows.append(
            [
                each["name"],
                integer(each["galaxies"]),
                *(interval(each[name], 3) for name in ("precision", "recall", "f1")),
                _bounds(each["recall_wilson"]),
                integer(theirs.get("galaxies")),
                *(number(theirs.get(name), 3) for name in ("precision", "recall", "f1")),
                _bounds(theirs.get("recall_wilson")),
            ]
        )
    head = ["class", "galaxies", "precision", "recall", "F1", "recall, Wilson interval"]
    head += [f"paper: {name}" for name in ("galaxies", "precision", "recall", "F1", "recall, Wilson interval")]
    caption = (
        f"{scores['run']}, the best run by the validation part, on {integer(scores['galaxies'])} galaxies whose votes "
        "decide a class; 95 % bootstrap intervals. The paper's values are computed from its confusion matrix (B5)."
    )
    return section("per-class", title, table(head, rows, caption), paragraph(_few(scores["per_class"])))


def runs_list(numbers: Numbers) -> Section:
    """Every run with what a repeat would need; those that could not be used."""
    rows = []
    for run in numbers["runs"]:
        hashes = "; ".join(f"{key.removesuffix('_sha256')} {value[:12]}" for key, value in run["hashes"].items())
        versions = run.get("versions")
        told = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, dict) else ""
        rows.append(
            [
                run["name"],
                integer(run.get("seed")),
                f"{integer(run.get('epochs'))} of {integer(run.get('epochs_planned'))}",
                integer(run.get("best_epoch")),
                *(number(run["validation_score"][kind]) for kind in ("votes", "classes")),
                _time(run.get("seconds")),
                _gigabytes(run.get("peak_memory_mb")),
                run.get("device"),
                hashes or "–",
                told or "–",
                "; ".join(run["members"]) or "–",
                "; ".join(run["notes"]) or "–",
            ]
        )
    head = ["run", "seed", "epochs", "best epoch", "validation RMSE", "validation −log p", "time", "memory", "device",
            "SHA-256, first 12 digits", "versions", "members", "notes"]  # fmt: skip
    parts = [
        table(head, rows, "All whole runs. metrics.json has their recipes and whole hashes.", wrap=(9, 10, 11, 12))
    ]
    study = numbers["study"]
    versions, options = study.get("versions"), study.get("options")
    if options:
        parts.append(paragraph(Markup(f"The study's options: <code>{text(json.dumps(options))}</code>")))
    if isinstance(versions, dict):
        parts.append(paragraph("The study's versions: " + ", ".join(f"{k} {v}" for k, v in versions.items()) + "."))
    failures = study.get("failures")
    broken = [[each["name"], each["reason"]] for each in numbers["broken"]]
    if isinstance(failures, dict):
        broken += [[name, f"failed: {reason}"] for name, reason in failures.items()]
    if broken:
        parts.append(table(["left out", "why"], broken, wrap=(1,)))
    else:
        parts.append(paragraph("No run was left out."))
    return section("runs", "Every run", *parts)


def _lint(lint: Mapping[str, Any]) -> str:
    def many(key: str) -> str:
        counted = lint.get(f"{key}_count")
        value = lint.get(key)
        return integer(
            counted if counted is not None else len(value) if isinstance(value, Sequence | Mapping) else None
        )

    unknown = lint.get("unknown_cells")
    cells = None
    if isinstance(unknown, dict) and all(isinstance(value, int) for value in unknown.values()):
        cells = sum(unknown.values())
    return (
        f"The label table {lint.get('file', '')}: {integer(lint.get('rows'))} rows, "
        f"{integer(lint.get('complete_rows'))} with all votes, {integer(cells)} unknown cells, "
        f"{many('unusable_rows')} unusable rows, {many('broken_sums')} broken sums, "
        f"{many('several_classes')} rows that fit several classes."
    )


def _published_counts(numbers: Numbers) -> list[int]:
    return [entry["galaxies"] for entry in numbers["paper"]["classes"]]


def _errors(numbers: Numbers) -> Markup:
    lines = [
        "The labels are votes of some forty people a galaxy: they scatter by themselves (see the noise floors).",
        "The intervals are over galaxies of this one split; the spread is over seeds. Neither holds for other surveys.",
        "The best run of several is that of the validation part, so the choice does not flatter its test scores."
        if numbers["part"] == "test"
        else "This part chose the epochs and the best run: its scores are flattered.",
    ]
    votes = numbers["votes"]
    if votes and votes["complete_rows"] < votes["galaxies"]:
        lines.append(
            f"Only {integer(votes['complete_rows'])} of {integer(votes['galaxies'])} judged galaxies have all votes; "
            "Kaggle's score is taken on those."
        )
    lines += list(dict.fromkeys(note for run in numbers["runs"] for note in run["notes"]))[:8]
    return Markup(f"<h3>Sources of error</h3><ul>{''.join(f'<li>{text(line)}</li>' for line in lines)}</ul>")


def _unlike(rows: Sequence[Numbers], numbers: Numbers, kind: str) -> str:
    galaxies = sorted({row["train_galaxies"] for row in rows if row["train_galaxies"]})
    sizes = sorted({row["size"] for row in rows if row["size"]})
    ours = f"{_range(galaxies)} galaxies at {_range(sizes)} px"
    paper = numbers["paper"]
    theirs = (
        f"{integer(paper['galaxies'])} at {paper['size']} px (B4 to B7: 256 px), scored by Kaggle on its own pictures"
        if kind == "votes"
        else f"{integer(paper['class_galaxies'])} (nine tenths of them to train on) at 256 px"
    )
    return (
        f"Ours were trained on {ours}; the paper's on {theirs}. The two columns are different experiments: compare "
        "the order of the networks rather than the values."
    )


def _few(per_class: Mapping[str, Any]) -> str:
    there = [each for each in per_class.values() if each["galaxies"]]
    absent = [each["name"] for each in per_class.values() if not each["galaxies"]]
    out = ""
    if there:
        fewest, most = (pick(there, key=lambda each: each["galaxies"]) for pick in (min, max))
        low, high = (fewest["recall_wilson"][key] for key in ("low", "high"))
        width = most["recall_wilson"]["high"] - most["recall_wilson"]["low"]
        out = (
            f"Few galaxies make a wide interval: of class “{fewest['name']}” only {fewest['galaxies']} "
            f"{'is' if fewest['galaxies'] == 1 else 'are'} judged, so "
            f"its recall may lie anywhere in {low:.2f}…{high:.2f}, a width of {high - low:.2f}; with the "
            f"{most['galaxies']} of “{most['name']}” the width is {width:.2f}. One galaxy more or less of the rarest "
            f"class moves the macro recall by {1 / fewest['galaxies'] / len(there):.3f}. The bootstrap is blind to "
            "this where all galaxies of a class were right, or all wrong; Wilson's interval is not."
        )
    if absent:
        out += f" Not in this part at all, and so in no average: {', '.join(absent)}."
    return out


def _mean(score: Numbers) -> Markup:
    if score["mean"] is None:
        return Markup("–")
    spread = "" if score["spread"] is None else f" ± {score['spread']:.4f} ({score['runs']} seeds)"
    bounds = "" if score["low"] is None else f"<small>{score['low']:.4f}…{score['high']:.4f}</small>"
    return Markup(f"{score['mean']:.4f}{spread}{bounds}")


def _trained(row: Numbers) -> Markup:
    epochs = [e for e in row["epochs"] if isinstance(e, int)]
    full = row["recipe_epochs"] or max((e for e in row["epochs_planned"] if isinstance(e, int)), default=None)
    told = f"{_range(sorted(set(epochs)))} of {integer(full)} epochs" if epochs else ""
    if row["ensemble"]:
        told = "its members"
    return Markup(f"{text(row['trained'] or '?')}<small>{text(told)}</small>")


def _bounds(score: Numbers | None) -> str:
    return "–" if not score or score["low"] is None else f"{score['low']:.2f}…{score['high']:.2f}"


def _range(values: Sequence[Any]) -> str:
    if not values:
        return "?"
    return integer(values[0]) if values[0] == values[-1] else f"{integer(values[0])} to {integer(values[-1])}"


def _plus(network: str) -> str:
    return network.replace("+", " + ") or "?"


def _time(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return "–"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.1f} min"


def _gigabytes(megabytes: Any) -> str:
    return f"{megabytes / 1000:.1f} GB" if isinstance(megabytes, int | float) else "–"


def _millions(count: Any) -> str:
    return f"{count / 1e6:.1f} M" if isinstance(count, int | float) else "–"


def _count(number_: int, noun: str) -> str:
    return f"{number_} {noun}{'' if number_ == 1 else 's'}"
