"""`tuningfork serve`: the service and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ThreadsOption, app, echo, libraries, must_exist, trouble

__all__ = ["serve"]

_LIMITS = "Limits"


@app.command()
def serve(
    model: Annotated[str, typer.Option(help="A shipped model's name, or a bundle's folder.")] = "default",
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: reachable from other machines.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    source: Annotated[
        str | None,
        typer.Option(help="Pictures by position: files or a folder of FITS, legacy, hips:…, sia:https://…"),
    ] = None,
    index: Annotated[Path | None, typer.Option(help="Known galaxies, of tuningfork index: find similar ones.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name of this machine, as browsers call it; may be repeated.")
    ] = None,
    threads: ThreadsOption = 0,
    pictures: Annotated[
        int, typer.Option(min=1, help="Pictures, or positions, in one request.", rich_help_panel=_LIMITS)
    ] = 200,
    picture_mib: Annotated[float, typer.Option(help="Of one picture's file.", rich_help_panel=_LIMITS)] = 32,
    request_mib: Annotated[float, typer.Option(help="Of one request.", rich_help_panel=_LIMITS)] = 128,
    held_mib: Annotated[float, typer.Option(help="Of all requests at once.", rich_help_panel=_LIMITS)] = 1024,
    megapixels: Annotated[float, typer.Option(help="Of one picture.", rich_help_panel=_LIMITS)] = 16,
    seconds: Annotated[float, typer.Option(help="For an answer.", rich_help_panel=_LIMITS)] = 60,
    upload_seconds: Annotated[float, typer.Option(help="For a request to come.", rich_help_panel=_LIMITS)] = 120,
    at_once: Annotated[int, typer.Option(min=1, help="Requests at work.", rich_help_panel=_LIMITS)] = 8,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that wait.", rich_help_panel=_LIMITS)] = 256,
) -> None:
    """Serve predictions over HTTP, with a page to drop pictures on; stop with Ctrl-C.

    Nobody has to log in: whoever reaches the address may ask. By default that is this machine alone.

    Examples:

        tuningfork serve

        tuningfork serve --port 9000 --source mosaics/ --index known.index

        curl -F files=@galaxy.jpg http://127.0.0.1:8000/api/predict
    """
    if index is not None:
        must_exist([index])
    with trouble("give the same command to go on"):
        with libraries("serving", "serve"):
            from ..web import serve as listen
            from ..web.predict import Limits, create_app
        from ..model.model import load
        from ..web.limits import MIB

        limits = Limits(
            body_bytes=round(request_mib * MIB),
            held_bytes=round(held_mib * MIB),
            body_seconds=upload_seconds,
            seconds=seconds,
            at_once=at_once,
            waiting=waiting,
            pictures=pictures,
            picture_bytes=round(picture_mib * MIB),
            pixels=round(megapixels * MIB),
        )
        opened = load(model, threads=threads)
        sky, sky_name = None, ""
        if source is not None:
            from .._utils.urls import public_url
            from ..surveys.registry import open_source

            sky, sky_name = open_source(source), public_url(source)
        known = None
        if index is not None:
            from ..similarity import Index

            known = Index.open(index)
        service = create_app(opened, limits, source=sky, source_name=sky_name, index=known, hosts=allow_host or ())
        listen(service, host, port, lambda address: echo(f"{address} serves model {opened.bundle.name}"))
