"""Twins of inputs that public bug reports describe: each is read rightly, refused, or warned about by name.

`TWINS` is run by `tests/test_twins.py`, and printed as a table by `scripts/cases.py`.
"""

from __future__ import annotations

import bz2
import gzip
import io
import logging
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from tuningfork import TuningforkError, read_image, read_labels, read_table, write_table
from tuningfork.images.fits.framing import Framing
from tuningfork.inputs import Columns, find_items
from tuningfork.simulation import draw, render

SIDE = 96
RGB = np.asarray(Image.fromarray(render(draw(2, 0))).resize((SIDE, SIDE)))
GREY = np.asarray(Image.fromarray(RGB).convert("L"))
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
FLUX = (1000 * np.exp(-np.hypot(X, 1.5 * Y) / 6) + np.random.default_rng(0).normal(0, 3, X.shape)).astype(np.float32)
CUBE = np.stack([0.5 * FLUX, FLUX, 1.5 * FLUX]).astype(np.float32)
PATHS = ["a.png", "b.png", "c.png"]


@dataclass(frozen=True)
class Twin:
    """An input of a kind, and what must come of it: a word of the outcome."""

    kind: str
    what: str
    expected: str
    make: Callable[[Path], str]


@contextmanager
def logged() -> Iterator[list[str]]:
    """What the package warns of."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tuningfork")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def outcome(use: Callable[[], str]) -> str:
    """What comes of an input; any error that is not ours passes."""
    with logged() as messages:
        try:
            text = use()
        except (TuningforkError, FileNotFoundError) as error:
            return f"refused: {error}"
    return "; ".join([text, *(f"warning: {message}" for message in messages)])


# ---------------------------------------------------------------- images


def picture(source: Any, framing: Framing = Framing(), like: np.ndarray | None = None) -> str:
    """Read an image; says whether it is `like` another one within three steps of 255."""

    def use() -> str:
        image = read_image(source, framing)
        same = like is None or (
            image.rgb.shape == like.shape and np.abs(image.rgb.astype(int) - like.astype(int)).max() <= 3
        )
        text = "read" if same else "read as another image"
        return "; ".join([text, *(f"warning: {warning}" for warning in image.warnings)])

    return outcome(use)


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    """An array as a file of a format of Pillow's."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def fits_bytes(*units: Any, **cards: Any) -> bytes:
    """Arrays as images of a FITS file; cards go to the first."""
    hdus = [unit if isinstance(unit, fits.ImageHDU) else fits.PrimaryHDU(unit) for unit in units]
    hdus[0].header.update(cards)
    stream = io.BytesIO()
    fits.HDUList(
        [
            hdus[0] if isinstance(hdus[0], fits.PrimaryHDU) else fits.PrimaryHDU(),
            *hdus[isinstance(hdus[0], fits.PrimaryHDU) :],
        ]
    ).writeto(stream)
    return stream.getvalue()


VIS = Framing(stretch="euclid")
PLAIN = read_image(fits_bytes(FLUX), VIS).rgb
JPEG = encoded(RGB, "JPEG", quality=95)


def zeroed_jpeg(_: Path) -> str:
    """Forty zero bytes at places where the decoder of itself notices nothing."""
    start = JPEG.index(b"\xff\xda") + 20
    texts = {picture(JPEG[:at] + bytes(40) + JPEG[at + 40 :]) for at in range(start, len(JPEG) - 60, 97)}
    return next((text for text in texts if text == "read"), sorted(texts)[0])


