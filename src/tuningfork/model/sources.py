"""What `Model.predict` takes: paths, bytes, arrays, tensors, images and tables of paths, as a list of images."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .._utils.errors import InputError
from .._utils.text import one_line, text
from .._utils.urls import is_url
from ..images.image import ImageError
from ..images.read import is_single_image
from ..images.values import to_display_bytes
from ..inputs import InputItem, ItemReader, find_items, is_catalogue
from .image_reader import ImageReader, LoadedImage

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ImageRow", "Images", "images_of"]

IMAGE_KINDS = (
    "an image is a path, a pattern of paths, a folder, an archive, a catalogue, bytes, a binary file object, a Pillow "
    "image, an array or tensor (H, W, 3), (3, H, W) or (H, W), a batch (N, H, W, 3) or (N, 3, H, W), a data frame with "
    "a column of paths, or a list of these"
)
_PATTERN = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image that is read later.

    Parameters
    ----------
    source : object
        What `images.read_image` takes; an `InputItem` is read by its reader.
    name : (id, path), optional
        None: by the file's name, or the number.
    error : str
        Why there is none; "" if there may be one.
    warnings : tuple of str
        What is known of it before it is read.
    """

    source: Any = None
    name: tuple[str, str] | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass
class Images:
    """The images of a source, and whether it is one image rather than several; a context manager that closes archives.

    Parameters
    ----------
    rows : list of ImageRow
    is_single : bool
    """

    rows: list[ImageRow]
    is_single: bool
    _items: ItemReader = field(default_factory=ItemReader)

    def __enter__(self) -> Images:
        self._items.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._items.__exit__(*error)

    def read(self, first: int, last: int, reader: ImageReader) -> list[LoadedImage]:
        """Read the rows from `first` up to `last`; a failure becomes the row's error."""
        return reader.add_scores([self._read(self.rows[n], n, reader) for n in range(first, min(last, len(self.rows)))])

    def _read(self, row: ImageRow, number: int, reader: ImageReader) -> LoadedImage:
        name = row.name
        if row.error:
            return LoadedImage(*(name or (str(number), "")), None, row.error)
        if not isinstance(row.source, InputItem):
            loaded = reader.read(row.source, number, name=name, scored=False)
        else:
            item = row.source
            try:
                loaded = reader.read(
                    self._items.prepare(item)(), number, name=(item.id, item.path), radius=item.radius, scored=False
                )
            except ImageError as error:
                return LoadedImage(item.id, item.path, None, str(error))
        if not row.warnings:
            return loaded
        warning = "; ".join(filter(None, (*row.warnings, loaded.warning)))
        return replace(loaded, warning=warning)


def images_of(source: Any) -> Images:
    """List the images of anything that `Model.predict` takes.

    Raises
    ------
    TypeError
        If it is none of these; names what is taken.
    ValueError
        If an array's shape can be read in two ways, or in none.
    FileNotFoundError
        If there is no such file, or no file matches a pattern.
    """
    source = _plain(source)
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if not isinstance(path, str):
            raise TypeError(f"{IMAGE_KINDS}; not a path of {type(path).__name__}")
        rows = list(_of_path(path))
        return Images(rows, len(rows) == 1 and _names_one_image(path))
    if isinstance(source, np.ndarray) and source.dtype.kind in "OU" and source.ndim == 1:
        source = source.tolist()  # paths of a data frame's column
    if isinstance(source, np.ndarray):
        batch = _batch(source)
        return Images([ImageRow(source)], True) if batch is None else Images(_of_batch(batch), False)
    if is_single_image(source):
        return Images([ImageRow(source)], True)
    if (table := _table(source)) is not None:
        return Images(list(_of_table(table)), False)
    if isinstance(source, Iterable) and not isinstance(source, dict | set | frozenset):
        return Images([row for number, each in enumerate(source) for row in _of_element(each, number)], False)
    raise TypeError(f"{IMAGE_KINDS}; not {type(source).__name__}")


def _of_element(source: Any, number: int) -> Iterator[ImageRow]:
    """The images of an element of a list; a file that is not there is a row with an error."""
    source = _plain(source)
    if (
        isinstance(source, list | tuple)
        and source
        and all(isinstance(each, str | os.PathLike | bytes) for each in source)
    ):
        yield ImageRow(source)  # FITS files of one band each
        return
    try:
        images = images_of(source)
    except FileNotFoundError as error:
        name = text(os.fspath(source))
        yield ImageRow(name=(Path(name).stem, name), error=f"cannot be read: {error}")
        return
    except TypeError:
        raise TypeError(f"element {number}: {IMAGE_KINDS}; not {type(source).__name__}") from None
    except ValueError as error:
        raise ValueError(f"element {number}: {error}") from None
    yield from images.rows


def _plain(source: Any) -> Any:
    """Tensors as arrays; PyTorch is never imported for it."""
    if callable(getattr(source, "detach", None)) and callable(getattr(source, "cpu", None)):
        tensor = source.detach().cpu()
        # NumPy has no bfloat16.
        if "bfloat16" in str(getattr(tensor, "dtype", "")):
            tensor = tensor.float()
        return tensor.numpy()
    if isinstance(source, np.ma.MaskedArray | np.ndarray | Image.Image | bytes | str):
        return source
    if type(source).__module__.partition(".")[0] in ("jax", "jaxlib", "cupy", "tensorflow") and hasattr(
        source, "shape"
    ):
        return np.asarray(source)
    return source


