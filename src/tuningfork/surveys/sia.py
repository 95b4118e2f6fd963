"""Images of the Virtual Observatory by position: Simple Image Access, and SODA where cutouts are offered.

Interface: IVOA SIA 2.0 (2015) and 1.0 (2009), DataLink 1.0 (2015), SODA 1.0 (2017). pyvo spells the queries and reads
the answers; our own `client` requests them, so that its rate, retries and limits hold here too.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from .._utils.extras import install_hint
from .._utils.text import one_line
from .._utils.urls import public_url
from ..images.complaints import decoder_complaints
from ..images.fits.file import is_fits
from ..images.fits.framing import Framing
from ..images.image import ImageError
from ..tables import CatalogError
from ..tables.votable import check_votable
from .client import Answer, Client, DamagedResponse
from .cutout import Cutout, Provenance, check_square, utc_text
from .fits_cutout import Square, cut_fits
from .registry import SurveyError, SurveyOptions, register_survey
from .responses import check_blank

__all__ = ["SiaService", "sia"]

#: Records of one query that are read.
MAX_RECORDS = 1000
#: Characters of the images' titles that stand for the layer.
LAYER = 100
SODA = "ivo://ivoa.net/std/SODA#sync"
#: Obscore has no column for a filter's name; services that have one call it so.
_BAND_COLUMNS = ("filter", "filter_name", "band", "band_name", "bandpass", "bandpass_id", "bandpass_name")
_WORD = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class _Image:
    """A record of an answer: an image of one band.

    Parameters
    ----------
    wavelength : float
        Metres; NaN if the record has none.
    away : float
        Degrees from its middle to the position.
    """

    address: str
    is_datalink: bool
    title: str
    names: frozenset[str]
    wavelength: float
    away: float
    record: Any


@register_survey("sia", example="sia:https://…")
def sia(client: Client, options: SurveyOptions) -> SiaService:
    """Any service of Simple Image Access 2 by its address; ``sia1`` of version 1."""
    return _service(client, options, version=2)


@register_survey("sia1", example="sia1:https://…")
def sia1(client: Client, options: SurveyOptions) -> SiaService:
    """Any service of Simple Image Access 1 by its address."""
    return _service(client, options, version=1)


def _service(client: Client, options: SurveyOptions, version: int) -> SiaService:
    base = options.identifier
    if not base.startswith(("http://", "https://")):
        raise SurveyError(f"sia:{public_url(base)}: the address of the service's queries is expected: sia:https://…")
    return SiaService(client, base, version=version, bands=options.bands, stretch=options.stretch)


class SiaService:
    """Cutouts from the FITS images that a SIA service lists; see `cutout.SkySource`.

    Parameters
    ----------
    version : 1 or 2
        Of the protocol.
    bands : sequence of str
        Names of one or three filters by increasing wavelength, such as g, r, z; empty: the shortest, the middle and
        the longest band of those that the service has there, or one, in grey, if they are fewer than three.
    stretch : str
        See `framing.Framing`.

    Raises
    ------
    ValueError
        If pyvo is not there, two bands are named, or the stretch is not known.
    """

    def __init__(
        self, client: Client, base: str, *, version: int = 2, bands: Sequence[str] = (), stretch: str = "auto"
    ) -> None:
        try:
            import pyvo  # noqa: F401
        except ImportError:
            raise ValueError(f"SIA needs pyvo: {install_hint('sky')}") from None
        if len(bands) not in (0, 1, 3):
            raise ValueError(f"{len(bands)} bands; name one, or three by increasing wavelength: g,r,z")
        self._client, self._base, self._version, self._bands = client, base, version, bands
        self._framing = Framing(stretch=stretch)

    def cutout(self, ra: float, dec: float, size: float, pixels: int) -> Cutout:
        """See `SkySource.cutout`."""
        check_square(ra, dec, size)
        chosen = _choose(self._images(ra, dec, size), self._bands)
        answers = [self._fetch(image, ra, dec, size) for image in chosen]
        rgb, warning = cut_fits([answer.data for answer in answers], Square(ra, dec, size, pixels), self._framing)
        address = public_url(chosen[len(chosen) // 2].address)
        layer = ", ".join(self._bands or [image.title for image in chosen])
        time = utc_text(max(answer.time for answer in answers))
        provenance = Provenance("sia", layer[:LAYER], size / pixels, time, address)
        return Cutout(check_blank(rgb), provenance, warning)

    def _images(self, ra: float, dec: float, size: float) -> list[_Image]:
        from astropy import units
        from astropy.coordinates import SkyCoord

        place = SkyCoord(ra, dec, unit="deg")
        with _bad_records():
            if self._version == 1:
                from pyvo.dal.sia import SIAQuery as Query
                from pyvo.dal.sia import SIAResults as Results

                query = Query(self._base, pos=place, size=size / 3600 * units.deg, format="image/fits")
            else:
                from pyvo.dal.sia2 import SIA2Query as Query
                from pyvo.dal.sia2 import SIA2Results as Results

                # Half a diagonal: all that touches the frame.
                query = Query(
                    self._base, pos=(place, size / 3600 / math.sqrt(2) * units.deg), data_type="image",
                    maxrec=MAX_RECORDS,
                )  # fmt: skip
        records = self._client.get(_address(query), lambda answer: _results(Results, answer, _address(query)))
        images = [image for record in records if (image := _image(record, place)) is not None]
        if not images:
            raise ImageError("no image of this position")
        return images

    def _fetch(self, image: _Image, ra: float, dec: float, size: float) -> Answer:
        return self._client.get(self._cut(image, ra, dec, size), _fits)

    def _cut(self, image: _Image, ra: float, dec: float, size: float) -> str:
        """The address of the image's part around a position, if SODA offers it, else of the entire image."""
        from pyvo.dal.adhoc import DatalinkResults, SodaQuery
        from pyvo.dal.exceptions import DALServiceError

        results, address, row = image.record._results, image.address, image.record
        if image.is_datalink:
            results = self._client.get(address, lambda answer: _results(DatalinkResults, answer, address))
            with _bad_records():
                entire = next((link for link in results if link.semantics == "#this" and link.access_url), None)
                row = entire if entire is not None else next(iter(results), None)
                if row is None:
                    raise ImageError("its datalink document names no file")
                address = row.access_url or ""
        with _bad_records():
            try:
                service = results.get_adhocservice_by_ivoid(SODA)
            except DALServiceError:
                return _web_address(address, image.address)
            query = SodaQuery.from_resource([row], service)
            # Beyond the frame's corners, so that none of its pixels is at the edge.
            query["CIRCLE"] = f"{ra:.7f} {dec:.7f} {0.8 * size / 3600:.7f}"
            return _address(query)


