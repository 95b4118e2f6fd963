"""The page of a report: what its templates show, from the numbers, the figures and the study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...display.html import render
from ...similarity.map_page import map_script
from ...votes.tree import DecisionTree
from ..runs import Study
from .figures import figures, image_reader

__all__ = ["SECTIONS", "report_page"]

Numbers = Mapping[str, Any]
#: Each section's anchor, which is also its template's name, and its heading.
SECTIONS = (
    ("data", "The data"),
    ("networks-votes", "Networks: votes"),
    ("networks-classes", "Networks: classes"),
    ("errata", "Errata of the paper"),
    ("galaxies", "Galaxies of each class"),
    ("curves", "Learning curves"),
    ("fractions", "Predicted against true fractions"),
    ("questions", "Error of each question"),
    ("confusion", "Confusion matrices"),
    ("per-class", "Class by class"),
    ("purity", "Samples of each class"),
    ("ensembles", "Ensemble size against score"),
    ("network", "Inside a network"),
    ("map", "Map of the galaxies"),
    ("remarkable", "Best, worst and most uncertain"),
    ("tree", "Down the decision tree"),
    ("runs", "Every run"),
)
_TASKS = {"votes": "votes", "classes": "classes", "both": "votes and classes"}
_PARTS = ("train", "validation", "test")
#: Of each kind: a noun, our scores and the paper's with their headings, decimals of the paper's.
_TABLES: dict[str, dict[str, Any]] = {
    "votes": {
        "noun": "vote fractions",
        "scores": {"rmse_complete_rows": "RMSE, complete rows", "rmse_known_columns": "RMSE, known columns"},
        "printed": {"rmse": "paper: RMSE"},
        "published": "regression",
        "digits": 5,
    },
    "classes": {
        "noun": "classes",
        "scores": {
            "accuracy": "accuracy",
            "macro_precision": "macro precision",
            "macro_recall": "macro recall",
            "macro_f1": "macro F1",
        },
        "printed": {name: f"paper: {name}" for name in ("accuracy", "precision", "recall")} | {"f1": "paper: F1"},
        "published": "classification",
        "digits": 4,
    },
}


def report_page(numbers: Numbers, study: Study, network: Mapping[str, Any], galaxy_map: Mapping[str, Any]) -> str:
    """Render the report.

    Parameters
    ----------
    numbers : mapping
        What `gather` returns, with ``map`` of the drawn map.
    network, galaxy_map : mapping
        What `look_inside` and `map_galaxies` return to be shown.
    """
    ensembles = sum(bool(run["members"]) for run in numbers["runs"])
    names = {rule.key: rule.name for rule in study.tree.classes}
    values: dict[str, Any] = {
        "numbers": numbers,
        "tree": study.tree,
        "n_networks": len(numbers["runs"]) - ensembles,
        "n_ensembles": ensembles,
        "tables": {kind: _networks(numbers, kind) for kind in _TABLES},
        "examples": [(names[key], entries) for key, entries in numbers["galaxies"]["examples"].items()],
        "image": image_reader(study),
        "network": network,
        "map": galaxy_map,
        "left_out": _left_out(numbers),
        "study_options": json.dumps(numbers["study"].get("options")),
        **_data(numbers, study.tree),
        **_class_counts(numbers),
        **figures(numbers, study),
    }
    absent = {name: reason for name, reason in _absent(values).items() if reason}
    return str(
        render(
            "report.html",
            title=f"Galaxy morphologies: {study.folder.resolve().name}",
            sections=[(name, heading) for name, heading in SECTIONS if name not in absent],
            not_shown=[(heading, absent[name]) for name, heading in SECTIONS if name in absent],
            script=map_script() if galaxy_map else None,
            **values,
        )
    )


def _absent(values: Mapping[str, Any]) -> dict[str, str]:
    """Section → why it does not apply to this study; "" where it does."""
    numbers = values["numbers"]
    votes, classes, tree = numbers["votes"], numbers["classes"], values["tree"]
    no_votes = "" if votes else "no complete run predicts votes"
    no_classes = "" if classes else "no complete run predicts classes"
    network = values["network"]
    has_examples = any(entries for _, entries in values["examples"])
    has_ensembles = any(plot is not None for *_, plot in values["ensemble_curves"])
    remarkable = any(scores and scores["remarkable"] for scores in (votes, classes))
    return {
        "networks-votes": "" if values["tables"]["votes"]["rows"] else "no complete run predicts vote fractions",
        "networks-classes": ""
        if values["tables"]["classes"]["rows"]
        else no_classes or "no complete run predicts classes",
        "errata": "" if numbers["paper"]["same_classes"] else "its classes are not the paper's",
        "galaxies": "" if has_examples else f"no judged galaxy has a class of {tree.title}",
        "curves": "" if values["curves"] else "no run has curves",
        "fractions": no_votes,
        "questions": no_votes or ("" if values["question_errors"] else "no votes are known"),
        "confusion": "" if values["confusions"] else no_classes,
        "per-class": no_classes,
        "purity": no_classes or ("" if classes.get("purity") else "no samples were measured"),
        "ensembles": "" if has_ensembles else "fewer than two runs of the same galaxies",
        "network": "" if network.get("maps") or network.get("cam") else _sentence(network.get("absent")),
        "map": "" if values["map"] else _sentence(numbers["map"].get("absent")),
        "remarkable": "" if remarkable else "there are no complete runs",
        "tree": no_votes,
    }


def _sentence(text: Any) -> str:
    """A reason in the middle of a sentence."""
    reason = str(text or "nothing was drawn").rstrip(".")
    return reason[:1].lower() + reason[1:] if reason[1:2].islower() else reason


def _networks(numbers: Numbers, kind: str) -> dict[str, Any]:
    """The table of our networks beside the paper's."""
    table, paper = _TABLES[kind], numbers["paper"]
    rows = []
    for row in numbers["networks"][kind]:
        planned = [epochs for epochs in row["epochs_planned"] if isinstance(epochs, int)]
        printed = {"rmse": row["paper"]} if kind == "votes" else row["paper"]
        full = row["recipe_epochs"] or max(planned, default=None)
        rows.append({**row, "paper": printed, "ran": row["epochs"], "full": full})
    ours = {row["network"] for row in rows}
    return table | {
        "rows": rows,
        "names": {entry["network"]: entry["name"] for entry in (*paper["classification"], *paper["regression"])},
        "others": [entry for entry in paper[table["published"]] if entry["network"] not in ours],
        "train_galaxies": [row["train_galaxies"] for row in rows],
        "sizes": [row["size"] for row in rows],
        "judged": [row["galaxies"] for row in rows],
        "complete": [row.get("complete_rows") for row in rows],
    }


