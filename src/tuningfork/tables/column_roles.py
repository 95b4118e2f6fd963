"""Column roles of a catalogue: which columns hold identifiers, images and positions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from .._utils.errors import InputError
from .columns import Column, about, is_text, name_and_unit
from .positions import PositionColumns, size_unit

__all__ = [
    "Columns",
    "ImageColumns",
    "MissingImages",
    "SkyColumns",
    "has_role",
    "id_column",
    "image_columns",
    "is_position_name",
    "sky_columns",
]

logger = logging.getLogger(__name__)

#: By these names a column is known; spelled in any case. Surveys' and catalogues' own words, and those of the
#: `datasets` library, whose column `image` is a struct of bytes and path.
USUAL = {
    "id": (
        *("id", "objid", "object_id", "objectid", "dr7objid", "dr8objid", "galaxyid", "galaxy_id", "asset_id"),
        *("source_id", "id_str", "iauname", "targetid"),
    ),
    "path": (
        *("path", "file", "filename", "file_name", "file_loc", "filepath", "file_path", "image_path", "image", "url"),
    ),
    "bytes": ("bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "image", "img"),
    "right_ascension": ("ra", "right_ascension", "raj2000", "ra_deg", "ra_j2000"),
    "declination": ("dec", "declination", "dej2000", "decj2000", "dec_deg", "dec_j2000"),
}
#: Names of identifiers and positions in survey catalogues, the first of which counts where none is usual.
_OTHERS = {
    "id": (
        *("coadd_object_id", "ls_id", "diaobjectid", "cataid", "nsaid", "mangaid", "plateifu", "sourceid", "specobjid"),
        *("main_id", "designation"),
    ),
    "right_ascension": (
        *("_raj2000", "ra_icrs", "_ra_icrs", "_ra.icrs", "_ra", "alpha_j2000", "alphawin_j2000", "ramean", "rastack"),
        *("rightascension", "target_ra", "s_ra", "ra_mean", "radeg", "coord_ra"),
    ),
    "declination": (
        *("_dej2000", "de_icrs", "dec_icrs", "_de_icrs", "_de.icrs", "_de", "delta_j2000", "deltawin_j2000"),
        *("decmean", "decstack", "target_dec", "s_dec", "dec_mean", "de", "decl", "dedeg", "decdeg", "coord_dec"),
    ),
}
#: By these words of UCD1+ where no name is known.
_UCDS = {
    "id": ("meta.id;meta.main",),
    "right_ascension": ("pos.eq.ra;meta.main", "pos.eq.ra"),
    "declination": ("pos.eq.dec;meta.main", "pos.eq.dec"),
}
OPTIONS = {
    "id": "--id-column",
    "path": "--path-column",
    "bytes": "--bytes-column",
    "right_ascension": "--ra-column",
    "declination": "--dec-column",
    "radius": "--radius-column",
}
#: Names of columns that an error lists.
N_LISTED = 40


class MissingImages(InputError):
    """A table without a column of images."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a catalogue to use; None: by their usual names.

    Parameters
    ----------
    id : str, optional
        Identifier of the galaxy.
    path : str, optional
        File or URL of its image, relative ones from the catalogue's folder.
    bytes : str, optional
        The image file's bytes themselves.
    right_ascension, declination : str, optional
        Position (ICRS), in any notation and unit that `angles` parses; numbers without a unit are degrees.
    radius : str, optional
        petroR90, by which FITS images are framed, in the column's unit or arcseconds; only if it is named.
    error : str, optional
        Why a row has no image, or blank; only if it is named.
    carried : tuple
        Columns that the output has too: (name, `Column` of the output) each.
    """

    id: str | None = None
    path: str | None = None
    bytes: str | None = None
    right_ascension: str | None = None
    declination: str | None = None
    radius: str | None = None
    error: str | None = None
    carried: tuple[tuple[str, Column], ...] = ()


@dataclass(frozen=True, slots=True)
class SkyColumns:
    """The columns of a table of positions; `id` and `radius` may be None."""

    positions: PositionColumns
    id: str | None
    radius: str | None
    radius_unit: str = ""


@dataclass(frozen=True, slots=True)
class ImageColumns:
    """The columns of a table of images; `image` holds the bytes if `is_bytes`, else paths.

    `half` is a column that is half a position, of which the other half is missing.
    """

    image: str
    is_bytes: bool
    id: str | None
    positions: PositionColumns | None
    radius: str | None
    radius_unit: str = ""
    half: str | None = None


def is_position_name(name: str) -> bool:
    """Whether a column's name, without its unit, is one of those of positions."""
    plain = name_and_unit(name)[0].lower()
    return any(plain in (*USUAL[role], *others) for role, others in _OTHERS.items() if role != "id")


