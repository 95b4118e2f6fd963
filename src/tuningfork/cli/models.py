"""`tuningfork models`: the shipped models and their cards."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from .command_line import app
from .console import echo, print_json
from .errors import trouble
from .options import JsonOption
from .screen import screen

__all__ = ["models"]


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's whole card.")] = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure how fast each predicts here, in seconds.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models that come with tuningfork, or show one's card.

    Examples:

        tuningfork models

        tuningfork models default

        tuningfork models --speed

        tuningfork models --json
    """
    with trouble():
        from ..model.bundle import builtin_models, open_bundle
        from ..model.card import model_card, test_rmse

        if speed:
            from ..evaluation.speed import galaxies_per_second
            from ..model.model import load

        if name:
            bundle = open_bundle(name)
            if as_json:
                print_json(bundle.to_dict())
            else:
                echo(model_card(bundle), lines=True)
            return
        bundles = {each: open_bundle(each) for each in builtin_models()}
        rates = {each: galaxies_per_second(load(each)) for each in bundles} if speed else {}
        if as_json:
            speeds = {each: {"galaxies_per_second": rate} for each, rate in rates.items()}
            print_json([{**bundle.to_dict(), **speeds.get(each, {})} for each, bundle in bundles.items()])
            return
        table = Table(
            "model", "what it is", "RMSE", "MB", "networks", "views", *(["galaxies/s here"] if speed else []), "licence"
        )
        # On a narrow terminal the name stays whole, and the rest is folded.
        table.columns[0].no_wrap = True
        for column in table.columns[1:]:
            column.overflow = "fold"
        for each, bundle in bundles.items():
            size = sum(len(network.onnx) for network in bundle.networks) / 1e6
            table.add_row(
                each,
                bundle.title,
                test_rmse(bundle),
                f"{size:.1f}",
                str(len(bundle.networks)),
                str(bundle.n_views),
                *([f"{rates[each]:.0f}"] if speed else []),
                bundle.licence,
            )
        screen().print(table)
        echo("tuningfork models NAME shows a model's card")
