"""What a user names as a source of pictures → the source."""

from __future__ import annotations

from pathlib import Path

from .._utils.errors import TuningforkError
from .._utils.urls import is_url, public_url
from .client import Client
from .cutout import SkySource

__all__ = ["SOURCES", "SourceError", "open_source"]

#: What may be named, for messages and help.
SOURCES = (
    "legacy, sdss, hips:CDS/P/SDSS9/color, sia:https://… (sia1: for version 1), "
    "https://my.server/cut?ra={ra}&dec={dec}&fov={size}, a file or folder of FITS, or tiles/*-{band}.fits"
)


class SourceError(TuningforkError, ValueError):
    """A source that cannot be used; the message says what can."""


def open_source(
    spec: str,
    *,
    layer: str | None = None,
    base: str | None = None,
    stretch: str = "auto",
    client: Client | None = None,
) -> SkySource:
    """A source of pictures by position. Safe to use from many threads; nothing is asked of a service yet.

    Parameters
    ----------
    spec : str
        ``legacy``, ``sdss``, ``hips:IDENTIFIER``, ``sia:ADDRESS`` (``sia1:`` for version 1), an address with the gaps
        of `template.GAPS`, or a file, a folder or a pattern of FITS, see `mosaic.MosaicSource`.
    layer : str, optional
        Of the survey, such as ``ls-dr9`` or ``dr17``; for FITS and SIA one or three bands by increasing wavelength,
        such as ``g,r,z``. None: the source's usual one.
    base : str, optional
        The service's address, where it is not the usual one: a mirror.
    stretch : str
        How FITS images become colours, see `framing.Framing`; services draw as they do.
    client : Client, optional
        Asks the services, with its rate and cache; None: a usual one.

    Raises
    ------
    SourceError
        If there is no such source.
    """
    kind, _, rest = spec.partition(":")
    if kind in ("legacy", "sdss") and not rest:
        return _survey(kind, layer, base, client or Client())
    if kind == "hips":
        return _survey(kind, rest or layer, base, client or Client())
    if kind in ("sia", "sia1"):
        return _sia(rest, 1 if kind == "sia1" else 2, layer, stretch, client or Client())
    from .template import is_template, template

    if is_template(spec):
        try:
            return template(client or Client(), spec, layer or "")
        except ValueError as error:
            raise SourceError(str(error)) from None
    if is_url(spec):
        raise SourceError(
            f"{public_url(spec)}: an address of a cutout server has the gaps {{ra}} and {{dec}}; or {SOURCES}"
        )
    if Path(spec).exists() or any(sign in spec for sign in "*?[{"):
        return _mosaic(spec, layer, stretch)
    raise SourceError(f"{spec}: no such source; {SOURCES}")


def _mosaic(spec: str, layer: str | None, stretch: str) -> SkySource:
    from .mosaic import MosaicSource

    try:
        return MosaicSource(
            spec, bands=[int(band) if band.isdigit() else band for band in _bands(layer)], stretch=stretch
        )
    except (FileNotFoundError, ValueError) as error:
        raise SourceError(str(error)) from None


def _bands(layer: str | None) -> list[str]:
    return [band for band in (layer or "").split(",") if band]


def _sia(base: str, version: int, layer: str | None, stretch: str, client: Client) -> SkySource:
    from .sia import SiaService

    if not base.startswith(("http://", "https://")):
        raise SourceError(f"sia:{public_url(base)}: the address of the service's queries is expected: sia:https://…")
    try:
        return SiaService(client, base, version=version, bands=_bands(layer), stretch=stretch)
    except ValueError as error:
        raise SourceError(str(error)) from None


def _survey(kind: str, layer: str | None, base: str | None, client: Client) -> SkySource:
    from . import hips, legacy, sdss

    module = {"hips": hips, "legacy": legacy, "sdss": sdss}[kind]
    return getattr(module, kind)(client, layer or module.LAYER, (base or module.BASE).rstrip("/"))
