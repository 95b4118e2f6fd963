"""The page in a real browser, Debian's Chromium: what people do with it, and what it must never do."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

from served import served

import tuningfork
from tuningfork.images.image import ImageError
from tuningfork.simulation import draw, render
from tuningfork.surveys.cutout import Cutout, Provenance
from tuningfork.web.predict.app import create_app

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<img src=x onerror=alert(1)>.jpg"

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not there: apt install chromium")
slow = pytest.mark.slow


@dataclass
class Sky:
    """A sky of one galaxy in the north and nothing in the south."""

    picture: np.ndarray

    def cutout(self, ra, dec, size, pixels):
        if dec < 0:
            raise ImageError("nothing there")
        return Cutout(self.picture, Provenance("mosaic", "north.fits", size / pixels, "2026-11-24T08:00:00Z"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for index in range(4):
        Image.fromarray(render(draw(23, index))).save(folder / f"galaxy {index}.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0broken")
    (folder / HOSTILE).write_bytes(b"<svg onload=alert(1)>")
    return folder


@pytest.fixture(scope="module")
def address():
    model = tuningfork.load("fast", threads=1)
    with served(create_app(model, source=Sky(render(draw(23, 1))), source_name="our mosaics")) as told:
        yield told


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, address):
    """Open the page; what it asks for, and what it complains of, is checked when the test ends."""
    contexts, requests, complaints = [], [], []

    def opened(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


def choose(page, *files):
    page.set_input_files("#files", [str(file) for file in files])
    page.get_by_text(re.compile(f"^{len(files)} galax")).wait_for()


def test_a_picture_shows_its_tree(open_page, pictures):
    page = open_page()
    choose(page, pictures / "galaxy 1.jpg")
    assert page.get_by_role("heading", level=3).inner_text()
    steps = page.locator(".way > li")
    assert steps.count() >= 2
    bars = steps.first.get_by_role("meter")
    assert bars.count() == 3
    assert sum(int(bar.get_attribute("aria-valuenow")) for bar in bars.all()) in (99, 100, 101)
    assert re.search(r"\d %, interval \d+–\d+ %", bars.first.get_attribute("aria-valuetext"))


@slow
def test_files_may_be_dropped(open_page, pictures):
    page = open_page()
    content = (pictures / "galaxy 2.jpg").read_bytes()
    dropped = page.evaluate_handle(
        """bytes => { const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", {type: "image/jpeg"})); return held }""",
        list(content),
    )
    page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    page.get_by_text("1 galaxy", exact=True).wait_for()
    assert "dropped.jpg" in page.locator("#detail").inner_text()


@slow
def test_with_the_keyboard_alone(open_page):
    page = open_page(reduced_motion="reduce")

    def tab_to(name):
        for _ in range(25):
            page.keyboard.press("Tab")
            focused = page.evaluate_handle("document.activeElement")
            if name in (focused.evaluate("e => e.getAttribute('aria-label') || e.innerText || e.id") or ""):
                # A ring shows where one is.
                ringed = focused.evaluate(
                    "e => getComputedStyle(e.matches('input[type=file]') ? e.nextElementSibling : e)"
                )
                assert ringed["outlineStyle"] != "none", name
                return
        raise AssertionError(f"Tab never comes to {name}")

    tab_to("Skip to the results")
    tab_to("files")
    tab_to("Try simulated galaxies")
    page.keyboard.press("Enter")
    page.get_by_text("8 galaxies", exact=True).wait_for()
    tab_to("CSV")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == 9
    tab_to("simulated 1.jpg")
    first = page.locator("#detail figcaption").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("#detail figcaption").inner_text() != first
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.keyboard.press("End")
    assert "simulated 8.jpg" in page.locator("#detail figcaption").inner_text()
    tab_to("Where it looked")
    page.keyboard.press("Enter")
    page.locator(".heat").wait_for()
    assert "Where the network looked" in page.locator(".heat").get_attribute("alt")
    page.keyboard.press("Enter")
    assert page.locator(".heat").count() == 0
    tab_to("Where the network looked: Is the galaxy simply smooth")
    page.keyboard.press("Enter")
    page.locator(".heat").wait_for()


