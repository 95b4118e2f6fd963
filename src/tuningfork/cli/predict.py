"""`tuningfork predict`: images to vote fractions and classes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._utils.environment import limit_blas
from .._utils.text import counted
from .command_line import app, options_given
from .console import print_detail
from .errors import failure, must_exist, report_rows, trouble
from .files import standard_input, writing
from .fits_options import (
    BandsOption,
    HduOption,
    KeepOrientationOption,
    MaskBitsOption,
    MaskOption,
    MeasureOption,
    StretchOption,
    framing_of,
)
from .options import ModelOption, OverwriteOption, ThreadsOption, ViewsOption, check_views
from .predict_catalogues import cut_out_positions, with_catalogues_columns
from .predict_terminal import predict_to_terminal, print_summary
from .predict_usage import Layout, check_optional_columns, check_usage, cutouts_beside, share_of
from .progress import progress_bar
from .scale_options import (
    AddressOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    Precision,
    PrecisionOption,
    RunBatchOption,
    RunWorkersOption,
    ShardOption,
)
from .sky_options import (
    SKY,
    CacheOption,
    CacheSizeOption,
    LayerOption,
    MirrorOption,
    PixelsOption,
    RadiusColumnOption,
    RateOption,
    Request,
    SizeOption,
    SourceOption,
)
from .table_options import (
    BytesColumnOption,
    DecColumnOption,
    IdColumnOption,
    KeepColumnsOption,
    PathColumnOption,
    RaColumnOption,
    columns_to_keep,
)

if TYPE_CHECKING:
    from ..inputs import Columns
    from ..model.model import Model
    from ..model.options import InferenceOptions

__all__ = ["predict"]


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
    model: ModelOption = "default",
    layout: Annotated[
        Layout,
        typer.Option("--format", help="words: named fractions and class; kaggle: GalaxyID and 37 cumulative columns."),
    ] = Layout.words,
    views: ViewsOption = None,
    embeddings: Annotated[
        bool,
        typer.Option("--embeddings", help="Also the networks' embeddings, a column of vectors; not in CSV."),
    ] = False,
    draws: Annotated[
        int, typer.Option(min=0, help="Draws of the fractions from their posterior, as columns; Parquet only.")
    ] = 0,
    structure: Annotated[
        bool,
        typer.Option(
            "--structure",
            help="Also concentration, asymmetry, Gini, M20, Sérsic and more, as `measure` does; a second an image.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Predict only the rows of a finished run again that failed; with --structure, also those not "
            "measured.",
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON Lines, one object per galaxy; with --output, one summary."),
    ] = False,
    json_array: Annotated[
        bool, typer.Option("--json-array", help="Print one JSON document, an array of all galaxies.")
    ] = False,
    id_column: IdColumnOption = None,
    path_column: PathColumnOption = None,
    bytes_column: BytesColumnOption = None,
    ra_column: RaColumnOption = None,
    dec_column: DecColumnOption = None,
    keep_columns: KeepColumnsOption = "all",
    source: SourceOption = None,
    size: SizeOption = None,
    radius_column: RadiusColumnOption = None,
    pixels: PixelsOption = 424,
    layer: LayerOption = None,
    mirror: MirrorOption = None,
    rate: RateOption = 4.0,
    cache: CacheOption = None,
    cache_size: CacheSizeOption = 1.0,
    cutouts: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps the images [default: OUTPUT-cutouts].", rich_help_panel=SKY),
    ] = None,
    stretch: StretchOption = "auto",
    hdu: HduOption = None,
    bands: BandsOption = None,
    mask: MaskOption = None,
    mask_bits: MaskBitsOption = None,
    measure: MeasureOption = False,
    keep_orientation: KeepOrientationOption = False,
    workers: RunWorkersOption = 0,
    threads: ThreadsOption = 0,
    batch: RunBatchOption = 0,
    precision: PrecisionOption = Precision.f32,
    device: DeviceOption = Device.auto,
    shard: ShardOption = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
) -> None:
    """Predict vote fractions and a class for each image.

    Examples:

        tuningfork predict galaxy.jpg

        tuningfork predict cutouts/ -o votes.parquet

        tuningfork predict cutouts/ -o votes.parquet --resume

        tuningfork predict cutouts/ -o votes.parquet --retry-failed

        tuningfork predict cutouts/ -o votes.parquet --embeddings

        tuningfork predict cutouts/ -o votes.parquet --draws 100

        tuningfork predict cutouts/ -o votes.parquet --structure

        tuningfork predict catalogue.parquet -o votes/ --path-column file_loc

        tuningfork predict s3://survey/cutouts/ -o votes/

        tuningfork predict galaxy.fits --stretch sdss --size 40

        tuningfork predict images/ -o votes.parquet --bands g,r,i --measure

        tuningfork predict galaxies.csv --source sdss --size 60 -o votes.parquet

        tuningfork predict cutouts/cutouts.parquet -o votes.parquet

        tuningfork predict images_test_rev1/ -o submission.csv --format kaggle

        tuningfork predict galaxy.jpg --json | jq .class_name
    """
    limit_blas()
    check_views(views)
    must_exist([path for path in paths if path != "-"])
    check_usage(output, source, as_json, json_array)
    check_optional_columns(
        output, layout, embeddings=embeddings, draws=draws, structure=structure, as_json=as_json or json_array
    )
    part, keep = share_of(shard), columns_to_keep(keep_columns)
    if source is not None:
        request = Request(
            *(source, layer, mirror, stretch, size, radius_column, pixels, rate, cache, cache_size),
            *(hdu, mask, mask_bits),
        )
        request.check()
        folder = cutouts_beside(output, cutouts, paths, part)
    # Images by position are framed before they are predicted.
    sky = source is not None
    framing = framing_of(
        hdu=None if sky else hdu,
        bands=bands,
        mask=None if sky else mask,
        mask_bits=None if sky else mask_bits,
        orient=not keep_orientation,
        measure=measure,
        stretch="auto" if sky else stretch,
        size=None if sky else size,
    )
    is_file = output is not None and bool(output.suffix or str(output) == "-")
    again = "give the same command with --resume to go on" if output else ""
    is_begun = resume and _is_begun(output)
    if resume and output and is_file and output.exists() and not (is_begun or overwrite or retry_failed):
        raise failure(
            f"{output}: exists, and no run of it was interrupted; --retry-failed predicts its failed rows again, "
            "--overwrite replaces it"
        )
    # A folder of parts is guarded by its run, which shards share.
    guarded = output if is_file else None
    began = time.monotonic()
    with (
        trouble(again),
        standard_input(paths) as paths,
        writing(guarded, [*paths, model], overwrite or retry_failed or is_begun) as file,
    ):
        output = file or output
        if output is not None and not is_file:
            from .._utils.files import check_output

            check_output(output, [*paths, model], overwrite=True, is_folder=True)
        from ..inputs import Columns, is_catalogue
        from ..model.model import load
        from ..model.options import InferenceOptions
        from ..model.prediction_columns import output_schema
        from ..pipeline.options import ExecutionOptions
        from .mistakes import check_inputs, print_unused_options

        check_inputs(paths, source)
        columns = Columns(id_column, path_column, bytes_column, ra_column, dec_column, radius_column)
        arithmetic = "f32" if precision is Precision.auto else precision.value
        opened = load(model, threads=threads, precision=arithmetic, device=device.value, framing=framing)
        print_detail(
            f"model {opened.bundle.name}: {opened.runtime}, {counted(views or opened.n_views, 'view', 'views')}"
        )
        if source is not None:
            # What is there stays: a second prediction downloads nothing again.
            paths = [cut_out_positions(paths[0], folder, request, columns, keep, is_begun)]
            columns = Columns()
        catalogues = [path for path in paths if is_catalogue(path)]
        print_unused_options(
            paths,
            catalogues,
            fits=[] if sky else options_given("hdu", "bands", "mask", "measure", "keep_orientation", "stretch"),
            tables=options_given("id_column", "path_column", "bytes_column", "ra_column", "dec_column", "keep_columns"),
        )
        if catalogues:
            kept = [] if layout is Layout.kaggle else keep
            own = output_schema(opened.tree, structure=structure).names
            columns = with_catalogues_columns(catalogues, columns, kept, own, str(output or "votes.parquet"))
        inference = InferenceOptions(views, batch or None, embeddings, draws, structure)
        if precision is Precision.auto:
            opened = _in_chosen_precision(opened, paths, columns, inference)
        if output is None:
            predict_to_terminal(opened, paths, columns, inference, as_json, json_array, began)
            return
        from ..pipeline.predict import predict_files

        # Ray prints what happens to its actors to standard output, where a program expects our results.
        aside = redirect_stdout(sys.stderr) if engine is Engine.ray else nullcontext()
        with progress_bar("predicting") as progress, aside:
            summary = predict_files(
                opened,
                paths,
                output,
                inference,
                ExecutionOptions(engine.value, workers, threads or None, address, part, resume, retry_failed),
                layout=layout.value,
                columns=columns,
                progress=progress,
            )
        print_summary(summary, output, time.monotonic() - began, as_json, retry_failed)
        report_rows(summary.errors, summary.failed)


def _in_chosen_precision(opened: Model, paths: list[str], columns: Columns, inference: InferenceOptions) -> Model:
    from ..model.precision import N_COMPARED, choose_precision
    from ..pipeline.first_images import first_images

    images = first_images(opened, paths, columns, count=N_COMPARED)
    chosen, choice = choose_precision(opened, images, inference)
    print_detail(f"precision {choice.precision}: {choice.reason}")
    return chosen


def _is_begun(output: Path | None) -> bool:
    from ..pipeline.predict import is_begun

    return output is not None and is_begun(output)