def cut_everywhere(data: bytes) -> Callable[[Path], str]:
    """A file that is cut at every tenth byte."""

    def make(_: Path) -> str:
        texts = {picture(data[:at]) for at in range(10, len(data), max(10, len(data) // 150))}
        return next((text for text in texts if text.startswith("read") and "warning" not in text), sorted(texts)[-1])

    return make


def with_sum(data: np.ndarray) -> bytes:
    """FITS with DATASUM, of which 40 bytes were changed."""
    unit = fits.PrimaryHDU(data)
    unit.add_datasum()
    stream = io.BytesIO()
    unit.writeto(stream)
    content = bytearray(stream.getvalue())
    content[4000:4040] = bytes(40)
    return bytes(content)


def asinh_magnitudes() -> bytes:
    """Fluxes as Pan-STARRS stores them: scaled integers of asinh magnitudes."""
    values = np.arcsinh(FLUX / 200) * 2.5 / np.log(10)
    return fits_bytes(np.rint(values * 1e6).astype(np.int32), BSCALE=1e-6, BOFFSET=0.0, BSOFTEN=100.0)


def white_is_zero(image: np.ndarray) -> bytes:
    """A TIFF file whose PhotometricInterpretation says so; the tag is the only one of its number."""
    data = bytearray(encoded(image, "TIFF"))
    order = "little" if data.startswith(b"II") else "big"
    first = int.from_bytes(data[4:8], order)
    for at in range(first + 2, first + 2 + 12 * int.from_bytes(data[first : first + 2], order), 12):
        if int.from_bytes(data[at : at + 2], order) == 262:
            data[at + 8 : at + 10] = bytes(2)
    return bytes(data)


def changed(values: np.ndarray, where: Any, value: float) -> np.ndarray:
    """A copy with another value somewhere."""
    out = values.copy()
    out[where] = value
    return out


IMAGES = [
    Twin(
        "value ranges",
        "14 bits in a 16-bit PNG",
        "14-bit",
        lambda _: picture(encoded(GREY.astype(np.uint16) * 64, "PNG")),
    ),
    Twin(
        "value ranges",
        "12 bits in a 16-bit TIFF",
        "12-bit",
        lambda _: picture(encoded(GREY.astype(np.uint16) * 16, "TIFF")),
    ),
    Twin("value ranges", "floats in 0…255, TIFF", "8-bit", lambda _: picture(encoded(GREY.astype(np.float32), "TIFF"))),
    Twin(
        "value ranges",
        "floats in 0…65535, TIFF",
        "refused",
        lambda _: picture(encoded(GREY.astype(np.float32) * 257, "TIFF")),
    ),
    Twin(
        "value ranges",
        "FITS cube of integers 0…255",
        "display brightness",
        lambda _: picture(fits_bytes(np.moveaxis(np.clip(RGB * 1.6, 0, 255), 2, 0).astype(np.int16))),
    ),
    Twin(
        "value ranges",
        "FITS of floats in 0…1",
        "display brightness",
        lambda _: picture(fits_bytes((GREY / GREY.max()).astype(np.float32))),
    ),
    Twin(
        "value ranges",
        "FITS in mag/arcsec2",
        "logarithm",
        lambda _: picture(fits_bytes((25 - 2.5 * np.log10(FLUX.clip(1))).astype(np.float32), BUNIT="mag/arcsec2")),
    ),
    Twin(
        "no data",
        "exact zeros in the middle",
        "exactly 0",
        lambda _: picture(fits_bytes(changed(FLUX, np.s_[40:56, 40:56], 0)), VIS),
    ),
    Twin(
        "no data",
        "-999 in the middle",
        "saturated, or no data",
        lambda _: picture(fits_bytes(changed(FLUX, np.s_[40:56, 40:56], -999)), VIS),
    ),
    Twin(
        "no data",
        "scattered zeros among fluxes",
        "exactly 0",
        lambda _: picture(fits_bytes(np.where(X % 7 < 1, 0, FLUX).astype(np.float32)), VIS),
    ),
    Twin(
        "no data",
        "BLANK in an integer image",
        "no data",
        lambda _: picture(fits_bytes(changed(np.rint(FLUX).astype(np.int16), np.s_[:30], -32768), BLANK=-32768), VIS),
    ),
    Twin("no data", "NaN border", "no data", lambda _: picture(fits_bytes(changed(FLUX, np.s_[:10], np.nan)), VIS)),
    Twin(
        "no data",
        "a border of numpy's fill value",
        "exactly 1e+20",
        lambda _: picture(fits_bytes(np.where(np.abs(X) > 44, 1e20, FLUX).astype(np.float32)), VIS),
    ),
    Twin(
        "no data",
        "-99 here and there",
        "exactly -99",
        lambda _: picture(fits_bytes(np.where((X * Y) % 97 < 3, -99, FLUX).astype(np.float32)), VIS),
    ),
    Twin("no data", "masked array in Python", "masked", lambda _: picture(np.ma.masked_greater(RGB, 90))),
    Twin(
        "no data",
        "transparent PNG",
        "no data",
        lambda _: picture(encoded(np.dstack([RGB, np.zeros_like(GREY)]), "PNG")),
    ),
    Twin("no data", "white JPEG", "no data", lambda _: picture(encoded(np.full_like(RGB, 255), "JPEG"))),
    Twin("damaged files", "JPEG with 40 zero bytes, anywhere", "refused", zeroed_jpeg),
    Twin("damaged files", "JPEG cut anywhere", "refused", cut_everywhere(JPEG)),
    Twin("damaged files", "PNG cut anywhere", "refused", cut_everywhere(encoded(RGB, "PNG"))),
    Twin(
        "damaged files",
        "deflated TIFF, zeros inside",
        "refused",
        lambda _: picture(
            (lambda d: d[:3000] + bytes(40) + d[3040:])(encoded(RGB, "TIFF", compression="tiff_adobe_deflate"))
        ),
    ),
    Twin("damaged files", "FITS with a wrong DATASUM", "checksum", lambda _: picture(with_sum(FLUX), VIS)),
    Twin(
        "damaged files",
        "FITS sent as text, line ends changed",
        "sent as text",
        lambda _: picture(fits_bytes(FLUX).replace(b"\n", b"\r\n"), VIS),
    ),
    Twin("damaged files", "a web page in place of an image", "a web page", lambda _: picture(b"<html>404</html>")),
    Twin("damaged files", "bzip2, no more than its first bytes", "damaged bzip2", lambda _: picture(b"BZh91AY&SY")),
    Twin(
        "damaged files", "cut .fits.bz2", "damaged bzip2", lambda _: picture(bz2.compress(fits_bytes(FLUX))[:-300], VIS)
    ),
    Twin("damaged files", "cut .fits.gz", "refused", lambda _: picture(gzip.compress(fits_bytes(FLUX))[:-300], VIS)),
    Twin(
        "HDUs",
        "two axes of length 1",
        "read",
        lambda _: picture(fits_bytes(FLUX[None, None]), VIS, PLAIN),
    ),
    Twin(
        "HDUs",
        "a preview before the science image",
        "read; warning: 2 bands found, of which only SCI is used",
        lambda _: picture(fits_bytes(GREY, fits.ImageHDU(FLUX, name="SCI")), VIS, PLAIN),
    ),
    Twin(
        "HDUs",
        "names of maps that contain a known word",
        "read; warning: image 2 is used, left out: OCCMASK",
        lambda _: picture(fits_bytes(None, fits.ImageHDU(FLUX + 9, name="OCCMASK"), fits.ImageHDU(FLUX)), VIS, PLAIN),
    ),
    Twin(
        "HDUs",
        "EXTNAME and EXTVER",
        "read",
        lambda _: picture(
            fits_bytes(None, fits.ImageHDU(FLUX + X, name="SCI", ver=1), fits.ImageHDU(FLUX, name="SCI", ver=2)),
            Framing(stretch="euclid", hdu="SCI,2"),
            PLAIN,
        ),
    ),
    Twin("HDUs", "colours last, (H, W, 3)", "refused", lambda _: picture(fits_bytes(RGB.copy()))),
    Twin(
        "HDUs",
        "unnamed inverse variance first",
        "only 2 is used",
        lambda _: picture(
            fits_bytes(None, fits.ImageHDU((1 / (9 + FLUX.clip(0))).astype(np.float32)), fits.ImageHDU(FLUX)),
            VIS,
            PLAIN,
        ),
    ),
    Twin(
        "HDUs",
        "science and VAR by HDUNAME",
        "left out: VAR",
        lambda _: picture(
            fits_bytes(None, fits.ImageHDU(FLUX + 9, name="VAR"), fits.ImageHDU(FLUX, name="SCI")), VIS, PLAIN
        ),
    ),
    Twin(
        "HDUs",
        "TIFF of several pages",
        "3 images found",
        lambda _: picture(encoded(GREY, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)] * 2)),
    ),
    Twin(
        "bands",
        "R, G, B extensions, int16, named B,G,R",
        "read",
        lambda _: picture(
            fits_bytes(
                None, *(fits.ImageHDU(RGB[::-1, :, n].astype(np.uint8), name=name) for n, name in enumerate("RGB"))
            ),
            Framing(bands=("B", "G", "R")),
            RGB,
        ),
    ),
    Twin(
        "bands",
        "a cube whose header says z, r, g",
        "read; warning: planes z, r, g are taken by wavelength: g, r, z",
        lambda _: picture(fits_bytes(CUBE[::-1], BANDS="zrg"), like=read_image(fits_bytes(CUBE)).rgb),
    ),
    Twin(
        "bands",
        "planes by the names of the header",
        "read",
        lambda _: picture(
            fits_bytes(np.concatenate([CUBE, CUBE[:1]]), BAND0="g", BAND1="r", BAND2="i", BAND3="z"),
            Framing(bands=("g", "r", "i")),
            read_image(fits_bytes(CUBE)).rgb,
        ),
    ),
    Twin(
        "bands",
        "planes without names",
        "names none",
        lambda _: picture(fits_bytes(CUBE), Framing(bands=("g", "r", "i"))),
    ),
    Twin(
        "bands",
        "named from red to blue",
        "decreasing wavelength",
        lambda _: picture(fits_bytes(CUBE, BANDS="gri"), Framing(bands=("i", "r", "g"))),
    ),
    Twin("bands", "four planes without names", "refused", lambda _: picture(fits_bytes(np.stack([FLUX] * 4)))),
    Twin("bands", "three bands, one is zeros", "band", lambda _: picture(fits_bytes(np.stack([FLUX, FLUX * 0, FLUX])))),
    Twin(
        "value ranges",
        "asinh magnitudes of Pan-STARRS",
        "read",
        lambda _: picture(asinh_magnitudes(), VIS, PLAIN),
    ),
    Twin(
        "value ranges",
        "TIFF in which 0 is white, 8 bits",
        "read",
        lambda _: picture(white_is_zero(255 - GREY), like=np.repeat(GREY[:, :, None], 3, 2)),
    ),
    Twin(
        "value ranges",
        "TIFF in which 0 is white, 16 bits",
        "0 is white",
        lambda _: picture(white_is_zero(65535 - GREY.astype(np.uint16) * 257)),
    ),
    Twin("value ranges", "FITS in ABmag", "logarithm", lambda _: picture(fits_bytes(FLUX, BUNIT="ABmag"), VIS)),
    Twin("value ranges", "an array behind an axis of length 1", "read", lambda _: picture(RGB[None], like=RGB)),
    Twin(
        "WCS",
        "a degree for each pixel, as without CDELT",
        "has no WCS",
        lambda _: picture(fits_bytes(FLUX, CTYPE1="RA---TAN", CTYPE2="DEC--TAN"), Framing(size=20)),
    ),
    Twin("WCS", "--size without a scale", "refused", lambda _: picture(fits_bytes(FLUX), Framing(size=20))),
]

# ---------------------------------------------------------------- tables


def rows(path: Path, columns: Columns = Columns()) -> str:
    """List a catalogue: its IDs and first position, and the errors of rows."""

    def use() -> str:
        items = list(find_items([path], columns))
        first = items[0]
        place = (
            f", {first.right_ascension:.4f} {first.declination:.4f}"
            if first.right_ascension == first.right_ascension
            else ""
        )
        errors = [f"row error: {item.error}" for item in items if item.error]
        return "; ".join([f"read {' '.join(item.id for item in items[:3])}{place}", *errors[:2]])

    return outcome(use)


def csv(text: str, name: str = "t.csv", encoding: str = "utf-8", **columns: str) -> Callable[[Path], str]:
    """A catalogue as text, compressed as its name says."""

    def make(folder: Path) -> str:
        compress = {".gz": gzip.compress, ".bz2": bz2.compress}.get(Path(name).suffix, bytes)
        (folder / name).write_bytes(compress(text.encode(encoding)))
        return rows(folder / name, Columns(**columns))

    return make


def table(name: str, columns: dict[str, Any], **named: str) -> Callable[[Path], str]:
    """A catalogue as an Arrow table in a file."""

    def make(folder: Path) -> str:
        write_table(folder / name, pa.table({**columns, "path": columns.get("path", PATHS)}))
        return rows(folder / name, Columns(**named))

    return make


def fits_table(cards: dict[str, Any], *columns: Any, **named: str) -> Callable[[Path], str]:
    """A FITS table, whose cards are set after it was written."""

    def make(folder: Path) -> str:
        unit = fits.BinTableHDU.from_columns([*columns, fits.Column("path", "8A", array=PATHS)])
        fits.HDUList([fits.PrimaryHDU(), unit]).writeto(folder / "t.fits", overwrite=True)
        with fits.open(folder / "t.fits", mode="update", disable_image_compression=True) as hdus:
            data, hdus[1].header = hdus[1].data, hdus[1].header
            del data
            hdus[1].header.update(cards)
        return rows(folder / "t.fits", Columns(**named))

    return make


def tables(folder: Path, number: int) -> str:
    """The header of an image as a table, and `number` tables of images."""
    header = fits.table_to_hdu(Table({"Field Header Card": ["SIMPLE  = T"]}))
    header.name = "LDAC_IMHEAD"
    objects = [fits.table_to_hdu(Table({"id": ["g"], "path": ["a.png"]})) for _ in range(number)]
    fits.HDUList([fits.PrimaryHDU(), header, *objects]).writeto(folder / "t.fits")
    return rows(folder / "t.fits")


def scaled_null(folder: Path) -> str:
    """A scaled column with a null, card by card, as astropy would not write it."""
    unit = fits.BinTableHDU.from_columns(
        [
            fits.Column("id", "J", array=[1, 2, 3]),
            fits.Column("ra", "J", null=-1, unit="deg", array=[150_000_000, 1_000_000, -1]),
            fits.Column("dec", "D", array=[2.0, 1.0, 0.0]),
            fits.Column("path", "8A", array=PATHS),
        ]
    )
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(folder / "t.fits")
    data = (folder / "t.fits").read_bytes()
    card = b"TUNIT2  = 'deg     '".ljust(80)
    (folder / "t.fits").write_bytes(data.replace(card, b"TSCAL2  =               1.0E-06".ljust(80), 1))
    return rows(folder / "t.fits")


def votable(fields: str, cells: str, head: str = "") -> Callable[[Path], str]:
    """A VOTable of one row."""

    def make(folder: Path) -> str:
        (folder / "t.vot").write_text(
            f'<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>{head}<TABLE>{fields}'
            f"<DATA><TABLEDATA><TR>{cells}</TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
        )
        return rows(folder / "t.vot")

    return make


def sky_column(name: str) -> Callable[[Path], str]:
    """astropy's tables with a column of galactic coordinates."""

    def make(folder: Path) -> str:
        from astropy.coordinates import SkyCoord

        sky = SkyCoord([150.1], [2.2], unit="deg").galactic
        Table({"id": ["g"], "path": ["a.png"], "sky": sky}).write(folder / name)
        return rows(folder / name)

    return make


def in_radians(folder: Path) -> str:
    """astropy's Parquet, whose YAML takes several lines for a column with a long description."""
    out = Table({"id": ["g"], "path": ["a.png"], "ra": [2.6], "dec": [0.04]})
    for name in ("ra", "dec"):
        out[name].unit, out[name].description = "rad", "position " * 30
    out.write(folder / "t.parquet")
    return rows(folder / "t.parquet")


def named_units(folder: Path) -> str:
    """Units of Arrow fields as other programs call them."""
    out = pa.table({"id": ["g"], "path": ["a.png"], "ra": [2.6], "dec": [0.04]})
    fields = [field.with_metadata({"units": "rad"}) if field.name in ("ra", "dec") else field for field in out.schema]
    pa.parquet.write_table(out.cast(pa.schema(fields)), folder / "t.parquet")
    return rows(folder / "t.parquet")


def labels(name: str, ids: list[Any], last: str = "smooth", column: str = "id") -> Callable[[Path], str]:
    """A label table with these identifiers."""

    def make(folder: Path) -> str:
        write_table(folder / name, pa.table({column: ids, "label": ["spiral", "smooth", "spiral", last]}))

        def use() -> str:
            found = read_labels(folder / name)
            return "; ".join([f"read {' '.join(found.ids)}", *(f"row error: {error.reason}" for error in found.errors)])

        return outcome(use)

    return make


def archive(folder: Path, kind: str) -> str:
    """An archive of names with dots and a double extension."""
    members = {"J1.88-00.4.jpg": JPEG, "g2.fits.gz": gzip.compress(fits_bytes(FLUX)), "notes.txt": b""}
    if kind == "tar":
        with tarfile.open(folder / "t.tar", "w") as out:
            for name, data in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
    else:
        with zipfile.ZipFile(folder / "t.zip", "w") as out:
            for name, data in members.items():
                out.writestr(name, data)
    return rows(folder / f"t.{kind}")


def linked_folder(folder: Path) -> str:
    """A folder with a link to another one, a hidden file and a table."""
    from collections import Counter

    from tuningfork.pipeline.summary import left_out_text

    (folder / "in").mkdir()
    (folder / "other").mkdir()
    (folder / "in" / "a.jpg").write_bytes(JPEG)
    (folder / "in" / ".b.jpg").write_bytes(JPEG)
    (folder / "in" / "c.heic").write_bytes(b"")
    (folder / "in" / "link").symlink_to("../other")
    left_out: Counter[str] = Counter()
    names = [item.id for item in find_items([folder / "in"], left_out=left_out)]
    return f"read {' '.join(names)}; left out: {left_out_text(left_out)}"


POSITION = "g1,{ra},{dec},a.png\n"
HEAD = "id,ra,dec,path\n"
HOURS = HEAD + "".join(f"g{n},{n},2,a.png\n" for n in range(24))
ID = '<FIELD name="id" datatype="char" arraysize="*"/><FIELD name="path" datatype="char" arraysize="*"/>'
PLACE = '<FIELD name="{0}" {2} datatype="double"/><FIELD name="{1}" {3} datatype="double"/>'

TABLES = [
    Twin("units", "ra_rad, dec_rad in CSV", "148.9690 2.2918", csv("id,ra_rad,dec_rad,path\ng,2.6,0.04,a.png\n")),
    Twin("units", "RA [h] in CSV", "151.5000 2.2000", csv("id,RA [h],Dec [deg],path\ng,10.1,2.2,a.png\n")),
    Twin(
        "units",
        "petroR90_pix as radius",
        "no unit of an angle",
        csv("id,path,petroR90_pix\ng,a.png,7\n", radius="petroR90_pix"),
    ),
    Twin(
        "units",
        "petro_rad is a radius, no radian",
        "read g",
        csv("id,path,petro_rad\ng,a.png,7\n", radius="petro_rad"),
    ),
    Twin(
        "units",
        "ECSV in radians named .csv",
        "ECSV",
        csv(
            "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: ra, unit: rad, datatype: float64}\nid,ra,dec,path\ng,2.6,0,a\n"
        ),
    ),
    Twin(
        "units",
        "radians by UCD, other names",
        "148.9690 2.2918",
        votable(
            ID
            + PLACE.format(
                "alpha", "delta", 'ucd="pos.eq.ra;meta.main" unit="rad"', 'ucd="pos.eq.dec;meta.main" unit="rad"'
            ),
            "<TD>g</TD><TD>a.png</TD><TD>2.6</TD><TD>0.04</TD>",
        ),
    ),
    Twin(
        "units",
        "galactic by COOSYS",
        "is galactic",
        votable(
            ID + PLACE.format("ra", "dec", 'ref="B" unit="deg"', 'ref="B" unit="deg"'),
            "<TD>g</TD><TD>a.png</TD><TD>150</TD><TD>2</TD>",
            '<COOSYS ID="B" system="galactic"/>',
        ),
    ),
    Twin(
        "units",
        "FK5 of another equinox",
        "of the equinox J1975",
        votable(
            ID + PLACE.format("ra", "dec", 'ref="B" unit="deg"', 'ref="B" unit="deg"'),
            "<TD>g</TD><TD>a.png</TD><TD>150</TD><TD>2</TD>",
            '<COOSYS ID="B" system="eq_FK5" equinox="J1975"/>',
        ),
    ),
    Twin(
        "units",
        "the unit degrees in a VOTable",
        "150.0000 2.0000",
        votable(
            ID + PLACE.format("ra", "dec", 'unit="degrees"', 'unit="degrees"'),
            "<TD>g</TD><TD>a.png</TD><TD>150</TD><TD>2</TD>",
        ),
    ),
    Twin(
        "vanished rows",
        "a service that left out rows",
        "OVERFLOW",
        votable(ID, "<TD>g</TD><TD>a.png</TD>", '<INFO name="QUERY_STATUS" value="OVERFLOW"/>'),
    ),
    Twin(
        "vanished rows",
        "an error of a service",
        "no such table",
        lambda folder: (
            (folder / "t.vot").write_text(
                '<VOTABLE version="1.3"><RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">no such table'
                "</INFO></RESOURCE></VOTABLE>"
            ),
            rows(folder / "t.vot"),
        )[-1],
    ),
    Twin("tables", "SExtractor's LDAC, the header first", "read g", lambda folder: tables(folder, 1)),
    Twin("tables", "two tables with rows", "2 tables found", lambda folder: tables(folder, 2)),
    Twin(
        "units",
        "FK4 by COOSYS",
        "FK4",
        votable(
            ID + PLACE.format("ra", "dec", 'ref="B" unit="deg"', 'ref="B" unit="deg"'),
            "<TD>g</TD><TD>a.png</TD><TD>150</TD><TD>2</TD>",
            '<COOSYS ID="B" system="eq_FK4" equinox="B1950"/>',
        ),
    ),
    Twin(
        "units",
        "FITS table of RADESYS FK4",
        "FK4",
        fits_table(
            {"RADESYS": "FK4"},
            fits.Column("id", "J", array=[1, 2, 3]),
            fits.Column("ra", "D", array=[1.0] * 3),
            fits.Column("dec", "D", array=[1.0] * 3),
        ),
    ),
    Twin(
        "units",
        "galactic longitude named ra",
        "pos.galactic",
        votable(
            ID + PLACE.format("ra", "dec", 'ucd="pos.galactic.lon"', 'ucd="pos.galactic.lat"'),
            "<TD>g</TD><TD>a.png</TD><TD>150</TD><TD>2</TD>",
        ),
    ),
    Twin("units", "bare hours, predicted", "are they hours", csv(HOURS)),
    Twin(
        "units",
        "hours, minutes, degrees in one column",
        "157.5000 2.0000",
        csv(HEAD + "g,10.5h,2d,a.png\nh,10:30,-00:30:00,a.png\n"),
    ),
    Twin("units", "decimal commas", "decimal comma", csv("id;ra;dec;path\ng;150,1;2,2;a.png\n")),
    Twin("units", "coordinates as astropy saves them, ECSV", "150.1000 2.2000", sky_column("t.ecsv")),
    Twin("units", "coordinates as astropy saves them, FITS", "150.1000 2.2000", sky_column("t.fits")),
    Twin("units", "radians with long descriptions, astropy's Parquet", "148.9690 2.2918", in_radians),
    Twin("units", "units of Arrow's fields", "148.9690 2.2918", named_units),
    Twin(
        "units",
        "positions as vectors of one number",
        "150.1000 2.2000",
        fits_table(
            {},
            fits.Column("id", "J", array=[1, 2, 3]),
            fits.Column("ra", "1D", dim="(1)", array=np.full((3, 1), 150.1)),
            fits.Column("dec", "1D", dim="(1)", array=np.full((3, 1), 2.2)),
        ),
    ),
    Twin(
        "units",
        "VizieR: comments, names, units, dashes, with tabs",
        "read g1, 148.9690 2.2918",
        csv("#  VizieR\n\n_RAJ2000\t_DEJ2000\tid\tpath\nrad\trad\t \t \n-----\t-----\t--\t---\n2.6\t0.04\tg1\ta.png\n"),
    ),
    Twin("units", "units in a comment", "148.9690 2.2918", csv("# id,ra,dec,path\n# ,rad,rad,\ng,2.6,0.04,a.png\n")),
    Twin(
        "units",
        "RA, hours and equinox in the name",
        "151.5000",
        csv('id,"RA (J2000, hours)","Dec, deg",path\ng,10.1,2.2,a\n'),
    ),
    Twin(
        "units",
        "galactic longitude named by the user",
        "no right ascension",
        csv("id,glon,glat,path\ng,150,2,a.png\n", right_ascension="glon", declination="glat"),
    ),
    Twin("units", "half a position", "'dec' is half a position", csv("id,rah,dec,path\ng,10.1,2.2,a.png\n")),
    Twin(
        "units", "names of SExtractor", "150.1000 2.2000", csv("id,ALPHA_J2000,DELTA_J2000,path\ng,150.1,2.2,a.png\n")
    ),
    Twin("units", "blank positions of R and SQL", "read g h", csv(HEAD + "g,NA,NA,a.png\nh,\\N,\\N,b.png\n")),
    Twin("tables", "sep=; of spreadsheets", "150.1000 2.2000", csv("sep=;\nid;ra;dec;path\ng;150.1;2.2;a.png\n")),
    Twin("tables", "a title above the names", "150.1000 2.2000", csv("Table1\n" + HEAD + "g,150.1,2.2,a.png\n")),
    Twin("tables", "a title above unusual names", "is no header", csv("Table1\na,b\n1,2\n")),
    Twin("tables", "blanks between cells", "separated by blanks", csv("# id ra dec path\ng 150.1 2.2 a.png\n")),
    Twin("tables", "bytes of another kind", "no text", csv("PK\x03\x04\n")),
    Twin("tables", "UTF-16 without a mark", "read g", csv(HEAD + "g,150.1,2.2,a.png\n", encoding="utf-16-le")),
    Twin("tables", "two byte order marks", "read g", csv("\ufeff\ufeff" + HEAD + "g,150.1,2.2,a.png\n")),
    Twin("tables", "commas within names, semicolons between", "read g", csv("id;mag, r;path\ng;17;a.png\n")),
    Twin("tables", "semicolons", "150.1000 2.2000", csv("id;ra;dec;path\ng;150.1;2.2;a.png\n")),
    Twin("tables", "tabs", "150.1000 2.2000", csv("id\tra\tdec\tpath\ng\t150.1\t2.2\ta.png\n")),
    Twin("tables", "tabs, .tsv", "150.1000 2.2000", csv("id\tra\tdec\tpath\ng\t150.1\t2.2\ta.png\n", "t.tsv")),
    Twin("tables", "JSON named .csv", "it is JSON", csv('[{"id": 1}]')),
    Twin("tables", "VOTable named .csv", "it is XML", csv("<?xml version='1.0'?>\n<VOTABLE/>")),
    Twin("tables", "no path", "no path in column", csv("id,path\ng,NULL\n")),
    Twin("tables", "UTF-16", "150.1000 2.2000", csv(HEAD + "g,150.1,2.2,a.png\n", encoding="utf-16")),
    Twin("tables", "UTF-16 in gzip", "150.1000", csv(HEAD + "g,150.1,2.2,a.png\n", "t.csv.gz", encoding="utf-16")),
    Twin("tables", "bzip2", "150.1000 2.2000", csv(HEAD + "g,150.1,2.2,a.png\n", "t.csv.bz2")),
    Twin(
        "tables",
        "byte order mark, blanks in the header, newline in a cell",
        "read g",
        csv('id , ra, dec ,path,note\ng, 150.1, 2.2, a.png,"two\nlines"\n', encoding="utf-8-sig"),
    ),
    Twin("tables", "two columns of one name", "could all be meant", csv("id,path,path\ng,a.png,b.png\n")),
    Twin("tables", "null of a scaled FITS column", "column 'ra' is empty", scaled_null),
    Twin(
        "tables",
        "paths as bytes, Parquet",
        "read 1 2 3",
        table("t.parquet", {"id": [1, 2, 3], "path": pa.array([p.encode() for p in PATHS], pa.binary())}),
    ),
    Twin("tables", "positions without images", "--source", csv("id,ra,dec\ng,150,2\n")),
    Twin(
        "tables",
        "Parquet named .csv",
        "refused",
        lambda folder: (
            write_table(folder / "t.parquet", pa.table({"id": ["g"], "path": ["a"]})),
            (folder / "t.parquet").rename(folder / "t.csv"),
            rows(folder / "t.csv"),
        )[-1],
    ),
    Twin(
        "identifiers",
        "float32 IDs of labels",
        "lost its last digits",
        labels("l.parquet", pa.array(np.array([16777217, 1, 2, 3], np.float32))),
    ),
    Twin(
        "identifiers",
        "unsigned 64-bit IDs, FITS",
        "18446744073709551615",
        fits_table({}, fits.Column("id", "K", bzero=2**63, array=np.array([2**64 - 1, 2**63, 3], np.uint64))),
    ),
    Twin(
        "identifiers",
        "decimals, Parquet",
        "587722981742084096",
        table("t.parquet", {"id": pa.array([Decimal("587722981742084096.00")] * 3)}),
    ),
    Twin("identifiers", "leading zeros", "read 007 7", csv("id,path\n007,a.png\n7,b.png\n")),
    Twin("identifiers", '="00123" of spreadsheets', "read 00123", csv('id,path\n="00123",a.png\n')),
    Twin("identifiers", "5.87722981742084E17", "lost its last digits", csv("id,path\n5.87722981742084E17,a.png\n")),
    Twin("identifiers", "5,87723E+17", "lost its last digits", csv("id;path\n5,87723E+17;a.png\n")),
    Twin("identifiers", "587,722,981,742", "read 587722981742", csv('id,path\n"587,722,981,742",a.png\n')),
    Twin("identifiers", "b'J1129'", "read J1129", csv("id,path\nb'J1129',a.png\n")),
    Twin("identifiers", "##### of spreadsheets", "no ID", csv("id,path\n#####,a.png\n")),
    Twin(
        "identifiers",
        "rounded to 15 digits",
        "as spreadsheets round them",
        csv("id,path\n" + "".join(f"{number}000,a.png\n" for number in range(587722981742084, 587722981742089))),
    ),
    Twin(
        "identifiers",
        "rounded to 64 bits, then integers",
        "64-bit decimal numbers",
        table(
            "t.parquet",
            {"id": np.array([587722981742084097, 587722981742084401, 587722981742084999], np.float64).astype(int)},
        ),
    ),
    Twin("identifiers", "accents of two characters", "read \u00e9", csv("id,path\ne\u0301,a.png\n")),
    Twin(
        "identifiers",
        "labels that differ in case",
        "differ only in case",
        labels("l.csv", ["a", "b", "c", "d"], "Smooth"),
    ),
    Twin(
        "identifiers", "ID column in capitals", "read a b c d", labels("l.csv", ["a", "b", "c", "d"], column="GALAXYID")
    ),
    Twin("identifiers", "NaN as text", "no ID", csv("id,path\nNaN,a.png\n")),
    Twin("archives", "names with dots in a tar", "read J1.88-00.4 g2", lambda folder: archive(folder, "tar")),
    Twin("archives", "names with dots in a zip", "read J1.88-00.4 g2", lambda folder: archive(folder, "zip")),
    Twin(
        "vanished files",
        "linked folder, hidden file, unknown kind",
        ".heic 1, hidden 1, linked folders 1",
        linked_folder,
    ),
]

TWINS = IMAGES + TABLES
assert read_table