def _data(numbers: Numbers, tree: DecisionTree) -> dict[str, Any]:
    """Counts of the split, of the label table and of its classes, and the notes of all runs."""
    splits: dict[Any, dict[str, Any]] = {}
    for run in numbers["runs"]:
        counts = run.get("counts")
        if counts:
            galaxies, complete = counts.get("galaxies", {}), counts.get("complete_rows", {})
            row = [*(galaxies.get(part) for part in _PARTS), *(complete.get(part) for part in _PARTS)]
            key = (run.get("task"), *galaxies.values())
            near = counts.get("near_duplicates")
            splits.setdefault(key, {"task": _TASKS.get(run.get("task"), "?"), "counts": [*row, near]})
    study, paper = numbers["study"], numbers["paper"]
    counts = study.get("classes")
    published = {
        rule.name: entry["galaxies"]
        for rule, entry in zip(tree.classes, paper["classes"], strict=False)
        if rule.key in paper["per_class"]
    }
    return {
        "splits": list(splits.values()),
        "lint": _lint(study["lint"]) if isinstance(study.get("lint"), dict) else None,
        "class_counts": (
            [(name, count, published.get(name)) for name, count in counts.items()] if isinstance(counts, dict) else None
        ),
        "notes": list(dict.fromkeys(note for run in numbers["runs"] for note in run["notes"]))[:8],
    }


def _lint(lint: Mapping[str, Any]) -> dict[str, Any]:
    def total(key: str) -> Any:
        value = lint.get(f"{key}_count", lint.get(key))
        return len(value) if isinstance(value, list | Mapping) else value

    cells = lint.get("unknown_cells")
    if not (isinstance(cells, dict) and all(isinstance(value, int) for value in cells.values())):
        cells = None
    return {
        "file": lint.get("file", ""),
        "rows": lint.get("rows"),
        "complete_rows": lint.get("complete_rows"),
        "unknown_cells": None if cells is None else sum(cells.values()),
        **{key: total(key) for key in ("unusable_rows", "broken_sums", "several_classes")},
    }


def _class_counts(numbers: Numbers) -> dict[str, Any]:
    """The rarest and the commonest class of the judged part, and those that it lacks."""
    classes = list(numbers["classes"]["per_class"].values()) if numbers["classes"] else []
    judged = sorted((each for each in classes if each["galaxies"]), key=lambda each: each["galaxies"])
    return {
        "rarest": judged[0] if judged else None,
        "commonest": judged[-1] if judged else None,
        "n_classes": len(judged),
        "absent": [each["name"] for each in classes if not each["galaxies"]],
    }


def _left_out(numbers: Numbers) -> list[tuple[str, str]]:
    failures = numbers["study"].get("failures")
    left_out = [(each["name"], each["reason"]) for each in numbers["broken"]]
    if isinstance(failures, dict):
        left_out += [(name, f"failed: {reason}") for name, reason in failures.items()]
    return left_out
