"""`tuningfork study label-efficiency`: learning curves of random and ranked labelling orders (active learning)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import echo, print_json
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import ImagesOption, JsonOption, LabelsOption, ThreadsOption
from .screen import print_table
from .study import study_app

__all__ = ["label_efficiency"]


@study_app.command()
def label_efficiency(
    images: ImagesOption,
    labels: LabelsOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the study.")],
    init: Annotated[
        Path, typer.Option(help="Weights not trained on these labels, as for `train --init`; or a bundle's folder.")
    ],
    recipe: Annotated[str, typer.Option(help="Whose network, size, crop and split: a name, or a TOML file.")] = (
        "mobilenetv2"
    ),
    split: Annotated[
        Path | None, typer.Option(help="split.csv of a training; the test part is not used [default: the recipe's].")
    ] = None,
    number: Annotated[
        list[int] | None, typer.Option("-n", "--number", help="Labels to measure at, rising; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Repeats, each from other first galaxies.")] = 5,
    order: Annotated[list[str] | None, typer.Option(help="Orders to compare; may be repeated [default: all].")] = None,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure error against the number of labels, for random and ranked orders; needs `pip install '.[study]'`.

    Labels are hidden, revealed in batches by each order, and a softmax in each question is fitted on the features of
    a frozen network. The folder gets curves.csv, curves.json and curves.svg; errors are of the validation part.

    Examples:

        tuningfork study label-efficiency --images images --labels votes.csv --init mobilenet_v2.tflite -o labels

        tuningfork study label-efficiency --images images --labels votes.csv --init run/bundle -o labels \\
            --order random --order ranked -n 50 -n 100 -n 200 --seeds 10
    """
    must_exist([*images, labels, init, *([split] if split else [])])
    with (
        trouble("run the same command again: computed features are kept"),
        writing(output, [*images, labels, init, recipe, split], resumable=True, own=("features.npz", "curves.*")),
    ):
        with libraries("a study", "study"):
            import torch

            from ..experiments.learning_curves import CurveOptions, measure_learning_curves
            from ..training.recipe import load_recipe
        if threads:
            torch.set_num_threads(threads)
        default = CurveOptions()
        options = CurveOptions(tuple(number or default.numbers), seeds, tuple(order or default.orders), split)
        report, errors = measure_learning_curves(labels, images, output, load_recipe(recipe), init, options)
        if as_json:
            print_json({"folder": str(output), **report})
        else:
            _print_curves(report)
            echo(f"{output / 'curves.svg'}: the curves; numbers in curves.json and curves.csv")
        report_rows(errors)


def _print_curves(report: dict[str, Any]) -> None:
    from ..experiments.learning_curves import SCORES

    echo(
        f"{report['pool']} galaxies to label, judged on {report['judged_on']} others "
        f"({report['judged_complete_rows']} complete), {report['seeds']} seeds"
    )
    for name, title in SCORES.items():
        orders = list(report["orders"].values())
        rows = ((first["labels"], *(_cell(each[at][name]) for each in orders)) for at, first in enumerate(orders[0]))
        title = f"{title}; in brackets the labels that random order needs"
        print_table(("labels", *report["orders"]), rows, title=title)


def _cell(score: dict[str, Any]) -> str:
    if score["mean"] is None:
        return "–"
    spread = "" if score["deviation"] is None else f" ± {score['deviation']:.4f}"
    needs = score.get("random_labels")
    return f"{score['mean']:.4f}{spread}" + (f" ({needs:.0f})" if needs else "")
