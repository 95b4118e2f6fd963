"""A model's card in Markdown, written from its bundle alone, so that it cannot go stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .bundle import Bundle

__all__ = ["interval_text", "model_card"]


def model_card(bundle: Bundle) -> str:
    """What the model is, learned from, scores, fails at, and how it was made."""
    megabytes = sum(len(network.onnx) for network in bundle.networks) / 1e6
    parts = [
        f"# {bundle.name}: {bundle.title}",
        bundle.description,
        f"{len(bundle.networks)} network(s), {megabytes:.1f} MB, {bundle.views} view(s) averaged. "
        f"Licence: {bundle.licence}. SHA-256 {bundle.sha256}.",
        _section("Networks", [_network(network) for network in bundle.networks]),
        _section("Learned from", _training(bundle)),
        _section("Scores", _scores(bundle.figures)),
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
    return f"{network.architecture}: central {p.crop:g} of the frame at {p.size}×{p.size} px ({p.filter}, antialiased)"


def _training(bundle: Bundle) -> list[str]:
    training, lines = bundle.training, []
    counts: Mapping[str, Any] = training.get("counts", {})
    if "galaxies" in counts:
        whole, complete = counts["galaxies"], counts["complete_rows"]
        lines.append(
            "galaxies (with complete votes): "
            + ", ".join(f"{part} {whole[part]} ({complete[part]})" for part in whole)
            + f"; near-identical pictures: {counts['near_duplicates']}"
        )
        lines.append(
            "classes of the training part: "
            + ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in counts["train_classes"].items())
        )
    lines += [training.get("selection", "")]
    for key, name in (("labels_sha256", "labels"), ("pictures_sha256", "pictures"), ("start_sha256", "first weights")):
        lines.append(f"SHA-256 of the {name}: {training[key]}" if training.get(key) else "")
    return lines


def _scores(figures: Mapping[str, Any]) -> list[str]:
    lines = []
    test = figures.get("test")
    if test:
        lines.append(
            f"untouched test part, {test['galaxies']} galaxies, {test['complete_rows']} with complete votes "
            "(95 % bootstrap intervals):"
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
    for name, scores in figures.get("validation", {}).items():
        told = [f"RMSE {scores['val_rmse']:.4f}"] if "val_rmse" in scores else []
        if not told:  # a model of the classes alone
            told = [f"accuracy {scores['val_accuracy']:.4f}", f"cross-entropy {scores['val_loss']:.4f}"]
        lines.append(f"validation, {name}: {', '.join(told)} in epoch {scores['epoch']}")
    for name, value in figures.get("deviation", {}).items():
        lines.append(f"{name}: {value:.2g}")
    return lines


def interval_text(interval: Mapping[str, float | None]) -> str:
    """`value (low…high)` of an evaluation's interval; a dash where there was nothing to score."""
    if interval["value"] is None:
        return "–"
    if interval["low"] is None:
        return f"{interval['value']:.4f}"
    return f"{interval['value']:.4f} ({interval['low']:.4f}…{interval['high']:.4f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
