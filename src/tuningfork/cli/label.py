"""`tuningfork label`: people label galaxies in a browser, and a model learns from them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer
from rich.table import Table

from .options import (
    JsonOption,
    OverwriteOption,
    app,
    counted,
    echo,
    libraries,
    must_exist,
    print_json,
    progress_bar,
    report_rows,
    say,
    screen,
    trouble,
    writing,
)

if TYPE_CHECKING:
    from ..labelling.campaign import Store
    from ..labelling.order import Order
    from ..tables import RowError
    from ..votes.tree import DecisionTree

__all__ = ["label"]


@app.command()
def label(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.", exists=True, file_okay=False)],
    tree: Annotated[
        str | None,
        typer.Option(
            "--tree",
            help="What to ask: gz2, gz_decals, gz1, a TOML file, a model's folder; or a table whose column `label` "
            "names your own classes.  [default: gz2, or what the database holds]",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Instead of --tree, one of your own classes; repeat it.")
    ] = None,
    database: Annotated[
        Path | None, typer.Option(help="Where the answers are kept.  [default: DIR/labels.sqlite]")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Tells what teaches most, and is fine-tuned; `none`: an order by chance.")
    ] = "fast",
    order: Annotated[
        Path | None, typer.Option(help="Table of `tuningfork rank` or `predict`, which decides the order instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what chance decides in the order.")] = 0,
    votes_each: Annotated[int, typer.Option(min=1, max=1000, help="People who are asked about each galaxy.")] = 1,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets others join, by an address with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8001,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name under which browsers reach this machine; may be repeated.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the trainings that the page starts.  [default: DIR-runs]")
    ] = None,
    train_options: Annotated[
        str, typer.Option(help="More options for these trainings, in one text, such as '--epochs 5'.")
    ] = "",
    export: Annotated[
        Path | None, typer.Option(help="Write what was answered to this file, and serve nothing.")
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", help="Of the export: kaggle (votes to train with), answers, or zooniverse.")
    ] = "kaggle",
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Show how far people agree, and serve nothing.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label galaxies in a browser, alone or several at once: answers down the tree, each kept at once in a database.

    The galaxies whose label teaches most come first. Ctrl-C ends the server, and the same command goes on.
    Needs `tuningfork[serve]`.

    Examples:

        tuningfork label cutouts/

        tuningfork label cutouts/ --class spiral --class elliptical --class other

        tuningfork label cutouts/ --votes-each 3 --host 0.0.0.0

        tuningfork label cutouts/ --order order.csv --tree gz_decals

        tuningfork label cutouts/ --export votes.csv

        tuningfork label cutouts/ --export manifest.csv --format zooniverse

        tuningfork label cutouts/ --agreement
    """
    must_exist([order] if order else [])
    if tree and classes:
        raise typer.BadParameter("not together with --tree", param_hint="--class")
    with trouble("every answer is kept, and the same command goes on"):
        from ..labelling.campaign import Store
        from ..labelling.database import TeachError
        from ..labelling.export import FORMATS

        if kind not in FORMATS:
            raise typer.BadParameter(", ".join(FORMATS), param_hint="--format")
        database = database or folder / "labels.sqlite"
        reads = export is not None or agreement
        if reads and not database.exists():
            raise TeachError(f"{database}: no such database; label some galaxies first")
        asked, named = _tree(tree, classes or [], new=not database.exists())
        if reads:
            with Store(database, asked, votes_each=votes_each) as store:
                if agreement:
                    _agreement(store, as_json)
                if export:
                    _export(store, folder, export, kind, model, overwrite, as_json)
            return
        with libraries("labelling", "serve"):
            from ..web import serve
            from ..web.label.app import label_app
            from ..web.label.invite import is_loopback, new_token, reached_at
        from .._utils.files import lock
        from ..labelling.fine_tune import Training
        from ..labelling.order import Order
        from ..labelling.pictures import check_folder

        check_folder(folder)
        busy = TeachError(f"{database}: another tuningfork label is at work on it; open its page")
        with lock(f"{database}.lock", busy), Store(database, asked, named=named, votes_each=votes_each) as store:
            missing = _prepare(store, folder, Order(order, model, seed))
            _say_left_out(missing)
            token = "" if is_loopback(host) else new_token()
            training = Training(
                store,
                folder,
                runs or folder.resolve().with_name(f"{folder.resolve().name}-runs"),
                start="default" if model == "none" else model,
                tree=store.named,
                options=tuple(shlex.split(train_options)),
            )

            def ready(address: str) -> None:
                port = urlsplit(address).port
                address = f"http://{reached_at(host)}:{port}/" + (f"?join={token}" if token else "")
                if as_json:
                    print_json({"address": address, "database": str(database), "left_out": len(missing)}, None)
                    sys.stdout.flush()
                else:
                    echo(f"{address}: open this page in a browser; Ctrl-C ends it")

            serve(label_app(store, folder, training, token=token, hosts=allow_host or ()), host, port, ready)


