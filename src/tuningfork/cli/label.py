"""`tuningfork label`: people label galaxies in a browser, and a model is fine-tuned on their labels."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from .._utils.text import counted
from .command_line import app
from .console import echo, print_json, print_result
from .errors import libraries, must_exist, report_rows, trouble
from .files import writing
from .options import JsonOption, OverwriteOption
from .progress import progress_bar
from .screen import print_table

if TYPE_CHECKING:
    from ..labelling.campaign import Campaign
    from ..labelling.order import OrderSource
    from ..tables import RowError
    from ..votes.tree import DecisionTree

__all__ = ["label"]


@app.command()
def label(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images.", exists=True, file_okay=False)],
    tree: Annotated[
        str | None,
        typer.Option(
            "--tree",
            help="Decision tree: gz2, gz_decals, gz1, a TOML file, a model's folder; or a table whose column `label` "
            "names your own classes.  [default: gz2, or that of the database]",
        ),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Instead of --tree, one of your own classes; may be repeated.")
    ] = None,
    database: Annotated[
        Path | None, typer.Option(help="SQLite file of the answers.  [default: DIR/labels.sqlite]")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Orders the galaxies by uncertainty, and is fine-tuned; `none`: a random order.")
    ] = "fast",
    order: Annotated[
        Path | None, typer.Option(help="Table of `tuningfork rank` or `predict` that decides the order instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is random in the order.")] = 0,
    votes_each: Annotated[int, typer.Option(min=1, max=1000, help="Number of people who label each galaxy.")] = 1,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets others join, by an address with a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8001,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A host name under which browsers reach this machine; may be repeated.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the trainings that the page starts.  [default: DIR-runs]")
    ] = None,
    train_options: Annotated[
        str, typer.Option(help="Further options of these trainings, as one text, such as '--epochs 5'.")
    ] = "",
    export: Annotated[
        Path | None, typer.Option(help="Write the answers so far to this file, without a server.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option("--format", help="Format of the export: kaggle (votes to train with), answers or zooniverse."),
    ] = "kaggle",
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Show the agreement between labellers, without a server.")
    ] = False,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label galaxies in a browser, alone or with others: answers down the decision tree, stored at once.

    The most informative galaxies come first (active learning). Ctrl-C ends the server, and the same command
    continues. Needs `pip install '.[serve]'`.

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
    with trouble("every answer is stored; the same command continues"):
        from ..labelling.campaign import Campaign
        from ..labelling.database import LabellingError
        from ..labelling.export import FORMATS

        if kind not in FORMATS:
            raise typer.BadParameter(", ".join(FORMATS), param_hint="--format")
        database = database or folder / "labels.sqlite"
        is_new = not database.exists()
        without_server = export is not None or agreement
        if without_server and is_new:
            raise LabellingError(f"{database}: no such database; label some galaxies first")
        chosen_tree, tree_name = _tree(tree, classes or [], is_new)
        if without_server:
            with Campaign(database, chosen_tree, votes_each=votes_each) as campaign:
                if agreement:
                    _print_agreement(campaign, as_json)
                if export:
                    _export(campaign, folder, export, kind, model, overwrite, as_json)
            return
        with libraries("labelling", "serve"):
            from ..web.label.app import label_app
            from ..web.label.invite import is_loopback, new_token, public_host
            from ..web.server import serve
        from .._utils.locks import lock
        from ..labelling.fine_tune import FineTuning
        from ..labelling.image_folder import check_folder
        from ..labelling.order import OrderSource

        check_folder(folder)
        busy = LabellingError(f"{database}: another tuningfork label is using it; open its page")
        with (
            lock(f"{database}.lock", busy),
            Campaign(database, chosen_tree, tree_name=tree_name, votes_each=votes_each) as campaign,
        ):
            excluded = _prepare(campaign, folder, OrderSource(order, model, seed))
            _report_excluded(excluded)
            token = "" if is_loopback(host) else new_token()
            training = FineTuning(
                campaign,
                folder,
                runs or folder.resolve().with_name(f"{folder.resolve().name}-runs"),
                init="default" if model == "none" else model,
                options=tuple(shlex.split(train_options)),
            )

            def ready(address: str) -> None:
                port = urlsplit(address).port
                address = f"http://{public_host(host)}:{port}/" + (f"?join={token}" if token else "")
                if as_json:
                    print_json({"address": address, "database": str(database), "left_out": len(excluded)}, None)
                    sys.stdout.flush()
                else:
                    echo(f"{address}: open this page in a browser; Ctrl-C ends it")

            serve(label_app(campaign, folder, training, token=token, hosts=allow_host or ()), host, port, ready)


def _tree(name: str | None, classes: Sequence[str], is_new: bool) -> tuple[DecisionTree | None, str]:
    """The chosen tree, and its value for `tuningfork train --tree`; None: that of the database."""
    from ..labelling.database import LabellingError
    from ..tables import has_format
    from ..votes.class_labels import OWN, class_tree, read_tree
    from ..votes.tree_files import builtin_trees, load_tree

    if classes:
        if len(set(classes)) < 2:
            raise LabellingError("at least two different classes are needed; repeat --class")
        return class_tree(classes), ""
    if name is None:
        return (load_tree("gz2"), "gz2") if is_new else (None, "")
    if has_format(name):
        return read_tree(name, OWN), ""
    tree = load_tree(name)
    return tree, "" if tree.name == OWN else name if name in builtin_trees() else str(Path(name).resolve())


def _prepare(campaign: Campaign, folder: Path, by: OrderSource) -> list[RowError]:
    from ..labelling.image_folder import excluded_galaxies, update_from_folder
    from ..labelling.order import put_in_order

    duplicates = update_from_folder(campaign, folder)
    with progress_bar("reading the images") as progress:
        put_in_order(campaign, folder, by, progress)
    return duplicates + excluded_galaxies(campaign, folder)


def _report_excluded(errors: Sequence[RowError]) -> None:
    try:
        report_rows(errors)
    except typer.Exit:
        count = counted(len(errors), "image is", "images are")
        echo(f"{count} left out; the others can be labelled", err=True)


def _print_agreement(campaign: Campaign, as_json: bool) -> None:
    from ..labelling.agreement import agreement
    from ..labelling.tally import tally

    rows = agreement(tally(campaign.answers(), campaign.tree).counts, campaign.tree)
    if as_json:
        questions = [{name: None if value != value else value for name, value in asdict(row).items()} for row in rows]
        print_json({"questions": questions, **campaign.progress()})
        return
    cells = []
    for row in rows:
        numbers = (None if math.isnan(value) else f"{value:.3f}" for value in (row.raw, row.alpha))
        cells.append((row.text, row.galaxies, row.answers, *numbers))
    print_table(("question", "galaxies", "answers", "same", "alpha"), cells, title="Agreement of several labellers")
    echo("same: share of pairs of people who give the same answer; alpha: Krippendorff's, 1 perfect, 0 by chance")
    people = campaign.progress()["people"]
    assert isinstance(people, dict)
    echo("; ".join(f"{name}: {counted(count, 'galaxy', 'galaxies')}" for name, count in people.items()))


def _export(
    campaign: Campaign, folder: Path, output: Path, kind: str, model: str, overwrite: bool, as_json: bool
) -> None:
    from ..labelling.export import check_export, export
    from ..labelling.fine_tune import train_command

    with writing(output, [campaign.path], overwrite, suffix=".csv") as output:
        check_export(output, kind)
        rows, errors = export(campaign, folder, output, kind)
        init = "default" if model == "none" else model
        command = train_command(folder, output, Path("run"), init=init, tree=campaign.tree_name)
        if as_json:
            result = {"output": str(output), "format": kind, "rows": rows, "left_out": len(errors)}
            print_json({**result, **({"train": command} if kind == "kaggle" else {})})
        else:
            nouns = {
                "kaggle": ("galaxy", "galaxies"),
                "answers": ("answer", "answers"),
                "zooniverse": ("subject", "subjects"),
            }
            print_result(f"{output}: {counted(rows, *nouns[kind])}")
            if kind == "kaggle":
                echo(f"to train with them: {shlex.join(command)}")
            elif kind == "zooniverse":
                upload = f"panoptes subject-set upload-subjects -f 1 SUBJECT_SET {shlex.quote(str(output))}"
                echo(f"to upload them: {upload}")
        report_rows(errors)
