"""Registry of surveys: the name that a user gives → the source of its images by position.

A survey is a function in ``surveys/NAME.py`` with `register_survey`, or an entry point of the group
``tuningfork.surveys`` of any installed package that loads such a function.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._utils.errors import TuningforkError
from .._utils.text import nearest
from .._utils.urls import is_url, public_url

if TYPE_CHECKING:
    from ..images.fits.framing import Unit
    from .client import Client
    from .cutout import SkySource

__all__ = ["GROUP", "Survey", "SurveyError", "SurveyOptions", "open_source", "register_survey", "survey_names"]

GROUP = "tuningfork.surveys"
#: What may be named beside surveys, for messages and help.
OTHERS = "an address with {ra} and {dec}, a file or folder of FITS, or tiles/*-{band}.fits"
_DECORATOR = re.compile(r'^@register_survey\("([\w-]+)"(?:, example="([^"]*)")?', re.MULTILINE)


class SurveyError(TuningforkError, ValueError):
    """A source of images that cannot be used; the message says what can."""


@dataclass(frozen=True, slots=True)
class SurveyOptions:
    """Options of a source.

    Parameters
    ----------
    identifier : str
        What follows the survey's name and a colon; "" if nothing does.
    layer : str, optional
        Of the survey, such as ``ls-dr9`` or ``dr17``; for FITS and SIA one or three bands by increasing wavelength,
        such as ``g,r,z``. None: the source's default.
    base : str, optional
        The service's address, where it is not the usual one: a mirror.
    stretch : str
        How FITS images become colours, see `framing.Framing`; services have colours of their own.
    hdu, mask, mask_bits : of FITS tiles, see `framing.Framing`
    """

    identifier: str = ""
    layer: str | None = None
    base: str | None = None
    stretch: str = "auto"
    hdu: Unit | None = None
    mask: Unit | None = None
    mask_bits: tuple[int | str, ...] | None = None

    @property
    def bands(self) -> list[str]:
        """The layer as names of bands."""
        return [band for band in (self.layer or "").split(",") if band]


Survey = Callable[["Client", SurveyOptions], "SkySource"]
_surveys: dict[str, Survey] = {}


def register_survey(name: str, *, example: str = "") -> Callable[[Survey], Survey]:
    """Register a function of a client and `SurveyOptions` as the survey of this name.

    Parameters
    ----------
    example : str
        How it is named with an identifier, for the help: ``hips:CDS/P/SDSS9/color``. Default: the name.

    Examples
    --------
    >>> @register_survey("empty")
    ... def empty(client, options):
    ...     raise SurveyError(f"no images of {options.layer}")
    >>> open_source("empty", SurveyOptions(layer="dr1"))
    Traceback (most recent call last):
    ...
    tuningfork.surveys.registry.SurveyError: no images of dr1
    """

    def register(survey: Survey) -> Survey:
        _surveys[name] = survey
        return survey

    return register


def _entry_points(name: str | None = None) -> Any:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)


@cache
def _builtin() -> dict[str, tuple[str, str]]:
    """Name of each survey of this package → its module and its example; modules are not imported for it."""
    return {
        match[1]: (f"{__package__}.{file.stem}", match[2] or match[1])
        for file in sorted(Path(__file__).parent.glob("*.py"))
        if file != Path(__file__)
        for match in _DECORATOR.finditer(file.read_text("utf-8"))
    }


def survey_names() -> list[str]:
    """How surveys are named, as examples for help: legacy, sdss, hips:CDS/P/SDSS9/color …"""
    others = {entry.name for entry in _entry_points()} | set(_surveys) - set(_builtin())
    return [*(example for _, example in _builtin().values()), *sorted(others)]


def _survey(name: str) -> Survey | None:
    if name not in _surveys and name in _builtin():
        importlib.import_module(_builtin()[name][0])
    if name not in _surveys:
        for entry in _entry_points(name=name):
            _surveys.setdefault(name, entry.load())
    return _surveys.get(name)


def open_source(spec: str, options: SurveyOptions = SurveyOptions(), *, client: Client | None = None) -> SkySource:
    """Open a source of images by position. Safe to use from many threads; nothing is requested from a service yet.

    Parameters
    ----------
    spec : str
        A survey's name, perhaps with an identifier (``legacy``, ``hips:IDENTIFIER``, ``sia:ADDRESS``), an address with
        the gaps of `template.GAPS`, or a file, a folder or a pattern of FITS, see `mosaic.MosaicSource`.
    client : Client, optional
        Requests images from services, with its rate and cache; None: one with the defaults.

    Raises
    ------
    SurveyError
        If there is no such source.
    """
    from .client import Client

    name, _, rest = spec.partition(":")
    try:
        if survey := _survey(name):
            _no_mask(spec, options)
            return survey(client or Client(), replace(options, identifier=rest))
        from .template import is_template, template

        if is_template(spec):
            _no_mask(spec, options)
            return template(client or Client(), spec, options.layer or "")
        if is_url(spec):
            raise SurveyError(
                f"{public_url(spec)}: an address of a cutout server has the gaps {{ra}} and {{dec}}; or "
                f"{', '.join(survey_names())}"
            )
        if Path(spec).exists() or any(sign in spec for sign in "*?[{"):
            from .mosaic import MosaicSource

            bands = [int(band) if band.isdigit() else band for band in options.bands]
            return MosaicSource(
                spec,
                bands=bands,
                stretch=options.stretch,
                hdu=options.hdu,
                mask=options.mask,
                mask_bits=options.mask_bits,
            )
    except SurveyError:
        raise
    except (FileNotFoundError, ValueError) as error:
        raise SurveyError(str(error)) from None
    near = nearest(name, [each.partition(":")[0] for each in survey_names()])
    raise SurveyError(f"{spec}: no such source{near}; there are {', '.join(survey_names())}, {OTHERS}")


def _no_mask(spec: str, options: SurveyOptions) -> None:
    if any(option is not None for option in (options.hdu, options.mask, options.mask_bits)):
        raise SurveyError(f"{public_url(spec)}: an image or a mask is chosen in FITS tiles on disk alone")
