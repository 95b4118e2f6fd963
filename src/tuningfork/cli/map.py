"""`tuningfork map`: a page with a map of galaxies by their embeddings (UMAP)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .command_line import app
from .console import print_note, print_result
from .errors import must_exist, trouble
from .files import writing
from .index import are_tables
from .options import EmbeddingsArgument, ModelOfImagesOption, OverwriteOption

__all__ = ["map"]


@app.command()
def map(
    paths: EmbeddingsArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="Page to write.")],
    points: Annotated[
        int, typer.Option("--max", min=20, max=5000, help="Galaxies on the map; of more, so many are drawn at random.")
    ] = 2000,
    images: Annotated[Path | None, typer.Option("--images", help="Folder where the table's images are now.")] = None,
    model: ModelOfImagesOption = "default",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the map and of the random draw.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a map on which similar galaxies lie together; each point shows its image.

    The wheel zooms, a lasso selects galaxies, and the selection is saved as a table. The page needs no network, and
    shows the map without JavaScript too. `tuningfork report` draws the same map of a run's galaxies.

    Examples:

        tuningfork map votes.parquet -o map.html

        tuningfork map cutouts/ -o map.html --model fast --max 500
    """
    must_exist([*paths, *([images] if images else [])])
    with trouble(), writing(output, [*paths, images, model], overwrite, suffix=".html") as output:
        from .._utils.files import write_text
        from ..similarity.map_page import galaxy_map, map_page, sample_galaxies

        if are_tables(paths):
            from ..similarity import EmbeddingTables

            tables = EmbeddingTables(paths)
            embedder, batches = tables.embedder, tables.batches(("id", "path", "class_name", "description"))
        else:
            from ..model.model import load
            from ..model.options import InferenceOptions
            from ..pipeline.in_process import predict_inputs

            opened = load(model)
            embedder = opened.embedder()
            stream = predict_inputs(opened, paths, InferenceOptions(embeddings=True))
            batches = (batch for each in stream for batch in each.to_table().to_batches())
        sample = sample_galaxies(batches, points, seed)
        print_note(f"drawing {len(sample.ids)} galaxies")
        drawn = galaxy_map(sample, images=images, seed=seed)
        names = ", ".join(dict.fromkeys(Path(path).name or path for path in paths[:3])) + (
            ", …" if len(paths) > 3 else ""
        )
        page = map_page(drawn, names, embedder.model)
        write_text(output, page)
        size = output.stat().st_size / 1e6
        print_result(f"{output}: {len(sample.ids)} of {sample.total} galaxies, {size:.1f} MB; {sample.failed} left out")
