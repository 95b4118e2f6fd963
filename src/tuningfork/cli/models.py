"""`tuningfork models`: the shipped models and their cards."""

from __future__ import annotations

from typing import Annotated

import typer

from .command_line import app
from .console import echo, print_json
from .errors import trouble
from .options import JsonOption
from .screen import print_table

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
        header = ("model", "what it is", "RMSE", "MB", "networks", "views", *(["galaxies/s here"] if speed else []))
        rows = []
        for each, bundle in bundles.items():
            size = sum(len(network.onnx) for network in bundle.networks) / 1e6
            facts = (test_rmse(bundle), f"{size:.1f}", len(bundle.networks), bundle.n_views)
            rates_here = [f"{rates[each]:.0f}"] if speed else []
            rows.append((each, bundle.title, *facts, *rates_here, bundle.licence))
        print_table((*header, "licence"), rows)
        echo("tuningfork models NAME shows a model's card")