def _tree(given: str | None, classes: Sequence[str], *, new: bool) -> tuple[DecisionTree | None, str]:
    """The tree that was named, and how `tuningfork train --tree` calls it; None: that of the database."""
    from ..labelling.database import TeachError
    from ..tables import FORMATS
    from ..votes.class_labels import OWN, class_tree, read_tree
    from ..votes.tree_files import builtin_trees, load_tree

    if classes:
        if len(set(classes)) < 2:
            raise TeachError("at least two different classes are needed to tell apart; repeat --class")
        return class_tree(classes), ""
    if given is None:
        return (load_tree("gz2"), "gz2") if new else (None, "")
    if Path(given).suffix.lower() in FORMATS:
        return read_tree(given, OWN), ""
    found = load_tree(given)
    return found, "" if found.name == OWN else given if given in builtin_trees() else str(Path(given).resolve())


def _prepare(store: Store, folder: Path, by: Order) -> list[RowError]:
    from ..labelling.order import put_in_order
    from ..labelling.pictures import left_out, see_folder

    twice = see_folder(store, folder)
    with progress_bar("looking at the pictures") as progress:
        put_in_order(store, folder, by, progress)
    return twice + left_out(store, folder)


def _say_left_out(errors: Sequence[RowError]) -> None:
    try:
        report_rows(errors)
    except typer.Exit:
        say(f"{counted(len(errors), 'picture is', 'pictures are')} left out; the others can be labelled")


def _agreement(store: Store, as_json: bool) -> None:
    import math
    from dataclasses import asdict

    from ..labelling.agreement import agreement as measure
    from ..labelling.tally import tally

    found = measure(tally(store.given(), store.tree).counts, store.tree)
    if as_json:
        told = [{name: None if value != value else value for name, value in asdict(each).items()} for each in found]
        print_json({"questions": told, **store.progress()})
        return
    table = Table("question", "galaxies", "answers", "same", "alpha", title="Where several people were asked")
    for column in table.columns[1:]:
        column.justify = "right"
    for each in found:
        numbers = ("–" if math.isnan(value) else f"{value:.3f}" for value in (each.raw, each.alpha))
        table.add_row(each.text, str(each.galaxies), str(each.answers), *numbers)
    screen().print(table)
    echo("same: share of pairs of people who say the same; alpha: Krippendorff's, 1 perfect, 0 by chance")
    people = store.progress()["people"]
    assert isinstance(people, dict)
    echo("; ".join(f"{name}: {counted(count, 'galaxy', 'galaxies')}" for name, count in people.items()))


def _export(store: Store, folder: Path, output: Path, kind: str, model: str, overwrite: bool, as_json: bool) -> None:
    from ..labelling.export import check_export
    from ..labelling.export import export as write
    from ..labelling.fine_tune import train_command

    with writing(output, [store.path], overwrite, suffix=".csv") as output:
        check_export(output, kind)
        rows, errors = write(store, folder, output, kind)
        start = "default" if model == "none" else model
        command = train_command(folder, output, Path("run"), start=start, tree=store.named)
        if as_json:
            told = {"output": str(output), "format": kind, "rows": rows, "left_out": len(errors)}
            print_json({**told, **({"train": command} if kind == "kaggle" else {})})
        else:
            what = {
                "kaggle": ("galaxy", "galaxies"),
                "answers": ("answer", "answers"),
                "zooniverse": ("subject", "subjects"),
            }
            echo(f"{output}: {counted(rows, *what[kind])}")
            if kind == "kaggle":
                echo(f"to learn from them: {shlex.join(command)}")
            elif kind == "zooniverse":
                echo(
                    f"to upload them: panoptes subject-set upload-subjects -f 1 SUBJECT_SET {shlex.quote(str(output))}"
                )
        report_rows(errors)
