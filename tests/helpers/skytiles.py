"""The Virtual Observatory's part of the server: FITS tiles of the synthetic sky, SIA 1 and 2, DataLink, SODA."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import numpy as np

if TYPE_CHECKING:
    from skyserver import Source

#: Band → centre of its wavelengths, metres; plane of the picture that stands for it.
BANDS = {"g": (4.8e-7, 2), "r": (6.2e-7, 1), "z": (9.1e-7, 0)}
#: Pixels a side of a tile, arcseconds each, degrees by which it is turned; every second tile is mirrored.
SIDE, SCALE, TURN = 240, 0.3, 30.0

DATALINK = "application/x-votable+xml;content=datalink"

_FIELDS = "".join(
    f'<FIELD name="{name}" {kind}/>'
    for name, kind in (
        ("access_url", 'datatype="char" arraysize="*" ucd="meta.ref.url" utype="obscore:access.reference"'),
        ("access_format", 'datatype="char" arraysize="*" ucd="meta.code.mime" utype="obscore:access.format"'),
        ("obs_publisher_did", 'ID="primaryID" datatype="char" arraysize="*" ucd="meta.ref.ivoid"'),
        ("obs_title", 'datatype="char" arraysize="*"'),
        ("s_ra", 'datatype="double" unit="deg"'),
        ("s_dec", 'datatype="double" unit="deg"'),
        ("em_min", 'datatype="double" unit="m"'),
        ("em_max", 'datatype="double" unit="m"'),
    )
)


def answer(address: str, sources: list[Source], path: str, query: str) -> tuple[int, bytes, str]:
    """Status, body and content type of a request under ``/vo/``."""
    asked = {name.upper(): values[0] for name, values in parse_qs(query).items()}
    votable = "application/x-votable+xml"
    if path in ("sia2", "sia2-datalink"):
        _, ra, dec, radius = asked["POS"].split()
        return 200, _sia2(address, _near(sources, float(ra), float(dec), float(radius)), "datalink" in path), votable
    if path == "sia1":
        ra, dec = map(float, asked["POS"].split(","))
        return 200, _sia1(address, _near(sources, ra, dec, float(asked["SIZE"]))), votable
    if path == "datalink":
        return 200, _datalink(address, asked["ID"]), votable
    if path == "broken":
        return 200, _document('<INFO name="QUERY_STATUS" value="ERROR">no such table</INFO>'), votable
    if path == "damaged":
        return 200, _sia2(address, sources[:1], False)[:700], votable
    if path in ("soda", "tile"):
        number, band = asked["ID"].split("-")
        source = next(source for source in sources if source.number == int(number))
        circle = [float(value) for value in asked["CIRCLE"].split()] if path == "soda" else None
        return 200, tile(source, band, circle), "image/fits"
    return 404, b"", "text/plain"


def tile(source: Source, band: str, circle: list[float] | None = None) -> bytes:
    """A tile of one band around a galaxy, turned and perhaps mirrored, or the part of it that holds a circle."""
    from astropy.io import fits
    from astropy.wcs import WCS
    from skyserver import seen

    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    # The galaxy is not in the tile's middle.
    wcs.wcs.crval = [source.ra, source.dec]
    wcs.wcs.crpix = [SIDE / 2 + 15, SIDE / 2 - 10]
    wcs.wcs.cdelt = [-SCALE / 3600 * (-1 if source.number % 2 else 1), SCALE / 3600]
    angle = math.radians(TURN)
    wcs.wcs.pc = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    rows, columns = np.mgrid[:SIDE, :SIDE]
    places = wcs.pixel_to_world(columns, rows)
    # Never 0, by which surveys mean that they have no data.
    light = seen([source], places.ra.rad, places.dec.rad)[..., BANDS[band][1]].astype(np.float32) + 0.5
    header = wcs.to_header()
    if circle:
        from astropy.coordinates import SkyCoord
        from astropy.nddata import Cutout2D

        ra, dec, radius = circle
        part = Cutout2D(light, SkyCoord(ra, dec, unit="deg"), round(2 * radius * 3600 / SCALE), wcs)
        light, header = part.data, part.wcs.to_header()
    file = io.BytesIO()
    fits.PrimaryHDU(light, header).writeto(file)
    return file.getvalue()


def _near(sources: list[Source], ra: float, dec: float, radius: float) -> list[Source]:
    reach = radius + SIDE * SCALE / 2 / 3600
    return [
        source
        for source in sources
        if math.hypot(((source.ra - ra + 180) % 360 - 180) * math.cos(math.radians(dec)), source.dec - dec) <= reach
    ]


def _sia2(address: str, sources: list[Source], datalink: bool) -> bytes:
    rows = []
    for source in sources:
        for band, (wavelength, _) in BANDS.items():
            name = f"{source.number}-{band}"
            kind, path = (
                ("application/x-votable+xml;content=datalink", "datalink") if datalink else ("image/fits", "tile")
            )
            cells = (
                f"{address}/vo/{path}?ID={name}",
                kind,
                name,
                f"tile {source.number} in {band}",
                source.ra,
                source.dec,
            )
            rows.append((*cells, wavelength * 0.9, wavelength * 1.1))
    # What is no image that we read is passed over.
    rows.append((f"{address}/vo/preview", "image/jpeg", "preview", "a preview in g", 0, 0, 0, 0))
    return _table(_FIELDS, rows)


def _sia1(address: str, sources: list[Source]) -> bytes:
    fields = "".join(
        f'<FIELD ID="{name}" name="{name}" ucd="{ucd}" {kind}/>'
        for name, ucd, kind in (
            ("url", "VOX:Image_AccessReference", 'datatype="char" arraysize="*"'),
            ("format", "VOX:Image_Format", 'datatype="char" arraysize="*"'),
            ("title", "VOX:Image_Title", 'datatype="char" arraysize="*"'),
            ("ra", "POS_EQ_RA_MAIN", 'datatype="double" unit="deg"'),
            ("dec", "POS_EQ_DEC_MAIN", 'datatype="double" unit="deg"'),
            ("bandpass", "VOX:BandPass_ID", 'datatype="char" arraysize="*"'),
            ("wavelength", "VOX:BandPass_RefValue", 'datatype="double"'),
            ("unit", "VOX:BandPass_Unit", 'datatype="char" arraysize="*"'),
        )
    )
    rows = [
        (
            *(f"{address}/vo/tile?ID={source.number}-{band}", "image/fits", f"tile {source.number}"),
            *(source.ra, source.dec, band, wavelength, "m"),
        )
        for source in sources
        for band, (wavelength, _) in BANDS.items()
    ]
    return _table(fields, rows)


def _datalink(address: str, name: str) -> bytes:
    fields = "".join(
        f'<FIELD {"ID" if id_ else "name"}="{id_ or field}" name="{field}" datatype="char" arraysize="*"/>'.replace(
            f'name="{field}" name="{field}"', f'name="{field}"'
        )
        for field, id_ in (
            *(("ID", "primaryID"), ("access_url", ""), ("service_def", ""), ("error_message", "")),
            *(("description", ""), ("semantics", ""), ("content_type", ""), ("content_length", "")),
        )
    )
    rows = [
        (name, f"{address}/vo/tile?ID={name}", "", "", "the tile", "#this", "image/fits", ""),
        (name, "", "soda", "", "cutouts", "#cutout", "image/fits", ""),
    ]
    service = (
        '<RESOURCE type="meta" utype="adhoc:service" ID="soda">'
        '<PARAM name="standardID" datatype="char" arraysize="*" value="ivo://ivoa.net/std/SODA#sync-1.0"/>'
        f'<PARAM name="accessURL" datatype="char" arraysize="*" value="{address}/vo/soda"/>'
        '<GROUP name="inputParams"><PARAM name="ID" datatype="char" arraysize="*" value="" ref="primaryID"/>'
        '<PARAM name="CIRCLE" datatype="double" arraysize="3" xtype="circle" unit="deg" value=""/></GROUP></RESOURCE>'
    )
    return _table(fields, rows, service)


def _table(fields: str, rows: list[tuple[object, ...]], more: str = "") -> bytes:
    cells = "".join(f"<TR>{''.join(f'<TD>{escape(str(cell))}</TD>' for cell in row)}</TR>" for row in rows)
    data = f"<TABLE>{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE>"
    return _document(f'<INFO name="QUERY_STATUS" value="OK"/>{data}', more)


def _document(results: str, more: str = "") -> bytes:
    space = 'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"'
    resource = f'<RESOURCE type="results">{results}</RESOURCE>{more}'
    return f'<?xml version="1.0"?><VOTABLE version="1.3" {space}>{resource}</VOTABLE>'.encode()
