"""One HTML page that needs nothing else: its style, and its tables, figures and texts from plain values."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "Markup",
    "data_url",
    "figure",
    "grid",
    "integer",
    "interval",
    "number",
    "paragraph",
    "picture",
    "section",
    "table",
    "text",
    "whole_page",
]

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --faint: #8882; --accent: #0072b2; --paper: #fff; --head: #f6f6f6 }
@media (prefers-color-scheme: dark) { :root { --accent: #56b4e9; --paper: #121212; --head: #222 } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 0 auto; padding: 1rem; background: var(--paper);
  overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 0 0 .5rem }
h3 { font-size: 1rem; margin: 1rem 0 .4rem }
a { color: var(--accent) }
section { border-top: 1px solid var(--line); padding: 1.2rem 0 .6rem }
p, ul { max-width: 48rem; margin: .4rem 0 } ul { padding-left: 1.2rem }
small { font-size: .9em; opacity: .85 } figcaption, caption { font-size: .82rem; opacity: .85 }
nav ul { columns: 15rem; list-style: none; padding: 0; margin: .4rem 0 }
.missing { border-left: 4px solid var(--line); padding-left: .7rem; font-style: italic }
.scroll { overflow-x: auto; margin: .6rem 0; border: 1px solid var(--line); border-radius: 6px }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.35; font-variant-numeric: tabular-nums;
  width: 100% }
caption { text-align: left; padding: .5rem .6rem; caption-side: top; position: sticky; left: 0; max-width: 92vw }
th, td { padding: .3rem .6rem; text-align: right; vertical-align: top; border-top: 1px solid var(--line) }
th { background: var(--head); font-weight: 600 } thead th { vertical-align: bottom; white-space: normal }
th:first-child, .left { text-align: left } tbody th { position: sticky; left: 0; font-weight: 400; min-width: 8.5rem;
  max-width: 13rem }
td { white-space: nowrap } td.wrap { white-space: normal; min-width: 12rem; overflow-wrap: anywhere }
td small { display: block }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
  align-items: start }
.grid.two { grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
.grid.maps { grid-template-columns: repeat(auto-fill, minmax(10.4rem, 1fr)) }
.grid.three { grid-template-columns: repeat(auto-fill, minmax(min(100%, 16.5rem), 1fr)) }
figure { margin: .6rem 0; break-inside: avoid } .grid figure { margin: 0 }
figure > img { width: 100%; height: auto; max-width: 30rem; display: block; background: #fff; border-radius: 6px;
  border: 1px solid var(--line) }
.wide > img { max-width: 36rem }
.mosaic { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)) }
.mosaic figcaption { line-height: 1.25; font-size: .75rem; margin-top: .2rem }
.mosaic figure > img { background: #000; border: 0; max-width: none; aspect-ratio: 1; image-rendering: auto }
.triple { max-width: 34rem; grid-template-columns: repeat(3, 1fr) }
@media (prefers-color-scheme: dark) { .grid > figure > img, .wide > img { filter: brightness(.9) } }
@media print {
  :root { --paper: #fff; --head: #f6f6f6; color-scheme: light }
  body { max-width: none; padding: 0; font-size: 10pt } nav { display: none }
  section { padding: .8rem 0 } h2, h3 { break-after: avoid } tr, figure { break-inside: avoid }
  .scroll { overflow: visible; border: 0 } table { font-size: 6.2pt } th, td { padding: .12rem .22rem }
  td { white-space: normal } tbody th, caption { position: static } tbody th, td.wrap { min-width: 0 }
  .grid, .grid.two, .grid.three { grid-template-columns: repeat(2, 1fr) }
  .mosaic { grid-template-columns: repeat(8, 1fr) } .wide > img { max-width: 11cm }
  figcaption, caption { font-size: 8pt; max-width: none; padding: .2rem 0 }
  .grid.maps { grid-template-columns: repeat(5, 1fr) }
  .mosaic figcaption { font-size: 6pt } .triple { grid-template-columns: repeat(3, 3.2cm) }
}
"""


class Markup(str):
    """Text that is HTML already; everything else is escaped."""

    __slots__ = ()


def text(value: Any) -> Markup:
    """Any value as HTML that shows it literally; Markup as it is."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup("–")
    # File names and JSON may hold what UTF-8 cannot.
    return Markup(escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8")))


def paragraph(value: Any, kind: str = "") -> Markup:
    """A paragraph; `kind` is a class of the style, such as ``missing``."""
    return Markup(f"<p{_class(kind)}>{text(value)}</p>")


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def integer(value: Any) -> str:
    """A count with separated thousands, or a dash."""
    return f"{value:,.0f}" if isinstance(value, int | float) else "–"


def interval(score: Mapping[str, Any] | None, digits: int = 4) -> Markup:
    """A score, and below it its interval."""
    if not score or score.get("value") is None:
        return Markup("–")
    bounds = "" if score["low"] is None else f"<small>{score['low']:.{digits}f}…{score['high']:.{digits}f}</small>"
    return Markup(f"{score['value']:.{digits}f}{bounds}")


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], caption: Any = "", wrap: Sequence[int] = ()) -> Markup:
    """A table that scrolls in its own box; the first column names the row, those in `wrap` hold texts."""
    top = "".join(
        f'<th scope="col"{_class("left") if column in wrap else ""}>{text(cell)}</th>'
        for column, cell in enumerate(head)
    )
    body = []
    for row in rows:
        cells = [f'<th scope="row">{text(row[0])}</th>']
        cells += [
            f'<td class="left wrap">{text(cell)}</td>' if column in wrap else f"<td>{text(cell)}</td>"
            for column, cell in enumerate(row[1:], 1)
        ]
        body.append(f"<tr>{''.join(cells)}</tr>")
    title = f"<caption>{text(caption)}</caption>" if caption else ""
    # The box takes the focus, so that a keyboard can scroll it.
    return Markup(
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def data_url(content: bytes) -> str:
    """A picture's bytes as a URL of their own."""
    if content.startswith(b"\x89PNG"):
        kind = "png"
    elif content.startswith(b"\xff\xd8"):
        kind = "jpeg"
    else:
        kind = "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def picture(content: bytes, alt: str) -> Markup:
    """An image with its text for those who do not see it."""
    return Markup(f'<img src="{data_url(content)}" alt="{text(alt)}">')


def figure(content: bytes | None, alt: str, caption: Any = "", kind: str = "") -> Markup:
    """A figure with its caption; nothing if there is no picture."""
    if content is None:
        return Markup("")
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Markup(f"<figure{_class(kind)}>{picture(content, alt)}{below}</figure>")


def grid(figures: Iterable[Markup], kind: str = "grid") -> Markup:
    """Figures beside each other as the screen has room."""
    return Markup(f'<div class="{kind}">{"".join(figures)}</div>')


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def section(name: str, title: str, *parts: Markup) -> tuple[str, str, Markup]:
    """Its anchor, its title, and itself."""
    return name, title, Markup(f'<section id="{name}"><h2>{text(title)}</h2>{"".join(parts)}</section>')


def whole_page(title: str, head: Sequence[Markup], sections: Sequence[tuple[str, str, Markup]]) -> str:
    """The page with its contents listed on top."""
    links = "".join(f'<li><a href="#{name}">{text(heading)}</a></li>' for name, heading, _ in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body><header><h1>{text(title)}</h1>"
        f'{"".join(head)}<nav aria-label="Contents"><ul>{links}</ul></nav></header>'
        f"<main>{''.join(body for _, _, body in sections)}</main></body></html>\n"
    )
