"""`tuningfork bench`: how fast this machine does our work, and how fast it could."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .base import JsonOption, app, must_exist, print_json, say, screen, trouble

if TYPE_CHECKING:
    from ..bench.report import Report, Spread

__all__ = ["bench"]


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "fast",
    images: Annotated[
        Path | None, typer.Option(help="Folder whose pictures are used, at most 512.  [default: simulated galaxies]")
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Files that a whole run goes through; the peer's, a quarter.")
    ] = 4096,
    repeats: Annotated[int, typer.Option(min=1, help="Of each measurement, in turn.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.05, help="What each limit is measured for in each repeat.")] = 3.0,
    views: Annotated[
        int | None, typer.Option(help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's].")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of an hour of this machine, in your money.")] = None,
    peer: Annotated[bool, typer.Option("--peer/--no-peer", help="Measure the peer's loop too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast this machine predicts, how fast it could, and how fast the usual PyTorch loop is.

    In one run, in turn: decoding alone, the network alone, `tuningfork predict` from files to Parquet, and the same
    job with a DataLoader, timm and Lightning (needs `tuningfork[train]`). The two limits share the cores: more than
    1 / (1/decoding + 1/network) is not possible.

    Examples:

        tuningfork bench

        tuningfork bench --images cutouts/ --model default --price 0.40

        tuningfork bench --rows 20000 --repeats 5 --json > bench.json
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    must_exist([images] if images else [])
    with trouble():
        from ..bench.run import bench as measure

        report = measure(
            model, images, rows=rows, repeats=repeats, seconds=seconds, views=views, price=price, peer=peer, say=say
        )
        if as_json:
            print_json(report.to_dict())
        else:
            _show(report)


def _show(report: Report) -> None:
    figures, console = report.figures, screen()
    console.print(_about(report.machine), highlight=False)
    source = report.settings["images"] or "simulated"
    console.print(
        f"model {report.settings['model']}, {report.settings['views']} view(s), {report.settings['rows']} files of "
        f"{report.settings['distinct']} pictures ({source}), {report.settings['repeats']} repeats; "
        "median (least…largest)",
        highlight=False,
    )
    table = Table("", "pictures/s", "with start-up", "start-up, s", "peak memory, MB")
    table.add_row(f"(a) decoding alone, {report.machine['cores']} processes", _rate(figures["decode"]), "", "", "")
    table.add_row(
        f"(b) network alone, batches of {report.settings['network_batch']}", _rate(figures["network"]), "", "", ""
    )
    table.add_row("    bound of both: 1 / (1/a + 1/b)", _rate(figures["bound"]), "", "", "")
    for who, name in (("ours", "(c) tuningfork, files to Parquet"), ("peer", "(d) DataLoader, timm, Lightning, CSV")):
        if f"{who}_steady" in figures:
            told = [figures.get(f"{who}_{what}") for what in ("steady", "rate", "start_up", "peak_mb")]
            table.add_row(name, _rate(told[0]), _rate(told[1]), _spread(told[2], ".1f"), _spread(told[3], ".0f"))
    console.print(table)
    console.print(f"(c) / bound: {_spread(figures['of_bound'], '.2f')}", highlight=False)
    if report.left_out:
        console.print(f"(d) left out: {report.left_out}", highlight=False)
    else:
        console.print(f"(c) / (d): {_spread(figures['over_peer'], '.2f')}; without start-up. The peer's weights are "
                      "random: they do not change its speed", highlight=False)  # fmt: skip
    console.print(_costs(report))
    _disturbed(report.others, report.machine)


def _about(machine: Any) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']} GB"
    return f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}\n{versions}"


def _disturbed(others: float | None, machine: Any) -> None:
    if others is not None and others > 0.05:
        say(f"note: other programs took {others:.0%} of the cores' time meanwhile; measure again on a quiet machine")
    if not machine["bytecode"]:
        say("note: Python may not write compiled modules here (PYTHONDONTWRITEBYTECODE): every start is slower for it")


def _costs(report: Report) -> Table:
    table = Table("galaxies", "by", "hours", "core hours", *(["price"] if report.price is not None else []))
    names = {"ours": "tuningfork", "peer": "the peer's loop"}
    for who, rows in report.costs.items():
        for row in rows:
            cells = [f"{row['galaxies']:,}", names[who], f"{row['hours']:,.1f}", f"{row['core_hours']:,.1f}"]
            table.add_row(*cells, *([] if row["price"] is None else [f"{row['price']:,.2f}"]))
    return table


def _rate(spread: Spread | None) -> str:
    return _spread(spread, ",.0f")


def _spread(spread: Spread | None, form: str) -> str:
    if spread is None:
        return "–"
    return f"{spread.median:{form}} ({spread.low:{form}}…{spread.high:{form}})"