def has_role(name: str) -> bool:
    """Whether a column's name is one of those of identifiers, images or positions."""
    plain = name.strip().lower()
    return is_position_name(name) or any(plain in names for names in (*USUAL.values(), _OTHERS["id"]))


def id_column(columns: Columns, schema: pa.Schema, where: str) -> str:
    """Find the column of identifiers of the table `where`.

    Raises
    ------
    InputError
        If it is missing, or several could be meant.
    """
    name = _find("id", columns.id, schema, where)
    if name is None:
        raise InputError(
            f"{where}: no column of identifiers ({', '.join(USUAL['id'])}); name it with --id-column. {_offer(schema)}"
        )
    return name


def sky_columns(columns: Columns, schema: pa.Schema, where: str) -> SkyColumns:
    """Find the columns of positions of the table `where`.

    Raises
    ------
    InputError
        If a column that was named, or the position, is missing; if several could be meant; or if a unit is none of
        an angle.
    """
    ra = _find("right_ascension", columns.right_ascension, schema, where)
    dec = _find("declination", columns.declination, schema, where)
    if ra is None or dec is None:
        role = "right_ascension" if ra is None else "declination"
        raise InputError(
            f"{where}: no column of positions ({', '.join(USUAL[role])}); name it with {OPTIONS[role]}. "
            f"{_offer(schema)}"
        )
    positions = PositionColumns.of(ra, dec, schema, where)
    return SkyColumns(positions, _find("id", columns.id, schema, where), *_radius(columns, schema, where))


def image_columns(columns: Columns, schema: pa.Schema, where: str) -> ImageColumns:
    """Find the columns of images of the table `where`.

    Images come from a column of bytes if there is one and no column of paths is named. Positions are optional, but
    right ascension and declination go together.

    Raises
    ------
    InputError
        If a column that was named, or any with images, is missing; if several could be meant; or if a unit is none
        of an angle.
    """
    if columns.path is not None and columns.bytes is not None:
        raise InputError(f"{where}: images come from {columns.path!r} or from {columns.bytes!r}; name one of them")
    image, is_bytes = None, columns.path is None
    if is_bytes:
        image = _find("bytes", columns.bytes, schema, where)
    if image is None:
        image, is_bytes = _find("path", columns.path, schema, where), False
    if image is None:
        if _find("right_ascension", columns.right_ascension, schema, where) is not None:
            raise MissingImages(
                f"{where}: has positions but no column of images; to fetch them add --source (a survey such as legacy "
                "or sdss, or a folder of FITS tiles) and --size ARCSEC, or name the column with --path-column"
            )
        raise MissingImages(
            f"{where}: no column of images ({', '.join(USUAL['path'])}); name it with --path-column, "
            "or with --bytes-column; for a catalogue of positions give --source, and their columns with --ra-column "
            f"and --dec-column. {_offer(schema)}"
        )
    ra = _find("right_ascension", columns.right_ascension, schema, where)
    dec = _find("declination", columns.declination, schema, where)
    half = None
    if (ra is None) != (dec is None):
        if columns.right_ascension is not None or columns.declination is not None:
            role = "right_ascension" if ra is None else "declination"
            raise InputError(f"{where}: half a position; name its other column with {OPTIONS[role]}. {_offer(schema)}")
        half = dec if ra is None else ra
        ra = dec = None
    positions = None if ra is None or dec is None else PositionColumns.of(ra, dec, schema, where)
    id_ = _find("id", columns.id, schema, where)
    return ImageColumns(image, is_bytes, id_, positions, *_radius(columns, schema, where), half)


