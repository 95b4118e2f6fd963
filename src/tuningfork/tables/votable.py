"""VOTable: the Virtual Observatory's own format, version 1.4, written row by row."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.parsers import expat

import pyarrow as pa
import pyarrow.compute as pc

from .._utils.text import one_line
from . import ucd
from .columns import about, about_table, plain_schema
from .formats import CatalogError, Format
from .from_astropy import only_table, read_astropy
from .text_cells import Vector, rows_of_text

logger = logging.getLogger(__name__)

__all__ = ["FORMAT", "check_votable", "read_votable", "votable_header", "write_votable"]

_NAMESPACE = "http://www.ivoa.net/xml/VOTable/v1.3"  # that of version 1.4 too
_TYPES = {
    pa.bool_(): "boolean",
    pa.uint8(): "unsignedByte",
    pa.int8(): "short",
    pa.int16(): "short",
    pa.uint16(): "int",
    pa.int32(): "int",
    pa.uint32(): "long",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
}
_WORDS = {"true": "T", "false": "F", "null": "", "nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}
_VECTOR = Vector("", " ", "", _WORDS)
#: What no XML can hold, not even escaped.
_FORBIDDEN = "[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]"
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}


def votable_header(schema: pa.Schema) -> str:
    """A VOTable with all but the rows.

    Raises
    ------
    CatalogError
        If a column is of a type that a VOTable cannot hold.
    """
    schema = plain_schema(schema, "a VOTable")
    document = ElementTree.Element("VOTABLE", version="1.4", xmlns=_NAMESPACE)
    resource = ElementTree.SubElement(document, "RESOURCE", type="results")
    known = about_table(schema)
    description = known.pop("description", "")
    for name, value in known.items():
        ElementTree.SubElement(resource, "INFO", name=name, value=_replace_forbidden(value))
    if any(map(_is_position, schema)):
        ElementTree.SubElement(resource, "COOSYS", ID="ICRS", system="ICRS")
    table = ElementTree.SubElement(resource, "TABLE")
    if description:
        ElementTree.SubElement(table, "DESCRIPTION").text = _replace_forbidden(description)
    for field in schema:
        _add_field(table, field)
    ElementTree.indent(document, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(document, "unicode") + "\n"


def _add_field(table: ElementTree.Element, field: pa.Field) -> None:
    known = about(field)
    attributes = {"name": _replace_forbidden(field.name), **_type(field)}
    if "unit" in known:
        attributes["unit"] = _replace_forbidden(known["unit"])
    if "ucd" in known:
        attributes["ucd"] = _replace_forbidden(known["ucd"])
    if _is_position(field):
        attributes["ref"] = "ICRS"
    element = ElementTree.SubElement(table, "FIELD", attributes)
    if "description" in known:
        ElementTree.SubElement(element, "DESCRIPTION").text = _replace_forbidden(known["description"])


def _is_position(field: pa.Field) -> bool:
    # Positions that are not the main ones may be of another system.
    return about(field).get("ucd") in (ucd.RIGHT_ASCENSION, ucd.DECLINATION)


def _type(field: pa.Field) -> dict[str, str]:
    kind = field.type
    if pa.types.is_string(kind):
        return {"datatype": "unicodeChar", "arraysize": "*"}
    if pa.types.is_fixed_size_list(kind):
        return {"datatype": _TYPES[kind.value_type], "arraysize": str(kind.list_size)}
    return {"datatype": _TYPES[kind]}


def _replace_forbidden(text: str) -> str:
    return re.sub(_FORBIDDEN, "\N{REPLACEMENT CHARACTER}", text)


@contextmanager
def write_votable(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends Arrow tables to the file."""
    plain = plain_schema(schema, "a VOTable")
    head, end, tail = votable_header(schema).partition("</TABLE>")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(head.rstrip() + "\n<DATA><TABLEDATA>\n")

        def write(table: pa.Table) -> None:
            rows = rows_of_text(table.cast(plain), _WORDS, _escaped, _VECTOR, "</TD><TD>")
            file.writelines(f"<TR><TD>{row}</TD></TR>\n" for row in rows)

        yield write
        file.write("</TABLEDATA></DATA>\n" + end + tail)


