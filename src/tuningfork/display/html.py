"""HTML from Jinja2 templates, autoescaped: pages and notebook fragments that need no network and run no script."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from .._utils.text import bounds_text, counted, decimals, percent
from ..images.encode import data_url
from .scripts import static_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["MAX_TEXT", "duration", "integer", "render"]

#: Characters of a name or a message that a card shows.
MAX_TEXT = 200


def render(template: str, **values: Any) -> Markup:
    """Render a template of `display/templates` with these values; every value is escaped but markup.

    Parameters
    ----------
    template : str
        Name of the template, such as ``"report.html"``.
    **values
        What the template shows. None is shown as a dash; a name that is missing is an error.

    Returns
    -------
    markupsafe.Markup
        Valid UTF-8: a lone surrogate, of a file name in another encoding, is shown as ``\\udc80``.

    Examples
    --------
    >>> "1 galaxy" in render("cards.html", cards=[], total=1)
    True
    """
    from markupsafe import Markup

    page = _environment().get_template(template).render(values)
    return Markup(page.encode("utf-8", "backslashreplace").decode("utf-8"))


@cache
def _environment() -> Environment:
    # Imported late: a prediction that shows nothing needs no templates.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuningfork.display"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: "–" if value is None else value,
    )
    environment.globals["stylesheet"] = _stylesheet
    environment.filters |= {
        "bounds": _bounds,
        "count": counted,
        "data_url": data_url,
        "duration": duration,
        "gigabytes": lambda megabytes: f"{megabytes / 1000:.1f} GB" if _is_number(megabytes) else None,
        "integer": integer,
        "millions": lambda value: f"{value / 1e6:.1f} M" if _is_number(value) else None,
        "number": decimals,
        "percent": percent,
        # A percentage does not end up on two lines.
        "together": lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%"),
        "range": _range,
        "short": _short,
    }
    return environment


def _stylesheet(*names: str) -> Markup:
    """Style sheets of ``display/static``, to stand within a page."""
    from markupsafe import Markup

    return Markup("\n".join(static_text(name) for name in names))


def integer(value: Any) -> str:
    """A count with thousands separated by commas; a dash for what is not a number.

    >>> integer(61578)
    '61,578'
    """
    return f"{value:,.0f}" if _is_number(value) else "–"


def duration(seconds: Any) -> str:
    """A time in minutes, or hours and minutes.

    >>> duration(90), duration(7320)
    ('1.5 min', '2 h 02 min')
    """
    if not _is_number(seconds):
        return "–"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{seconds / 60:.1f} min"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _bounds(score: Mapping[str, Any] | None, digits: int = 4) -> str:
    return bounds_text(score["low"], score["high"], digits) if score else "–"


def _range(values: Any) -> str:
    """The least and the greatest of some numbers, such as ``20 to 40``."""
    known = sorted({value for value in values if _is_number(value)})
    if not known:
        return "?"
    return integer(known[0]) if len(known) == 1 else f"{integer(known[0])} to {integer(known[-1])}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
