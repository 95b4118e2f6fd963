"""`tuningfork study labour`: how many labels are enough, and whether an order saves some."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from .options import JsonOption, echo, failed, must_exist, print_json, report_rows, screen, trouble, writing
from .study import study_app

__all__ = ["labour"]


@study_app.command()
def labour(
    images: Annotated[list[Path], typer.Option("--images", help="Folder of pictures named by ID; may be repeated.")],
    labels: Annotated[Path, typer.Option("--labels", help="Table of votes: CSV, Parquet, FITS, VOTable or ECSV.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the study.")],
    init: Annotated[
        Path, typer.Option(help="Weights that never saw these labels, as for `train --init`; or a bundle's folder.")
    ],
    recipe: Annotated[str, typer.Option(help="Whose network, size, crop and split: a name, or a TOML file.")] = (
        "mobilenetv2"
    ),
    split: Annotated[
        Path | None, typer.Option(help="split.csv of a training; the test part is left alone [default: the recipe's].")
    ] = None,
    number: Annotated[
        list[int] | None, typer.Option("-n", "--number", help="Labels to measure at, rising; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Repeats, each from other first galaxies.")] = 5,
    order: Annotated[list[str] | None, typer.Option(help="Orders to compare; may be repeated [default: all].")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure error against the number of labels, for random and ranked orders; needs `tuningfork[study]`.

    Labels are hidden, revealed in batches by each order, and a softmax in each question is fitted on the features of
    a frozen network. The folder gets curves.csv, labour.json and labour.svg; the validation part judges.

    Examples:

        tuningfork study labour --images pictures --labels votes.csv --init mobilenet_v2.tflite -o labour

        tuningfork study labour --images pictures --labels votes.csv --init run/bundle -o labour \\
            --order random --order ranked -n 50 -n 100 -n 200 --seeds 10
    """
    must_exist([*images, labels, init, *([split] if split else [])])
    inputs = [*images, labels, init, split]
    with trouble("the same command keeps the features"), writing(output, inputs, resumable=True):
        try:
            import torch

            from ..experiments.learning_curves import labour as measure
            from ..training.recipe import load_recipe
        except ImportError as error:
            raise failed(f"a study needs more libraries ({error.name}): pip install 'tuningfork[study]'") from None
        if threads:
            torch.set_num_threads(threads)
        told, data = measure(
            labels,
            images,
            output,
            load_recipe(recipe),
            init,
            split=split,
            seeds=seeds,
            **({"numbers": number} if number else {}),
            **({"orders": order} if order else {}),
            say=lambda line: echo(line, err=True),
        )
        if as_json:
            print_json({"folder": str(output), **told})
        else:
            _show(told)
            echo(f"{output / 'labour.svg'}: the curves; numbers in labour.json and curves.csv")
        report_rows(data.errors)


def _show(told: dict[str, Any]) -> None:
    from ..experiments.learning_curves import SCORES

    echo(
        f"{told['pool']} galaxies to label, judged on {told['judged_on']} others "
        f"({told['judged_complete_rows']} complete), {told['seeds']} seeds"
    )
    for name, title in SCORES.items():
        table = Table("labels", *told["orders"], title=f"{title}; in brackets the labels that random order needs")
        rows = list(told["orders"].values())
        for at, first in enumerate(rows[0]):
            table.add_row(str(first["labels"]), *(_cell(each[at][name]) for each in rows))
        screen().print(table)


def _cell(score: dict[str, Any]) -> str:
    if score["mean"] is None:
        return "–"
    spread = "" if score["deviation"] is None else f" ± {score['deviation']:.4f}"
    needs = score.get("random_labels")
    return f"{score['mean']:.4f}{spread}" + (f" ({needs:.0f})" if needs else "")
