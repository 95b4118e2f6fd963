"""The commonest mistakes with `tuningfork predict`, answered with the command that does what is meant."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from .._utils.errors import InputError, TuningforkError
from .._utils.urls import is_url
from .console import print_note

__all__ = ["WrongInput", "check_inputs", "explain", "print_unused_options"]

#: Images of a folder that are looked at for FITS files.
LOOKED_AT = 1000


class WrongInput(TuningforkError, ValueError):
    """An input of another kind than the command takes; the message has the right command."""


def check_inputs(paths: Sequence[str], source: str | None) -> None:
    """Refuse inputs that another command takes.

    Raises
    ------
    WrongInput
        With that command.
    """
    for path in paths:
        if is_url(path) or path == "-":
            continue
        file = Path(path)
        if (file / "bundle.json").is_file() or file.suffix == ".onnx":
            bundle = file if file.is_dir() else file.parent
            raise WrongInput(
                f"{path}: is a model, not an image: tuningfork predict IMAGES --model {shlex.quote(str(bundle))}"
            )
        if file.suffix.lower() == ".zip" and file.is_file():
            _check_zip(file)
        if source is not None and not _is_table(path):
            raise WrongInput(
                f"{path}: --source takes a catalogue of positions, which this is not; to predict images, leave "
                f"--source out: tuningfork predict {shlex.quote(path)}"
            )


def _is_table(path: str) -> bool:
    from ..inputs import is_catalogue

    return is_catalogue(path)


def _check_zip(file: Path) -> None:
    """The Kaggle download is an archive of archives."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError):
        return  # whoever reads it says what is wrong
    from ..images.find import is_image_name

    inner = [name for name in names if name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))]
    if inner and not any(map(is_image_name, names)):
        images = [name for name in inner if "image" in name.lower()]
        first = images[0] if images else inner[0]
        raise WrongInput(
            f"{file}: holds archives ({', '.join(inner[:4])}), not images: unzip {shlex.quote(str(file))}, then "
            f"tuningfork predict {shlex.quote(first)} -o votes.parquet (an archive of images is read as it is)"
        )


def explain(path: str, error: InputError, output: str) -> InputError:
    """The error of a catalogue without images, with the command that takes such a table.

    Parameters
    ----------
    path : str
        The catalogue.
    error : InputError
        Why it is no catalogue of images.
    output : str
        The output that was named, or an example.
    """
    from ..inputs import Columns
    from ..inputs.catalogues import open_rows
    from ..tables.column_roles import sky_columns

    try:
        schema = open_rows(path)[0].schema
    except InputError:
        return error
    quoted = shlex.quote(path)
    if tree := _tree_of_votes(schema.names):
        return InputError(
            f"{path}: is a table of votes (decision tree {tree}), not of images. To score predictions with it: "
            f"tuningfork evaluate votes.parquet {quoted}; to train with it: tuningfork train --images DIR "
            f"--labels {quoted} -o run"
        )
    try:
        sky_columns(Columns(), schema, path)
    except InputError:
        return error
    return InputError(
        f"{path}: has positions but no images: tuningfork predict {quoted} --source sdss --size 60 -o {output} "
        "downloads them (60 arcsec a side; `tuningfork predict --help-all` lists the sources). If a column names image "
        "files, name it with --path-column"
    )


def _tree_of_votes(names: Sequence[str]) -> str:
    """The decision tree of whose columns a table has most; "" if of none."""
    from ..votes.tree_files import builtin_trees, load_tree

    have = set(names)
    for name in builtin_trees():
        columns = load_tree(name).columns
        if 2 * len(have.intersection(columns)) > len(columns):
            return name
    return ""


def print_unused_options(
    paths: Sequence[str], catalogues: Sequence[str], *, fits: Sequence[str], tables: Sequence[str]
) -> None:
    """Print which options cannot have an effect on these inputs.

    Parameters
    ----------
    paths : sequence of str
        The inputs.
    catalogues : sequence of str
        Those of them that are catalogues.
    fits, tables : sequence of str
        Options of FITS images and of catalogues that were given.
    """
    if tables and not catalogues:
        print_note(f"note: {', '.join(tables)} is for catalogues; none of the inputs is one")
    if fits and not catalogues and all(map(_holds_no_fits, paths)):
        print_note(f"note: {', '.join(fits)} is for FITS images; these are none, and are taken as they are")


def _holds_no_fits(path: str) -> bool:
    """Whether it is known that there is no FITS image: of files by name, of folders by their first images."""
    from ..images.find import find_images, is_raster_name

    file = Path(path)
    if is_url(path) or not (file.is_dir() or is_raster_name(path)):
        return False
    return all(is_raster_name(each.name) for each in islice(find_images([file]), LOOKED_AT))
