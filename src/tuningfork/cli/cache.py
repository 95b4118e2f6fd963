"""`tuningfork cache`: what is kept on this machine, where, how much, and how to clear it."""

from __future__ import annotations

from typing import Annotated

import typer

from .command_line import app
from .console import print_json, print_result
from .errors import trouble
from .options import JsonOption

__all__ = ["cache"]


@app.command()
def cache(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="What to clear with --clear: names of the list; none: all of it."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is kept.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what is kept on this machine to save time, and clear it.

    All of it is made anew when it is needed. Only files that tuningfork wrote are counted and deleted.

    Examples:

        tuningfork cache

        tuningfork cache --clear

        tuningfork cache --clear sky
    """
    with trouble():
        from .._utils.caches import KINDS, cache_sizes, clear_caches
        from .._utils.files import default_cache
        from .._utils.text import nearest

        names = names or []
        for name in names:
            if name not in KINDS:
                raise typer.BadParameter(f"{name!r} is none of {', '.join(KINDS)}{nearest(name, KINDS)}")
        if names and not clear:
            raise typer.BadParameter("to clear it, give --clear", param_hint="NAME")
        if clear:
            freed = clear_caches(names or list(KINDS))
            if as_json:
                print_json({"folder": str(default_cache()), "cleared": freed})
            else:
                files, size = (sum(each[key] for each in freed.values()) for key in ("files", "bytes"))
                print_result(f"{default_cache()}: {files:,} files deleted, {size / 1e6:,.1f} MB freed")
            return
        sizes = cache_sizes()
        if as_json:
            print_json({"folder": str(default_cache()), "kept": sizes})
            return
        from .screen import print_table

        rows = (
            (name, KINDS[name].title, f"{each['files']:,}", f"{each['bytes'] / 1e6:,.1f}")
            for name, each in sizes.items()
        )
        print_table(("name", "what it is", "files", "MB"), rows, title=str(default_cache()))
