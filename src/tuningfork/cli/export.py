"""`tuningfork export`: a model as one ONNX file, for programs without Python."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .._utils.text import counted
from .command_line import app
from .console import print_json, print_result
from .errors import libraries, trouble
from .files import writing
from .options import JsonOption, ModelArgument, OverwriteOption, ViewsOption, check_views

__all__ = ["export"]


class Tail(StrEnum):
    """Arithmetic behind the networks."""

    float64 = "float64"
    float32 = "float32"


@app.command()
def export(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file.")],
    views: ViewsOption = None,
    tail: Annotated[
        Tail, typer.Option(help="Number type of the arithmetic after the networks; float32 for GPUs in browsers.")
    ] = Tail.float64,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model as one ONNX file: resized images in, vote fractions and class probabilities out.

    It holds scaling, views, networks, decision tree and calibration of the classes, so that a program in any language
    needs ONNX Runtime alone. Its numbers are compared with the package's before it is written.

    Examples:

        tuningfork export fast -o model.onnx

        tuningfork export default -o model.onnx --views 4
    """
    check_views(views)
    with trouble():
        with libraries("export", "export"):
            from ..model.export import export_onnx
        from .._utils.files import atomic_file
        from ..model.bundle import open_bundle

        with writing(output, [model], overwrite, suffix=".onnx") as file:
            bundle = open_bundle(model)
            data = export_onnx(bundle, n_views=views, tail=tail.value)
            with atomic_file(file) as part:
                part.write_bytes(data)
            views = views or bundle.n_views
            if as_json:
                print_json({"output": str(output), "bytes": len(data), "views": views, "tail": tail.value})
            else:
                print_result(f"{output}: model {bundle.name}, {counted(views, 'view')}, {len(data) / 1e6:.1f} MB")
