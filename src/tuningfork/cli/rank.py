"""`tuningfork rank` and `select`: which galaxies a human should look at, and which need none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    JsonOption,
    OverwriteOption,
    TreeOption,
    app,
    counted,
    echo,
    must_exist,
    print_json,
    progress_bar,
    report_rows,
    trouble,
    writing,
)

__all__ = ["rank", "select"]


@app.command()
def rank(
    paths: Annotated[list[Path], typer.Argument(help="A table written by `tuningfork predict`; or pictures, folders.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .csv, .parquet, .fits, .vot or .ecsv.")
    ],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Galaxies to choose.")] = 500,
    model: Annotated[str, typer.Option(help="For pictures: a shipped model's name, or a bundle's folder.")] = "default",
    labels: Annotated[Path | None, typer.Option("--labels", help="Table of what has labels already.")] = None,
    include: Annotated[
        bool, typer.Option("--out-of-domain", help="Keep galaxies that the predictions mark as out of domain.")
    ] = False,
    features: Annotated[
        bool,
        typer.Option("--features/--no-features", help="Compare galaxies by embeddings where there are some, or never."),
    ] = True,
    shortlist: Annotated[
        int, typer.Option(min=1, help="At most so many are compared with one another; of more, a weighted sample.")
    ] = 50_000,
    views: Annotated[int | None, typer.Option(help="For pictures: views to average, 1, 2, 4 or 8.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Pictures at a time.")] = 32,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: all cores.")] = 0,
    tree: TreeOption = "gz2",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw; the same seed gives the same order.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Order unlabelled galaxies by what a label would teach: uncertain ones, and none like those before it.

    Each next galaxy is drawn in proportion to the entropy of its predicted votes times its squared distance to the
    nearest one that is labelled or chosen: by what the network sees, if the table has embeddings (`predict
    --embeddings`) or the model gives them, else by the predicted votes. --tree is for tables; a model brings its own.

    Examples:

        tuningfork rank votes.parquet -o order.csv

        tuningfork rank votes.parquet -o order.csv --no-features

        tuningfork rank votes.parquet -o order.csv -n 100 --labels training_solutions_rev1.csv

        tuningfork rank cutouts/ -o order.csv --model run/bundle
    """
    if views not in (None, 1, 2, 4, 8):
        raise typer.BadParameter("1, 2, 4 or 8", param_hint="--views")
    must_exist([*paths, *([labels] if labels else [])])
    with trouble(), writing(output, [*paths, labels, model, tree], overwrite) as output:
        from ..labelling.rank import blocks_of_pictures, blocks_of_table, labelled_ids
        from ..labelling.rank import rank as order
        from ..model.model import load
        from ..tables import FORMATS, check_format, table_writer
        from ..votes.tree_files import load_tree

        check_format(output)
        source = ""
        if len(paths) == 1 and paths[0].is_file() and paths[0].suffix.lower() in FORMATS:
            source = str(paths[0])
            blocks, known_tree = blocks_of_table(paths[0]), load_tree(tree)
        else:
            opened = load(model, threads=threads)
            seeing = features and opened.feature_width > 0
            blocks = blocks_of_pictures(opened, paths, views=views, batch=batch, embeddings=seeing)
            known_tree = opened.tree
        with progress_bar("reading") as progress:
            done = 0

            def watched() -> Any:
                nonlocal done
                for block in blocks:
                    yield block
                    done += block.num_rows
                    if progress:
                        progress(done, 0)

            found = order(
                watched(),
                known_tree,
                source=source,
                count=count,
                labelled=labelled_ids(labels, known_tree) if labels else frozenset(),
                out_of_domain=include,
                features=features,
                shortlist=shortlist,
                seed=seed,
            )
        with table_writer(output, found.table.schema) as write:
            write(found.table)
        if as_json:
            print_json({"output": str(output), "chosen": found.table.num_rows, **found.to_dict()})
        else:
            echo(f"{output}: {counted(found.table.num_rows, 'galaxy', 'galaxies')} to label, of {found.rows}")
            echo(f"compared by {'what the network sees' if found.by_features else 'the predicted votes'}")
            if labels:
                echo(f"left out: {found.labelled} with labels")
            if found.domain_known:
                echo(f"{'kept' if include else 'left out'}: {found.out_of_domain} out of the model's domain")
            if found.compared == shortlist:
                echo(f"compared: {shortlist}, a sample of the others weighted by uncertainty")
            for row in found.table.slice(0, 5).to_pylist():
                echo(f"  {row['rank']} {row['id']}: {row['reason']}")
        report_rows(found.errors, found.failed)


@app.command()
def select(
    predictions: Annotated[Path, typer.Argument(help="Table written by `tuningfork predict`.")],
    labels: Annotated[
        Path, typer.Argument(help="Table of votes, or with --column of classes, of some of its galaxies.")
    ],
    precision: Annotated[float, typer.Option(help="Share of the accepted classes that must be right.")] = 0.99,
    confidence: Annotated[float, typer.Option(help="With which that is to be promised.")] = 0.95,
    column: Annotated[str | None, typer.Option(help="Column of the labels that holds a class's number.")] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="With --column: our classes that its numbers 0, 1, … stand for, such as 0,1,2,3,4+5."),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="split.csv of a training; uses the labels of one part.")] = None,
    part: Annotated[str, typer.Option(help="The part to use: train, validation or test.")] = "test",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Table to write: each galaxy's class, and if it is accepted.")
    ] = None,
    tree: TreeOption = "gz2",
    seed: Annotated[int, typer.Option(min=0, help="Of the halves.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """How many galaxies can be classified without a human, at a precision that the labels prove.

    A threshold of the class's probability is chosen on a random half of the labelled galaxies, which should be a
    random sample of the survey that the model did not learn from, and judged on the other half; then it is applied to
    all predictions.

    Examples:

        tuningfork select votes.parquet training_solutions_rev1.csv --split run/split.csv

        tuningfork select votes.parquet labels.csv --precision 0.95 -o accepted.csv

        tuningfork select votes.parquet labels.csv --column five_class --groups 0,1,2,3,4+5 --json
    """
    for name, value in (("--precision", precision), ("--confidence", confidence)):
        if not 0 < value < 1:
            raise typer.BadParameter("between 0 and 1", param_hint=name)
    if groups and not column:
        raise typer.BadParameter("they belong to a --column", param_hint="--groups")
    must_exist([predictions, labels, *([split] if split else [])])
    with trouble(), writing(output, [predictions, labels, split, tree], overwrite) as output:
        from ..evaluation.select import parse_groups, select_table, true_classes
        from ..tables import check_format, table_writer
        from ..votes.split_file import read_split
        from ..votes.tree_files import load_tree

        if output:
            check_format(output)
        known_tree = load_tree(tree)
        found = select_table(
            predictions,
            true_classes(
                labels, known_tree, column=column, groups=parse_groups(groups, known_tree) if groups else None
            ),
            precision,
            confidence,
            split=read_split(split) if split else None,
            subset=part,
            seed=seed,
        )
        if output:
            with table_writer(output, found.table.schema) as write:
                write(found.table)
        if as_json:
            print_json(found.to_dict())
        else:
            for line in found.lines():
                echo(line)
        report_rows(found.errors)
