"""`tuningfork map`: galaxies on a page, those that a model sees alike together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import app, must_exist, say, trouble
from .similar import are_tables

__all__ = ["map"]


@app.command()
def map(
    paths: Annotated[
        list[str], typer.Argument(help="Parquet that `predict --embeddings` wrote, or folders of it; or pictures.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Page to write.")],
    points: Annotated[int, typer.Option(min=20, max=5000, help="Of more galaxies, so many drawn at random.")] = 2000,
    images: Annotated[Path | None, typer.Option("--images", help="Where the table's pictures lie now.")] = None,
    model: Annotated[str, typer.Option(help="For pictures: a shipped model's name, or a bundle's folder.")] = "default",
    seed: Annotated[int, typer.Option(min=0, help="Of the map, and of which galaxies are drawn.")] = 0,
) -> None:
    """Draw galaxies on a page, those that a model sees alike together; each point shows its picture.

    The page needs nothing else: no network, no scripts. `tuningfork report` draws the same map of a run's galaxies.

    Examples:

        tuningfork map votes.parquet -o map.html

        tuningfork map cutouts/ -o map.html --model fast --points 500
    """
    must_exist([*paths, *([images] if images else [])])
    with trouble():
        from .._utils.files import check_writable, write_text
        from ..display.html import section, whole_page
        from ..similarity.map_page import galaxy_map, sampled

        check_writable(output)
        if are_tables(paths):
            from ..similarity import Tables

            tables = Tables(paths)
            embedder, batches = tables.embedder, tables.batches(("id", "path", "class_name"))
        else:
            from ..model.model import load
            from ..model.options import InferenceOptions
            from ..pipeline.predict import predict_inputs

            opened = load(model)
            embedder = opened.embedder()
            told = predict_inputs(opened, paths, InferenceOptions(embeddings=True))
            batches = (batch for each in told for batch in each.to_table().to_batches())
        sample = sampled(batches, points, seed)
        say(f"drawing {len(sample.ids)} galaxies")
        drawn = galaxy_map(sample, images=images, seed=seed)
        name = f"What {embedder.model} sees"
        write_text(output, whole_page("A map of galaxies", [], [section("map", name, drawn)]))
        size = output.stat().st_size / 1e6
        print(f"{output}: {len(sample.ids)} of {sample.seen} galaxies, {size:.1f} MB; {sample.failed} left out")