def _radius(columns: Columns, schema: pa.Schema, where: str) -> tuple[str | None, str]:
    if columns.radius is None:
        return None, ""
    name = _find("radius", columns.radius, schema, where)
    assert name is not None
    return name, size_unit(name, schema, where)


def _find(role: str, name: str | None, schema: pa.Schema, where: str) -> str | None:
    is_usable = _IS_USABLE[role]
    if name is not None:
        candidates = _matching([name], schema)
        candidates = [candidate for candidate in candidates if candidate == name] or candidates
        if not candidates:
            raise InputError(f"{where}: no column {name!r}. {_offer(schema)}")
    else:
        named = _usual(role, schema)
        candidates = [candidate for candidate in named if is_usable(_type(schema, candidate))]
        if not candidates:
            if named and role != "bytes":
                kind = _type(schema, named[0])
                logger.warning("%s: column %r is left out: it is of type %s", where, named[0], kind)
            return None
    if len(candidates) > 1:
        which = ", ".join(map(repr, candidates))
        raise InputError(f"{where}: columns {which} could all be meant; say which with {OPTIONS[role]}, or rename one")
    kind = _type(schema, candidates[0])
    if not is_usable(kind):
        raise InputError(f"{where}: column {candidates[0]!r} is of type {kind}, not {_NEEDED[role]}; name another one")
    return candidates[0]


def _usual(role: str, schema: pa.Schema) -> list[str]:
    """Columns by their usual names, else with a unit behind it or by other names (positions), else by their UCD."""
    if (named := _matching(USUAL[role], schema)) or role not in _UCDS:
        return named
    plain = {name: name_and_unit(name)[0].lower() for name in schema.names}
    if role != "id" and (named := [name for name in schema.names if plain[name] in USUAL[role]]):
        return named
    for other in _OTHERS.get(role, ()):
        if named := [name for name in schema.names if other in (plain[name], name.strip().lower())]:
            return named
    for ucd in _UCDS[role]:
        named = [field.name for field in schema if about(field).get("ucd", "").strip().lower() == ucd]
        # Of several, as joined tables have them, nobody asked for one.
        if len(named) == 1:
            return named
    return []


def _matching(names: Sequence[str], schema: pa.Schema) -> list[str]:
    wanted = {name.lower() for name in names}
    return [name for name in schema.names if name.strip().lower() in wanted]


def _offer(schema: pa.Schema) -> str:
    more = len(schema.names) - N_LISTED
    return f"It has the columns {', '.join(schema.names[:N_LISTED])}{f' and {more} more' if more > 0 else ''}"


def _type(schema: pa.Schema, name: str) -> pa.DataType:
    # By number, as a name may appear twice.
    kind = schema.field(schema.names.index(name)).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_binary(kind: pa.DataType) -> bool:
    is_ = pa.types
    return (
        is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_fixed_size_binary(kind) or is_.is_binary_view(kind)
    )


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_number_or_text(kind: pa.DataType) -> bool:
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return is_number or is_text(kind)


def _is_angle(kind: pa.DataType) -> bool:
    # Half precision is a tenth of a degree.
    return (_is_number_or_text(kind) or _is_binary(kind)) and not pa.types.is_float16(kind)


def _is_path(kind: pa.DataType) -> bool:
    return is_text(kind) or _is_binary(kind)


def _is_name(kind: pa.DataType) -> bool:
    return _is_number_or_text(kind) or _is_binary(kind)


_IS_USABLE = {
    "id": _is_name,
    "path": _is_path,
    "bytes": _is_bytes,
    "right_ascension": _is_angle,
    "declination": _is_angle,
    "radius": _is_angle,
}
_NEEDED = {
    "id": "text or integers",
    "path": "text",
    "bytes": "bytes",
    "right_ascension": "degrees",
    "declination": "degrees",
    "radius": "arcseconds",
}
