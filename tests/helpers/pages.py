"""Pages in Debian's Chromium: a browser, and windows that fail a test for any error or foreign request."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: What a module of such tests is marked with.
needs_chromium = pytest.mark.skipif(
    not os.path.exists(CHROMIUM), reason=f"{CHROMIUM} is not there: apt install chromium"
)
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without windows."""
    from playwright import sync_api

    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@contextmanager
def window(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page in a window of its own; at the end there were no errors, dialogs, or requests to elsewhere."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page, wrong = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    own = address.rsplit("/", 1)[0] + "/"
    page.on("request", lambda each: None if each.url.startswith((own, "data:", "blob:")) else wrong.append(each.url))
    page.goto(address)
    try:
        yield page
        assert not wrong, wrong  # spelled out: this module's assertions are not rewritten
    finally:
        context.close()


def fits(page: Any) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def unreadable(page: Any) -> list[str]:
    """Texts in view whose contrast with what is behind them is below 4.5 (3 for large ones), after WCAG 2.2."""
    return page.evaluate(_CONTRAST)


_CONTRAST = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const style = getComputedStyle(node);
      if (style.backgroundImage !== "none") return null; // an image, of which nothing can be said
      const colour = numbers(style.backgroundColor);
      if (colour.length < 4 || colour[3] > 0.98) return colour;
    }
    return [255, 255, 255];
  };
  const out = [];
  for (const node of document.querySelectorAll("body *")) {
    const text = [...node.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data.trim()).join("");
    if (!text || !node.checkVisibility() || node.closest("[disabled], .unseen, .skip, noscript, option")) continue;
    const style = getComputedStyle(node);
    const back = behind(node);
    if (!back || style.opacity < 0.05) continue;
    const [a, b] = [light(numbers(style.color)), light(back)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) out.push(`${text.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return out;
}"""
