"""`tuningfork serve`: the prediction service and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import echo
from .errors import libraries, must_exist, trouble
from .options import ModelOption, ThreadsOption

__all__ = ["serve"]

_LIMITS = "Limits"


@app.command()
def serve(
    model: ModelOption = "default",
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: reachable from other machines.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
    source: Annotated[
        str | None,
        typer.Option(help="Images by position: FITS files or a folder of them, legacy, hips:…, sia:https://…"),
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Known galaxies, written by tuningfork index, for similarity search.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further host name of this machine; may be repeated.")
    ] = None,
    threads: ThreadsOption = 0,
    images: Annotated[
        int, typer.Option(min=1, help="Images, or positions, in one request.", rich_help_panel=_LIMITS)
    ] = 200,
    image_mib: Annotated[float, typer.Option(help="File of one image, MiB.", rich_help_panel=_LIMITS)] = 32,
    request_mib: Annotated[float, typer.Option(help="Body of one request, MiB.", rich_help_panel=_LIMITS)] = 128,
    held_mib: Annotated[float, typer.Option(help="Bodies of all requests, MiB.", rich_help_panel=_LIMITS)] = 1024,
    megapixels: Annotated[float, typer.Option(help="Pixels of one image, 2²⁰.", rich_help_panel=_LIMITS)] = 16,
    seconds: Annotated[float, typer.Option(help="Until the response.", rich_help_panel=_LIMITS)] = 60,
    decode_seconds: Annotated[float, typer.Option(help="To decode one image.", rich_help_panel=_LIMITS)] = 15,
    upload_seconds: Annotated[float, typer.Option(help="For the body of a request.", rich_help_panel=_LIMITS)] = 120,
    at_once: Annotated[int, typer.Option(min=1, help="Concurrent requests.", rich_help_panel=_LIMITS)] = 8,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that wait.", rich_help_panel=_LIMITS)] = 256,
) -> None:
    """Serve predictions over HTTP, with a page to drop images on; stop with Ctrl-C.

    There is no login: whoever reaches the address may use it. By default that is this machine alone.

    Examples:

        tuningfork serve

        tuningfork serve --port 9000 --source mosaics/ --index known.index

        curl -F files=@galaxy.jpg http://127.0.0.1:8000/api/predict
    """
    if index is not None:
        must_exist([index])
    with trouble("give the same command to go on"):
        with libraries("serving", "serve"):
            from ..web.predict.app import create_app
            from ..web.predict.limits import Limits
            from ..web.server import serve as run_server
        from ..model.model import load
        from ..web.limits import MIB

        limits = Limits(
            body_bytes=round(request_mib * MIB),
            held_bytes=round(held_mib * MIB),
            body_seconds=upload_seconds,
            seconds=seconds,
            at_once=at_once,
            waiting=waiting,
            images=images,
            image_bytes=round(image_mib * MIB),
            pixels=round(megapixels * MIB),
            decode_seconds=decode_seconds,
        )
        opened = load(model, threads=threads)
        sky, sky_name = None, ""
        if source is not None:
            from .._utils.urls import public_url
            from ..surveys import open_source

            sky, sky_name = open_source(source), public_url(source)
        known = None
        if index is not None:
            from ..similarity import Index

            known = Index.open(index)
        service = create_app(opened, limits, source=sky, source_name=sky_name, index=known, hosts=allow_host or ())
        run_server(service, host, port, lambda address: echo(f"{address} serves model {opened.bundle.name}"))
