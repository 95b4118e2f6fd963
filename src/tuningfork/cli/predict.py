"""`tuningfork predict`: images to vote fractions and classes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_line import app
from .console import counted, echo, print_json
from .cutouts import (
    SOURCE_HELP,
    CacheOption,
    CacheSizeOption,
    HduOption,
    LayerOption,
    MaskBitsOption,
    MaskOption,
    MirrorOption,
    PixelsOption,
    RadiusColumnOption,
    RateOption,
    Request,
    SizeOption,
    StretchOption,
    cut_out,
)
from .errors import must_exist, report_rows, row_error, trouble
from .files import standard_input, writing
from .options import JsonOption, OverwriteOption, ThreadsOption
from .progress import progress_bar

if TYPE_CHECKING:
    from ..model.options import InferenceOptions

__all__ = ["predict"]

_SCALE, _SKY, _TABLES = "At survey scale", "Images by position", "Catalogues"
_FITS = "FITS images"


class Layout(StrEnum):
    """Column layouts of a prediction table."""

    words = "words"
    kaggle = "kaggle"


class Precision(StrEnum):
    """Arithmetic of the networks."""

    f32 = "f32"
    bf16 = "bf16"


class Device(StrEnum):
    """Where the networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    """Who does the work."""

    local = "local"
    ray = "ray"


