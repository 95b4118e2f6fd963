"""`tuningfork bench`: how fast this machine does our work, and how fast it could."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from .options import JsonOption, app, libraries, must_exist, print_json, say, screen, trouble
from .predict import Precision

if TYPE_CHECKING:
    from ..bench.report import Report, Spread

__all__ = ["bench"]

_TRAIN, _OTHER = "Training", "What else is measured, instead"


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
    seconds: Annotated[
        float, typer.Option(min=0.05, help="What each limit, or training, is measured for in each repeat.")
    ] = 3.0,
    views: Annotated[
        int | None, typer.Option(help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's].")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of our networks; the peer's run in float32.")] = Precision.f32,
    price: Annotated[float | None, typer.Option(min=0, help="Of an hour of this machine, in your money.")] = None,
    peer: Annotated[bool, typer.Option("--peer/--no-peer", help="Measure the peer's loop too.")] = True,
    train: Annotated[
        bool, typer.Option("--train", help="Training beside the plain loop.", rich_help_panel=_TRAIN)
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="A shipped recipe's name, or a TOML file.", rich_help_panel=_TRAIN)
    ] = "efficientnet_b0",
    size: Annotated[
        int | None, typer.Option(help="Input size in pixels, instead of the recipe's.", rich_help_panel=_TRAIN)
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="torch.compile too; takes minutes.", rich_help_panel=_TRAIN)
    ] = False,
    memory: Annotated[bool, typer.Option("--memory", help="Peak memory against rows.", rich_help_panel=_OTHER)] = False,
    memory_rows: Annotated[
        str, typer.Option(help="Numbers of rows, with commas between.", rich_help_panel=_OTHER)
    ] = "1000,10000,100000",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Plot of the memory: .svg or .png.", rich_help_panel=_OTHER)
    ] = None,
    start_up: Annotated[
        bool, typer.Option("--start-up", help="Help, version and a first prediction.", rich_help_panel=_OTHER)
    ] = False,
    runtimes: Annotated[
        bool, typer.Option("--runtimes", help="What the networks can run on.", rich_help_panel=_OTHER)
    ] = False,
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

        tuningfork bench --train --recipe mobilenetv2 --size 64

        tuningfork bench --memory --memory-rows 1000,100000,1000000 -o memory.svg

        tuningfork bench --start-up

        tuningfork bench --runtimes --images cutouts/
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    if sum((train, memory, start_up, runtimes)) > 1:
        raise typer.BadParameter("one of --train, --memory, --start-up and --runtimes at a time")
    if output is not None and (not memory or output.suffix not in (".svg", ".png")):
        raise typer.BadParameter("a .svg or .png file, with --memory", param_hint="--output")
    must_exist([images] if images else [])
    with trouble():
        if train:
            _train(recipe, images, size, repeats, seconds, compiled, as_json)
        elif memory:
            _memory(model, _numbers(memory_rows), output, as_json)
        elif start_up:
            _start_up(model, repeats, as_json)
        elif runtimes:
            _runtimes(model, images, as_json)
        else:
            from ..bench.run import bench as measure

            report = measure(
                model,
                images,
                rows=rows,
                repeats=repeats,
                seconds=seconds,
                views=views,
                precision=precision.value,
                price=price,
                peer=peer,
                say=say,
            )
            if as_json:
                print_json(report.to_dict())
            else:
                _show(report)


def _numbers(text: str) -> list[int]:
    numbers = [int(each) if each.strip().isdecimal() else 0 for each in text.split(",")]
    if min(numbers) < 1:
        raise typer.BadParameter("numbers of rows, such as 1000,100000", param_hint="--memory-rows")
    return numbers


def _show(report: Report) -> None:
    figures, settings = report.figures, report.settings
    _line(_about(report.machine))
    _line(
        f"model {settings['model']}, {settings['views']} view(s), {settings['runtime']}; {settings['rows']} files of "
        f"{settings['distinct']} pictures ({settings['images'] or 'simulated'}); {settings['repeats']} repeats, "
        "median (least…largest)"
    )
    table = Table("", "pictures/s", "with start-up", "start-up, s", "peak memory, MB")
    for name, what in (
        (f"(a) decoding alone, {report.machine['cores']} processes", "decode"),
        (f"(b) network alone, batches of {settings['network_batch']}", "network"),
        ("    bound: 1 / (1/a + 1/b)", "bound"),
    ):
        table.add_row(name, _spread(figures[what], ",.0f"), "", "", "")
    for name, who in (("(c) tuningfork, files to Parquet", "ours"), ("(d) DataLoader, timm, Lightning, CSV", "peer")):
        if f"{who}_steady" in figures:
            columns = (("steady", ",.0f"), ("rate", ",.0f"), ("start_up", ".1f"), ("peak_mb", ",.0f"))
            table.add_row(name, *(_spread(figures.get(f"{who}_{what}"), form) for what, form in columns))
    screen().print(table)
    _line(f"(c) / bound: {_spread(figures['of_bound'], '.2f')}")
    if report.left_out:
        _line(f"(d) left out: {report.left_out}")
    else:
        _line(
            f"(c) / (d): {_spread(figures['over_peer'], '.2f')}, both without start-up. The peer's weights are random, "
            "which does not change its speed"
        )
    screen().print(_costs(report))
    _notes(report.others, report.machine)


def _costs(report: Report) -> Table:
    table = Table("galaxies", "by", "hours", "core hours", *(["price"] if report.price is not None else []))
    names = {"ours": "tuningfork", "peer": "the peer's loop"}
    for who, rows in report.costs.items():
        for row in rows:
            cells = [f"{row['galaxies']:,}", names[who], f"{row['hours']:,.1f}", f"{row['core_hours']:,.1f}"]
            table.add_row(*cells, *([] if row["price"] is None else [f"{row['price']:,.2f}"]))
    return table


def _train(
    recipe: str, images: Path | None, size: int | None, repeats: int, seconds: float, compiled: bool, as_json: bool
) -> None:
    with libraries("training", "train"):
        import torch  # noqa: F401

        from ..bench.training import VARIANTS, bench_training
    report = bench_training(recipe, images, size=size, repeats=repeats, seconds=seconds, compiled=compiled, say=say)
    if as_json:
        print_json(report.to_dict())
        return
    settings = report.settings
    _line(_about(report.machine))
    _line(
        f"{settings['network']} at {settings['size']} px, batches of {settings['batch']}, {settings['workers']} "
        f"process(es) prepare pictures; {settings['repeats']} repeats of {settings['seconds']:g} s, "
        "median (least…largest)"
    )
    table = Table("", "", "pictures/s", "of plain", "waits for data", "first steps, s")
    for name, figures in report.figures.items():
        columns = (("rate", ",.0f"), ("ratio", ".2f"), ("data_wait", ".1%"), ("begun", ".1f"))
        table.add_row(name, VARIANTS[name], *(_spread(figures[what], form) for what, form in columns))
    screen().print(table)
    _notes(report.others, report.machine)


def _memory(model: str, rows: list[int], output: Path | None, as_json: bool) -> None:
    from .._utils.files import check_writable
    from ..bench.growth import draw_memory, memory_against_rows
    from ..bench.machine import machine

    if output:
        check_writable(output)
        with libraries("a plot", "report"):
            import matplotlib  # noqa: F401
    points = memory_against_rows(model, rows, say=say)
    if output:
        draw_memory(points, output)
    if as_json:
        print_json({"machine": machine(), "model": model, "points": [asdict(point) for point in points]})
        return
    _line(_about(machine()))
    table = Table("rows", "peak memory of all processes, MB", "seconds")
    for point in points:
        peak = "–" if point.peak_mb is None else f"{point.peak_mb:,.0f}"
        table.add_row(f"{point.rows:,}", peak, f"{point.seconds:,.1f}")
    screen().print(table)
    if output:
        print(f"{output}: the plot")


def _start_up(model: str, repeats: int, as_json: bool) -> None:
    from ..bench.machine import machine
    from ..bench.start_up import start_up

    starts, imports = start_up(model, repeats)
    if as_json:
        print_json({"machine": machine(), "starts": [asdict(start) for start in starts], "imports": imports})
        return
    _line(_about(machine()))
    table = Table("command", "processor time, s", "on the clock, s")
    for start in starts:
        table.add_row(start.command, _spread(start.processor, ".2f"), _spread(start.wall, ".2f"))
    screen().print(table)
    _line("the prediction's imports, s: " + ", ".join(f"{name} {took:.2f}" for name, took in imports.items()))
    _notes(None, machine())


def _runtimes(model: str, images: Path | None, as_json: bool) -> None:
    from ..bench.machine import machine
    from ..bench.pictures import simulated, temporary_folder, users
    from ..evaluation.speed import measure_runtimes
    from ..model.model import load

    opened = load(model, threads=1, device="cpu")
    with temporary_folder() as folder:
        pictures = users(images) if images else simulated(folder / "pictures", 100)
        rows = measure_runtimes(opened, [opened.read(path) for path in pictures])
    known = [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
    if as_json:
        print_json({"machine": machine(), "model": model, "pictures": len(pictures), "runtimes": known})
        return
    _line(_about(machine()))
    _line(f"model {model}, {len(pictures)} pictures, one view, one thread; deviations of fractions from the first line")
    table = Table("runtime", "ms a picture", "speed", "rms", "largest", "same class")
    for row in known:
        agreement = "–" if row["agreement"] is None else f"{row['agreement']:.3f}"
        table.add_row(
            row["runtime"],
            f"{row['milliseconds']:.2f} (+{row['spread']:.2f})",
            f"{row['speed']:.2f}",
            f"{row['rms']:.2g}",
            f"{row['largest']:.2g}",
            agreement,
        )
    screen().print(table)
    _notes(None, machine())


def _about(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']} GB"
    return f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}\n{versions}"


def _notes(others: float | None, machine: Mapping[str, Any]) -> None:
    if others is not None and others > 0.05:
        say(f"note: other programs took {others:.0%} of the cores' time meanwhile; measure again on a quiet machine")
    if not machine["bytecode"]:
        say("note: Python may not write compiled modules here (PYTHONDONTWRITEBYTECODE): every start is slower for it")


def _line(text: str) -> None:
    screen().print(text, highlight=False, markup=False, soft_wrap=True)


def _spread(spread: Spread | None, form: str) -> str:
    if spread is None:
        return "–"
    return f"{spread.median:{form}} ({spread.low:{form}}…{spread.high:{form}})"