def _web_address(address: str, base: str) -> str:
    if urlsplit(address).scheme not in ("http", "https"):
        raise ImageError(f"an image at {public_url(address)[:100]!r}, which is no web address")
    return address


def _address(query: Any) -> str:
    """The address that a query of pyvo would request."""
    base = query.queryurl
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return _web_address(f"{base}{joint}{urlencode(dict(query), doseq=True)}", base)


def _results(kind: Any, answer: Answer, address: str) -> Any:
    from astropy.io.votable import parse
    from pyvo.dal.exceptions import DALQueryError

    try:
        check_votable(io.BytesIO(answer.data))
    except CatalogError as error:
        raise ImageError(f"answered with a VOTable that is refused: {error}") from None
    if b"<VOTABLE" not in answer.data[: 2**16]:
        raise ImageError(f"answered with no VOTable but {answer.kind or 'an unknown kind'}")
    with decoder_complaints():
        try:
            return kind(parse(io.BytesIO(answer.data), verify="ignore"), url=address)
        except DALQueryError as error:
            raise ImageError(f"the service says: {one_line(error.reason)}") from None
        except Exception as error:  # damaged XML raises many kinds
            raise DamagedResponse(f"a VOTable came damaged ({type(error).__name__})") from None


@contextmanager
def _bad_records() -> Iterator[None]:
    """Raise ImageError for what pyvo finds wrong with a record, and silence its many warnings."""
    from pyvo.dal.exceptions import DALAccessError

    try:
        with decoder_complaints():
            yield
    except (DALAccessError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ImageError(f"a record that is invalid ({type(error).__name__})") from None


def _image(record: Any, place: Any) -> _Image | None:
    """A record as an image; None if it is none that we read."""
    with _bad_records():
        kind = str(record.getdataformat() or "").lower()
        address = record.getdataurl()
        is_datalink = "content=datalink" in kind
        if not address or not ("fits" in kind or is_datalink):
            return None
        columns = [name for name in record if name.lower() in _BAND_COLUMNS]
        names = frozenset(str(record[name]) for name in columns if record[name])
        title = str(getattr(record, "obs_title", None) or getattr(record, "title", None) or "")
        if hasattr(record, "em_min"):
            ends = [quantity.si.value for quantity in (record.em_min, record.em_max) if quantity is not None]
            wavelength = sum(ends) / len(ends) if ends else math.nan
            away = _away(place, record.get("s_ra"), record.get("s_dec"))
        else:
            names |= {str(record.bandpass_id)} if record.bandpass_id else set()
            reference = record.bandpass_refvalue
            wavelength = float(reference.si.value) if reference is not None else math.nan
            away = float(record.pos.separation(place).deg) if record.pos is not None else math.inf
        return _Image(address, is_datalink, title, names or frozenset(_WORD.findall(title)), wavelength, away, record)


def _away(place: Any, ra: Any, dec: Any) -> float:
    from astropy.coordinates import SkyCoord

    try:
        return float(SkyCoord(float(ra), float(dec), unit="deg").separation(place).deg)
    except (TypeError, ValueError):
        return math.inf


def _choose(images: Sequence[_Image], bands: Sequence[str]) -> list[_Image]:
    """One image of each band, by increasing wavelength: that whose middle is nearest."""
    nearest = sorted(images, key=lambda image: (image.away, image.address))
    if bands:
        chosen = []
        for band in bands:
            named = [image for image in nearest if band.lower() in {name.lower() for name in image.names}]
            if not named:
                there = sorted({name for image in images for name in image.names})
                raise ImageError(f"no image of band {band!r}; there are {', '.join(there)[:150] or 'none named'}")
            chosen.append(named[0])
        return chosen
    by_band: dict[float, _Image] = {}
    for image in nearest:
        if math.isfinite(image.wavelength):
            by_band.setdefault(round(image.wavelength * 1e9), image)
    ordered = [by_band[wavelength] for wavelength in sorted(by_band)]
    if len(ordered) >= 3:
        return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]
    return [ordered[-1] if ordered else nearest[0]]


def _fits(answer: Answer) -> Answer:
    if not is_fits(answer.data):
        raise ImageError(f"answered with no FITS but {answer.kind or 'an unknown kind'}")
    return answer
