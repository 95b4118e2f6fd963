"""`tuningfork bench`: how fast this machine predicts, and how fast it could."""

from __future__ import annotations

import tempfile
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json
from .errors import libraries, must_exist, trouble
from .options import JsonOption, ModelOption, ViewsOption, check_views
from .scale_options import Precision
from .screen import print_table, screen

if TYPE_CHECKING:
    from ..evaluation.speed_report import SpeedReport, Spread

__all__ = ["bench"]

#: Images by which runtimes are compared.
_COMPARED = 100


@app.command()
def bench(
    model: ModelOption = "fast",
    images: Annotated[
        Path | None, typer.Option(help="Folder whose images are used, at most 512.  [default: simulated galaxies]")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Files that are predicted end to end.")] = 4096,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats of each measurement.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.05, help="For decoding and for networks, in each repeat.")] = 3.0,
    views: ViewsOption = None,
    precision: Annotated[Precision, typer.Option(help="Arithmetic of the networks.")] = Precision.f32,
    runtimes: Annotated[
        bool, typer.Option("--runtimes", help="Instead: every runtime's speed, and what it changes in the predictions.")
    ] = False,
    price: Annotated[float | None, typer.Option(min=0, help="Price of an hour of this machine.")] = None,
    galaxies: Annotated[
        int | None, typer.Option(min=1, help="Galaxies of the survey to forecast [default: 1 million, 100 million].")
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Measure training instead: steps, images, and how long the device waits.")
    ] = False,
    recipe: Annotated[str, typer.Option(help="With --train: a recipe's name, or a TOML file.")] = "efficientnet_b0",
    steps: Annotated[int, typer.Option(min=2, help="With --train: of each measurement.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast this machine predicts, how fast it could, and how long a survey would take.

    In turn: decoding alone, the networks alone, and `tuningfork predict` from files to Parquet. Decoding and networks
    share the cores: more than 1 / (1/decoding + 1/networks) is not possible.

    Examples:

        tuningfork bench

        tuningfork bench --images cutouts/ --model default --galaxies 8000000 --price 0.40

        tuningfork bench --runtimes

        tuningfork bench --rows 20000 --repeats 5 --json > bench.json

        tuningfork bench --train --recipe efficientnet_lite/2 --images cutouts/
    """
    check_views(views)
    must_exist([images] if images else [])
    if train:
        _train(recipe, images, steps, as_json)
        return
    with trouble():
        from ..evaluation.speed import measure_speed
        from ..model.options import InferenceOptions

        if runtimes:
            _runtimes(model, images, views, as_json)
            return
        options = {"rows": rows, "repeats": repeats, "seconds": seconds, "precision": precision.value}
        report = measure_speed(model, images, InferenceOptions(views), **options)  # type: ignore[arg-type]
        if as_json:
            print_json({**report.to_dict(), "forecasts": report.forecasts(price, galaxies)})
        else:
            _print_speed(report, price, galaxies)


def _train(recipe: str, images: Path | None, steps: int, as_json: bool) -> None:
    with trouble(), tempfile.TemporaryDirectory() as folder:
        with libraries("training", "train"):
            from ..training.recipe import load_recipe
            from ..training.speed import measure_training
        from ..simulation import simulate

        if images is None:
            images = simulate(Path(folder) / "galaxies", 64) / "images_training_rev1"
        speed = measure_training(load_recipe(recipe), images, steps=steps)
        if as_json:
            print_json(speed.to_dict())
            return
        _print_line(f"{speed.network} at {speed.size} px, batch {speed.batch}, on {speed.device}; {steps} steps each")
        rows = []
        for way, figures in speed.paths.items():
            cells = [f"{figures['input']:,.0f}/s", f"{figures['training']:,.0f}/s"]
            rows.append((f"on the {way}", *cells, f"{figures['waiting']:.1%}", f"{figures['of_bound']:.2f}"))
        rows.append(("bound: steps on one batch", "", f"{speed.synthetic:,.0f}/s", "", ""))
        print_table(("images prepared", "input alone", "training", "waits for input", "of the bound"), rows)


def _runtimes(name: str, folder: Path | None, views: int | None, as_json: bool) -> None:
    from dataclasses import asdict

    from ..evaluation.speed_images import sample_images, simulated_images
    from ..evaluation.speed_report import machine
    from ..evaluation.speed_runtimes import measure_decoding, measure_runtimes
    from ..model.model import load
    from ..model.options import InferenceOptions
    from ..model.precision import choose_precision

    model = load(name, threads=1, device="cpu")
    with tempfile.TemporaryDirectory(prefix="tuningfork-bench-") as place:
        paths = sample_images(folder)[:_COMPARED] if folder else simulated_images(Path(place) / "images", _COMPARED)
        reads = [model.read(path) for path in paths]
        rows, decoding = measure_runtimes(model, reads), measure_decoding(model, paths)
    _, choice = choose_precision(model, reads, InferenceOptions(views))
    if as_json:
        parts = {"runtimes": [asdict(row) for row in rows], "decoding": asdict(decoding) if decoding else None}
        print_json(_finite({"machine": machine(), "images": len(paths), **parts, "precision_auto": asdict(choice)}))
        return
    cells = []
    for row in rows:
        deviations = (f"{row.rms:.1e}", f"{row.largest:.1e}", None if isnan(row.agreement) else f"{row.agreement:.0%}")
        cells.append((row.runtime, f"{row.milliseconds:.2f}", f"{row.speed:.2f}", *deviations))
    print_table(("runtime", "ms", "speed", "deviation, rms", "largest", "same class"), cells)
    if decoding:
        _print_line(
            f"JPEG decoding and resize: {decoding.milliseconds:.2f} ms an image; at libjpeg's smaller size "
            f"{decoding.scaled_milliseconds:.2f} ms, fractions off by up to {decoding.largest:.3f}, and so not used"
        )
    _print_line(f"--precision auto takes {choice.precision}: {choice.reason}")


def _finite(value: Any) -> Any:
    """NaN, which JSON does not have, as null."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and isnan(value) else value


def _print_speed(report: SpeedReport, price: float | None, galaxies: int | None) -> None:
    figures, settings, machine = report.figures, report.settings, report.machine
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']} GB"
    _print_line(f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['system']}")
    _print_line(", ".join(f"{name} {version}" for name, version in machine["versions"].items()))
    _print_line(
        f"model {settings['model']}, {counted(settings['n_views'], 'view')}, {settings['runtime']}; "
        f"{settings['rows']} files of {settings['distinct']} images ({settings['images'] or 'simulated'}); "
        f"{counted(settings['repeats'], 'repeat')}, median (minimum…maximum)"
    )
    columns = (("steady", ",.0f"), ("rate", ",.0f"), ("start_up", ".1f"), ("peak_mb", ",.0f"))
    empty = ("", "", "")
    rows = (
        (f"(a) decoding alone, {machine['cores']} processes", _spread(figures["decode"]), *empty),
        (f"(b) networks alone, batches of {settings['batch_size']}", _spread(figures["network"]), *empty),
        ("    bound: 1 / (1/a + 1/b)", _spread(figures["bound"]), *empty),
        ("(c) files to Parquet", *(_spread(figures.get(name), form) for name, form in columns)),
    )
    print_table(("", "images/s", "with start-up", "start-up, s", "peak memory, MB"), rows)
    _print_line(f"(c) / bound: {_spread(figures['of_bound'], '.2f')}")
    if "gpu_percent" in figures:
        _print_line(f"GPU in use: {_spread(figures['gpu_percent'])} %")
    names = ("galaxies", "hours", "core hours", "images, GB", "table, GB")
    forecasts = []
    for row in report.forecasts(price, galaxies):
        sizes = (f"{row['images_gb']:,.1f}", f"{row['table_gb']:,.2f}")
        cells = [f"{row['galaxies']:,}", f"{row['hours']:,.1f}", f"{row['core_hours']:,.1f}", *sizes]
        forecasts.append([*cells, *([] if row["cost"] is None else [f"{row['cost']:,.2f}"])])
    print_table((*names, *(["price"] if price is not None else [])), forecasts)
    if not machine["bytecode"]:
        _print_line(
            "note: Python may not write compiled modules (PYTHONDONTWRITEBYTECODE): every start is slower for it"
        )


def _print_line(text: str) -> None:
    screen().print(text, highlight=False, markup=False, soft_wrap=True)


def _spread(spread: Spread | None, form: str = ",.0f") -> str:
    return "–" if spread is None else f"{spread.median:{form}} ({spread.low:{form}}…{spread.high:{form}})"