# ------------------------------------------------------------------ paths


def _of_path(path: str) -> Iterator[ImageRow]:
    path = os.path.expanduser(path)
    if not is_url(path) and not os.path.exists(path):
        if not _PATTERN.intersection(path):
            raise FileNotFoundError(f"{text(path)}: no such file or folder")
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise FileNotFoundError(f"{text(path)}: no file matches this pattern")
        yield from (ImageRow(item) for item in find_items(matches))
        return
    yield from (ImageRow(item) for item in find_items([path]))


def _names_one_image(path: str) -> bool:
    from ..inputs.archives import EXTENSIONS

    path = os.path.expanduser(path)
    if is_url(path):
        return not path.endswith("/") and not is_catalogue(path) and Path(path).suffix.lower() not in EXTENSIONS
    return os.path.isfile(path) and not is_catalogue(path) and Path(path).suffix.lower() not in EXTENSIONS


# ------------------------------------------------------------------ arrays


def _batch(array: NDArray[Any]) -> NDArray[Any] | None:
    """The array as a batch (N, H, W, C); None if it is one image.

    Raises
    ------
    ValueError
        If the shape can be read in two ways, or in none.
    """
    shape = array.shape
    if array.ndim == 2:
        return None
    if array.ndim == 3:
        last, first = shape[2] in (1, 3, 4), shape[0] == 3
        if not last and not first:
            raise ValueError(
                f"array of shape {shape}: (H, W, 3) or (3, H, W) is one image, (N, H, W, 3) or (N, 3, H, W) are "
                "several; give grey images as (N, H, W, 1)"
            )
        return None
    if array.ndim == 4:
        last, second = shape[3] in (1, 3, 4), shape[1] == 3
        if last and second:
            raise ValueError(f"array of shape {shape}: (N, H, W, C) or (N, 3, H, W)? Move the channels to one end")
        if not last and not second:
            raise ValueError(f"array of shape {shape}; a batch is (N, H, W, 3), (N, H, W, 1) or (N, 3, H, W)")
        return array if last else np.moveaxis(array, 1, 3)
    raise ValueError(f"array of shape {shape}; (H, W), (H, W, 3), (3, H, W), (N, H, W, 3) or (N, 3, H, W) is expected")


def _of_batch(batch: NDArray[Any]) -> list[ImageRow]:
    """The images of a batch, whose brightness is judged together: a dim one is no image of another depth.

    Raises
    ------
    ImageError
        If the values are in none of the ranges of `to_display_bytes`.
    """
    if np.ma.is_masked(batch):
        raise ImageError("masked array: fill its masked pixels, or save it as FITS with NaN there")
    batch = np.asarray(batch)
    good = np.ones(len(batch), bool)
    if batch.dtype.kind == "f":
        good = np.isfinite(batch).all((1, 2, 3))
    converted, warnings = to_display_bytes(batch[good])
    images = iter(converted)
    # One that is not finite is left to the reader, which says so in its row.
    return [ImageRow(next(images) if is_good else batch[n], None, "", warnings) for n, is_good in enumerate(good)]


# ------------------------------------------------------------------ tables


def _table(source: Any) -> pa.Table | None:
    """A data frame of pandas or polars, or a table of Arrow or astropy, as Arrow; None if it is no table."""
    module = type(source).__module__.partition(".")[0]
    if module not in ("pandas", "polars", "pyarrow", "astropy") or not hasattr(source, "columns"):
        return None
    import pyarrow as pa

    if isinstance(source, pa.Table):
        return source
    if module == "astropy":
        from ..tables.from_astropy import arrow_table

        return arrow_table(source, "the table")
    if module == "polars":
        return source.to_arrow()
    # An index with a name is a column that pandas set apart.
    has_name = any(name is not None for name in source.index.names)
    try:
        return pa.Table.from_pandas(source.reset_index() if has_name else source, preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"the table: {one_line(error)}; paths or bytes of image files are needed") from None


def _of_table(table: pa.Table) -> Iterator[ImageRow]:
    """The images of a table's rows, by the usual names of columns; relative paths are from the current folder."""
    from ..inputs.files import file_item
    from ..tables.column_roles import Columns, MissingImages, image_columns
    from ..tables.identifiers import exact_id, integer_limit

    try:
        chosen = image_columns(Columns(), table.schema, "the table")
    except MissingImages:
        raise MissingImages(
            f"the table: no column of images; call it path, or give a list of its cells. It has the columns "
            f"{', '.join(table.column_names[:40])}"
        ) from None
    limit = integer_limit(table.schema.field(chosen.id).type) if chosen.id else 2**53
    ids = table[chosen.id].to_pylist() if chosen.id else [None] * len(table)
    for number, (id_, content) in enumerate(zip(ids, table[chosen.image].to_pylist(), strict=True)):
        name = exact_id(id_, limit) if chosen.id else ""
        if chosen.id and not name:
            yield ImageRow(name=(f"row {number + 1}", ""), error=f"no ID in column {chosen.id!r}; give the galaxy one")
        elif content is None or content == "":
            yield ImageRow(name=(name or f"row {number + 1}", ""), error=f"no image in column {chosen.image!r}")
        elif chosen.is_bytes:
            data = content["bytes"] if isinstance(content, dict) else content
            yield ImageRow(data, (name or str(number), ""))
        else:
            item = file_item(Path(str(content)))
            yield ImageRow(replace(item, id=name) if name else item)