@app.command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, catalogues (a table of paths), .tar or .zip; also s3://, gs://, https://."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Table to write: .csv, .parquet, .fits, .vot or .ecsv. Without extension: a folder of Parquet parts.",
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "default",
    layout: Annotated[
        Layout,
        typer.Option("--format", help="words: named fractions and class; kaggle: GalaxyID and 37 cumulative columns."),
    ] = Layout.words,
    views: Annotated[
        int | None, typer.Option(help="Rotated and reflected views to average: 1, 2, 4 or 8 [default: the model's].")
    ] = None,
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="Also what the networks see, as a column of vectors; not in CSV."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Predict only the rows of a finished run again that failed.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    id_column: Annotated[str | None, typer.Option(help="The galaxies' names.", rich_help_panel=_TABLES)] = None,
    path_column: Annotated[str | None, typer.Option(help="Their images' files.", rich_help_panel=_TABLES)] = None,
    bytes_column: Annotated[
        str | None, typer.Option(help="Their images themselves, as bytes.", rich_help_panel=_TABLES)
    ] = None,
    ra_column: Annotated[
        str | None, typer.Option(help="Right ascension, degrees; written beside the votes.", rich_help_panel=_TABLES)
    ] = None,
    dec_column: Annotated[str | None, typer.Option(help="Declination, degrees.", rich_help_panel=_TABLES)] = None,
    source: Annotated[
        str | None, typer.Option(help=f"PATHS is a catalogue of positions. {SOURCE_HELP}", rich_help_panel=_SKY)
    ] = None,
    size: SizeOption = None,
    radius_column: RadiusColumnOption = None,
    pixels: PixelsOption = 424,
    layer: LayerOption = None,
    mirror: MirrorOption = None,
    stretch: StretchOption = "auto",
    rate: RateOption = 4.0,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = 1.0,
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the images [default: OUTPUT-cutouts].", rich_help_panel=_SKY),
    ] = None,
    hdu: HduOption = None,
    bands: Annotated[
        str | None,
        typer.Option(help="Images or planes that are blue, green, red: G,R,I or 0,1,2.", rich_help_panel=_FITS),
    ] = None,
    mask: MaskOption = None,
    mask_bits: MaskBitsOption = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure the galaxy; show 8.48 petroR90, as trained on.", rich_help_panel=_FITS),
    ] = False,
    keep_orientation: Annotated[
        bool, typer.Option("--keep-orientation", help="Do not turn north up by the WCS.", rich_help_panel=_FITS)
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes; 0: one a core if it pays.", rich_help_panel=_SCALE)
    ] = 0,
    threads: ThreadsOption = 0,
    batch: Annotated[
        int, typer.Option(min=0, max=4096, help="Images at a time; 0: what is fast.", rich_help_panel=_SCALE)
    ] = 0,
    precision: Annotated[
        Precision,
        typer.Option(
            help="bf16: nearly twice as fast on CPUs that know it, fractions off by 0.01 (needs tuningfork[openvino]).",
            rich_help_panel=_SCALE,
        ),
    ] = Precision.f32,
    device: Annotated[Device, typer.Option(help="auto: an NVIDIA GPU if there is one.", rich_help_panel=_SCALE)] = (
        Device.auto
    ),
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Do the I-th of N shares; all write one folder, at once.", rich_help_panel=_SCALE
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option(help="local: this machine; ray: a cluster.", rich_help_panel=_SCALE)
    ] = Engine.local,
    address: Annotated[
        str | None, typer.Option(help="Ray's cluster; none: one on this machine.", rich_help_panel=_SCALE)
    ] = None,
) -> None:
    """Predict vote fractions and a class for each image.

    Examples:

        tuningfork predict galaxy.jpg

        tuningfork predict cutouts/ -o votes.parquet

        tuningfork predict cutouts/ -o votes.parquet --resume

        tuningfork predict cutouts/ -o votes.parquet --retry-failed

        tuningfork predict cutouts/ -o votes.parquet --embeddings

        tuningfork predict catalogue.parquet -o votes/ --path-column file_loc

        tuningfork predict s3://survey/cutouts/ -o votes/

        tuningfork predict galaxy.fits --stretch sdss --size 40

        tuningfork predict images/ -o votes.parquet --bands g,r,i --measure

        tuningfork predict galaxies.csv --source legacy --size 60 -o votes.parquet

        tuningfork predict cutouts/cutouts.parquet -o votes.parquet

        tuningfork predict images_test_rev1/ -o submission.csv --format kaggle

        tuningfork predict galaxy.jpg --json | jq .class_name
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    must_exist([path for path in paths if path != "-"])
    for is_set, option in (
        (resume, "--resume"),
        (retry_failed, "--retry-failed"),
        (shard, "--shard"),
        (layout is Layout.kaggle, "--format"),
    ):
        if output is None and is_set:
            raise typer.BadParameter("needs an --output", param_hint=option)
    if embeddings:
        _check_embeddings(output, layout, as_json)
    part = _shard(shard)
    for value, option in ((cutouts, "--cutouts"), (layer, "--layer"), (mirror, "--mirror")):
        if source is None and value is not None:
            raise typer.BadParameter("is for positions: give their --source", param_hint=option)
    if source is not None:
        request = Request(
            *(source, layer, mirror, stretch, size, radius_column, pixels, rate, cache, cache_size),
            *(hdu, mask, mask_bits),
        )
        request.check()
        folder = _cutouts_beside(output, cutouts, paths, part)
    # Images by position are framed before they are predicted.
    framing = _framing(
        *((None, bands, None, None) if source is not None else (hdu, bands, mask, mask_bits)),
        *(keep_orientation, measure),
        *(("auto", None) if source is not None else (stretch, size)),
    )
    is_file = output is not None and bool(output.suffix or str(output) == "-")
    again = "give the same command with --resume to go on" if output else ""
    # A folder of parts is guarded by its run, which shards share.
    guarded = output if is_file else None
    with (
        trouble(again),
        standard_input(paths) as paths,
        writing(guarded, [*paths, model], overwrite or retry_failed or (resume and _is_begun(output))) as file,
    ):
        output = file or output
        if output is not None and not is_file:
            from .._utils.files import check_output

            check_output(output, [*paths, model], overwrite=True, is_folder=True)
        from ..inputs import Columns
        from ..model.model import load
        from ..model.options import InferenceOptions
        from ..pipeline.options import ExecutionOptions
        from ..pipeline.predict import predict_files
        from ..surveys import CARRIED, TABLE, is_cutouts

        columns = Columns(id_column, path_column, bytes_column, ra_column, dec_column, radius_column)
        opened = load(model, threads=threads, precision=precision.value, device=device.value, framing=framing)
        if source is not None:
            from ..pipeline.predict import is_begun

            # A continued run has listed the images; one that is downloaded only now would be another input.
            if not (resume and output is not None and is_begun(output) and (folder / TABLE).exists()):
                # What is there stays: a second prediction downloads nothing again.
                cut_out(paths[0], folder, request, columns, resume=True)
            paths = [str(folder / TABLE)]
        if source is not None or (columns == Columns() and all(map(is_cutouts, paths))):
            columns = Columns(error="error", carried=CARRIED)
        if output is None:
            _predict_to_terminal(opened, paths, columns, InferenceOptions(views, batch or None, embeddings), as_json)
            return
        with progress_bar("predicting") as progress:
            summary = predict_files(
                opened,
                paths,
                output,
                InferenceOptions(views, batch or None, embeddings),
                ExecutionOptions(engine.value, workers, threads or None, address, part, resume, retry_failed),
                layout=layout.value,
                columns=columns,
                progress=progress,
            )
        if as_json:
            counts = {"rows": summary.rows, "failed": summary.failed, "out_of_domain": summary.out_of_domain}
            left_out = {"warnings": summary.warnings, "left_out": dict(summary.left_out)}
            print_json({"output": str(output), **counts, **left_out, "complete": summary.complete})
        else:
            before = "as they were" if retry_failed else "from the interrupted run"
            again = f" ({summary.resumed} of them {before})" if summary.resumed else ""
            flagged = "" if summary.out_of_domain is None else f", {summary.out_of_domain} out of domain"
            rest = "" if summary.complete else "; other shards have not ended yet"
            galaxies = counted(summary.rows, "galaxy", "galaxies")
            warned = f", {summary.warnings} with a warning (column `warning`)" if summary.warnings else ""
            echo(f"{output}: {galaxies}{again}, {summary.failed} failed{flagged}{warned}{rest}")
        _report_left_out(summary.left_out)
        report_rows(summary.errors, summary.failed)


def _is_begun(output: Path | None) -> bool:
    from ..pipeline.predict import is_begun

    return output is not None and is_begun(output)


def _framing(
    hdu: str | None,
    bands: str | None,
    mask: str | None,
    mask_bits: str | None,
    keep_orientation: bool,
    measure: bool,
    stretch: str,
    size: float | None,
) -> Any:
    """What the options say of FITS images; wrong usage (exit code 2) if they cannot be meant."""
    from ..images.fits.framing import Framing, parse_mask_bits, unit

    try:
        return Framing(
            hdu=None if hdu is None else unit(hdu),
            bands=tuple(unit(band) for band in bands.split(",")) if bands else (),
            stretch=stretch,
            size=size,
            measure=measure,
            orient=not keep_orientation,
            mask=None if mask is None else unit(mask),
            mask_bits=None if mask_bits is None else parse_mask_bits(mask_bits),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _check_embeddings(output: Path | None, layout: Layout, as_json: bool) -> None:
    from ..tables import formats

    if layout is Layout.kaggle:
        raise typer.BadParameter("Kaggle's layout has no place for them", param_hint="--embeddings")
    if output is None and not as_json:
        raise typer.BadParameter("needs an --output, or --json", param_hint="--embeddings")
    known = formats().get(output.suffix.lower()) if output else None
    if output and output.suffix and not (known and known.vectors):
        raise typer.BadParameter(
            f"{output.suffix} holds no vectors; write .parquet, .fits, or a folder", param_hint="--embeddings"
        )


def _cutouts_beside(
    output: Path | None, cutouts: Path | None, paths: Sequence[str], shard: tuple[int, int] | None
) -> Path:
    """The folder for the images of positions; wrong usage (exit code 2) if there can be none."""
    if len(paths) != 1:
        raise typer.BadParameter("takes one catalogue of positions", param_hint="--source")
    if shard is not None:
        raise typer.BadParameter(
            "shards would fetch the same images; make them with `tuningfork cutouts`, then predict its table",
            param_hint="--shard",
        )
    if cutouts is None and (output is None or str(output) == "-"):
        raise typer.BadParameter("the images need a place: give --output or --cutouts", param_hint="--source")
    return cutouts or output.with_name(f"{output.stem}-cutouts")  # type: ignore[union-attr]


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter("I/N with 1 ≤ I ≤ N, for example 3/8", param_hint="--shard")
    return int(match[1]), int(match[2])


def _predict_to_terminal(
    model: Any,
    paths: Sequence[str],
    columns: Any,
    inference: InferenceOptions,
    as_json: bool,
) -> None:
    from collections import Counter

    from ..pipeline.predict import predict_inputs

    errors = []
    left_out: Counter[str] = Counter()
    for part in predict_inputs(model, paths, inference, columns, left_out):
        for row, values in enumerate(part.to_table().to_pylist()):
            if values["error"]:
                errors.append(row_error(values["path"], values["error"]))
            if as_json:
                print_json(values, indent=None)
            elif not values["error"]:
                echo(part[row], lines=True)
    _report_left_out(left_out)
    report_rows(errors)


def _report_left_out(left_out: Mapping[str, int]) -> None:
    from ..pipeline.predict import left_out_text

    if left_out:
        echo(f"left out: {left_out_text(left_out)}", err=True)