@slow
@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_needs_no_scrolling_sideways(open_page, pictures, width):
    page = open_page(viewport={"width": width, "height": 844}, has_touch=True, is_mobile=True)

    def fits():
        return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    assert fits()
    choose(page, *sorted(pictures.iterdir()))
    for row in page.get_by_role("option").all():
        row.tap()
        assert fits()
    page.get_by_role("option").nth(2).tap()
    for fold in page.locator("summary").all():
        fold.tap()
    assert fits()
    for each in page.locator("button:visible, a.button:visible, summary:visible").all():
        box = each.bounding_box()
        assert box["height"] >= 24, each.inner_text()
        assert box["width"] >= 24, each.inner_text()


@slow
def test_bad_files_are_told_by_name_and_do_no_harm(open_page, pictures):
    page = open_page()
    choose(page, pictures / "galaxy 0.jpg", pictures / "broken.jpg", pictures / HOSTILE)
    page.get_by_text("3 galaxies, 2 without prediction").wait_for()
    rows = page.get_by_role("option")
    rows.nth(1).click()
    assert "damaged" in page.locator("#detail").inner_text()
    rows.nth(2).click()
    shown = page.locator("#detail").inner_text()
    assert HOSTILE in shown
    assert "not an image of a known kind" in shown
    assert page.locator("img[onerror]").count() == 0


@slow
def test_positions_become_galaxies_and_a_table(open_page, tmp_path):
    page = open_page()
    page.get_by_label("Positions, one per line").fill("name ra dec\nnorth 10 20\nsouth 10 -20\nnonsense")
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("3 galaxies, 2 without prediction").wait_for()
    names = [row.inner_text() for row in page.get_by_role("option").all()]
    assert ["north" in names[0], "nothing there" in names[1], "RA and Dec" in names[2]] == [True] * 3
    assert "RA 10.00000°, Dec 20.00000°" in page.locator("#detail figcaption").inner_text()
    page.get_by_role("button", name="Where it looked").click()
    page.locator(".heat").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="VOTable").click()
    download.value.save_as(tmp_path / "votes.vot")
    table = pytest.importorskip("astropy.table").Table.read(tmp_path / "votes.vot")
    assert list(table["id"]) == ["north", "south", "nonsense"]


@slow
def test_a_service_that_is_gone_is_told(browser, pictures):
    with served(create_app(tuningfork.load("fast", threads=1))) as short_lived:
        context = browser.new_context()
        page = context.new_page()
        page.goto(short_lived)
        page.get_by_text("model fast").wait_for()
    choose(page, pictures / "galaxy 0.jpg")
    assert "cannot be reached" in page.locator("#detail").inner_text()
    context.close()


def nodes_of(page):
    """(role, name, level) of what a screen reader sees, in its order."""
    told = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    out = []
    for node in told["nodes"]:
        if not node.get("ignored"):
            properties = {each["name"]: each["value"].get("value") for each in node.get("properties", ())}
            name = node.get("name", {}).get("value", "")
            out.append((node["role"]["value"], name.strip(), properties.get("level")))
    return out


@slow
@pytest.mark.parametrize("path", ["", "docs"])
def test_what_a_screen_reader_finds(open_page, address, pictures, path):
    page = open_page()
    if path:
        page.goto(address + path)
        page.locator(".route").first.wait_for()
    else:
        choose(page, pictures / "galaxy 0.jpg", pictures / "galaxy 1.jpg", pictures / "broken.jpg")
        page.get_by_role("button", name="Where it looked").click()
        page.locator(".heat").wait_for()
    nodes = nodes_of(page)
    roles = [role for role, _, _ in nodes]
    assert "main" in roles
    named = {"button", "link", "textbox", "spinbutton", "option", "listbox", "meter", "image", "img", "progressbar"}
    assert [node for node in nodes if node[0] in named and not node[1]] == []
    levels = [level for role, _, level in nodes if role == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    if not path:
        assert {"banner", "contentinfo", "listbox", "status", "alert"} <= set(roles)


@slow
def test_those_who_want_no_motion_get_none(open_page, pictures):
    page = open_page(reduced_motion="reduce", color_scheme="dark")
    choose(page, pictures / "galaxy 0.jpg", pictures / "galaxy 1.jpg")
    for selector in (".fill", ".row", ".drop"):
        style = page.locator(selector).first.evaluate("e => getComputedStyle(e).transitionDuration")
        assert style in ("0s", "")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 16, 24)"