def _escaped(texts: pa.Array) -> pa.Array:
    texts = pc.replace_substring_regex(texts, _FORBIDDEN, "\N{REPLACEMENT CHARACTER}")
    for sign, escape in _ESCAPES.items():
        texts = pc.replace_substring(texts, sign, escape)
    return texts


def read_votable(path: str | os.PathLike[str]) -> pa.Table:
    """Read the first table of a VOTable.

    Raises
    ------
    CatalogError
        If there is none, the file is damaged, or its data are elsewhere.
    """
    with open(path, "rb") as file:
        check_votable(file)
    return read_astropy(path, "votable", _read)


def check_votable(file: BinaryIO) -> None:
    """Refuse a VOTable that refers to other files or addresses, or defines entities, before it is parsed.

    astropy fetches the ``href`` of a STREAM: a stranger's table would read files of this machine, or call addresses.

    Raises
    ------
    CatalogError
        If there is such a reference.
    """
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(" ")[2] == "STREAM" and any(key.rpartition(" ")[2] == "href" for key in attributes):
            raise CatalogError(
                "its data are elsewhere (STREAM href), which is never fetched; save the table in one file"
            )

    def entity(*_: object) -> None:
        raise CatalogError("the VOTable defines entities, which none needs; save it again")

    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    try:
        parser.ParseFile(file)
    except expat.ExpatError:
        pass  # what is not XML is reported by the reader
    except CatalogError:
        raise
    except (LookupError, ValueError) as error:
        raise CatalogError(f"the VOTable's encoding is not known: {error}; save it as UTF-8") from None


def _read(path: str | os.PathLike[str]) -> Any:
    from astropy.io import votable

    document = votable.parse(path)
    infos = [info for resource in document.resources for info in resource.infos]
    # What a TAP service says of its answer (DALI 1.1, section 4.4).
    status = {str(info.value).upper(): str(info.content or "") for info in infos if info.name == "QUERY_STATUS"}
    if "ERROR" in status:
        raise ValueError(f"the service answered with an error: {one_line(status['ERROR'])}")
    if "OVERFLOW" in status:
        logger.warning("%s: the service left out rows beyond its limit (QUERY_STATUS is OVERFLOW)", path)
    tables = list(document.iter_tables())
    if not tables:
        raise ValueError("there is no table in it")
    first = only_table([(len(table.array), table.name or "", table) for table in tables], path)
    table = first.to_table(use_names_over_ids=True)
    frames = {system.ID: _frame(system) for system in document.iter_coosys()}
    for name, field in zip(table.colnames, first.fields, strict=True):
        frame = frames.get(field.ref, "") if field.ref else next(iter(frames.values()), "") if len(frames) == 1 else ""
        table[name].meta |= {"name": field.name or name, "frame": frame}
    if first.description:
        table.meta["description"] = " ".join(first.description.split())
    for info in infos:
        table.meta.setdefault(info.name, info.value)
    return table


def _frame(system: Any) -> str:
    """The frame of a COOSYS if it is neither ICRS nor FK5 of the equinox J2000; "" else."""
    name, equinox = str(system.system or ""), str(system.equinox or "J2000")
    lowered = name.lower()
    if any(word in lowered for word in ("fk4", "gal", "ecl")):
        return name
    is_j2000 = re.fullmatch(r"J?2000(\.0*)?", equinox.strip(), re.IGNORECASE)
    return f"{name} of the equinox {equinox}" if "fk5" in lowered and not is_j2000 else ""


FORMAT = Format("votable", (".vot", ".vo", ".xml", ".votable"), read_votable, write_votable)
