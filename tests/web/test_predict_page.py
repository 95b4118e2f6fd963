"""The page in a real browser, Debian's Chromium: what people do with it, and what it must never do."""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")

from pages import PHONE, fits, needs_chromium, unreadable, window
from served import served

import tuningfork
from tuningfork.images.image import ImageError
from tuningfork.simulation import draw, render
from tuningfork.surveys.cutout import Cutout, Provenance
from tuningfork.web.predict.app import create_app

expect = playwright.expect
HOSTILE = "<img src=x onerror=alert(1)>.jpg"

pytestmark = needs_chromium
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


@pytest.fixture
def open_page(browser, address):
    """Open the page; what it asks for, and what it complains of, is checked when the test ends."""
    with ExitStack() as stack:
        yield lambda path="", **options: stack.enter_context(window(browser, address + path, **options))


def choose(page, *files):
    page.set_input_files("#files", [str(file) for file in files])
    page.locator("#progress-text").get_by_text(re.compile(f"^{len(files)} galax")).wait_for()


def test_a_picture_shows_its_tree(open_page, pictures):
    page = open_page()
    choose(page, pictures / "galaxy 1.jpg")
    assert "spiral" in page.get_by_role("heading", level=3).inner_text()
    assert page.locator("#example-note").is_hidden()
    steps = page.locator("ol.way > li")
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
    page.locator("#progress-text").get_by_text("1 galaxy", exact=True).wait_for()
    assert "dropped.jpg" in page.locator("#detail").inner_text()


_NAME = """e => e === document.body ? "" : e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.innerText ||
e.id"""


@slow
def test_with_the_keyboard_alone(open_page):
    page = open_page(reduced_motion="reduce")

    def tab_to(name):
        for _ in range(25):
            page.keyboard.press("Tab")
            focused = page.evaluate_handle("document.activeElement")
            if name in (focused.evaluate(_NAME) or ""):
                # A ring shows where one is.
                ringed = focused.evaluate(
                    "e => getComputedStyle(e.matches('input[type=file]') ? e.nextElementSibling : e)"
                )
                assert ringed["outlineStyle"] != "none", name
                return
        raise AssertionError(f"Tab never comes to {name}")

    tab_to("Skip to the results")
    tab_to("Choose images")
    tab_to("Try simulated galaxies")
    page.keyboard.press("Enter")
    page.locator("#progress-text").get_by_text("8 galaxies", exact=True).wait_for()
    tab_to("Search")
    tab_to("Filter and sort")
    tab_to("simulated 1.jpg")
    first = page.locator("#detail figcaption").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail figcaption")).not_to_have_text(first)
    expect(page.locator(":focus")).to_have_attribute("aria-current", "true")
    page.keyboard.press("Space")
    expect(page.locator(":focus")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Space")
    page.keyboard.press("End")
    expect(page.locator("#detail figcaption")).to_contain_text("simulated 8.jpg")
    tab_to("Save all 8")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    lines = Path(download.value.path()).read_text("utf-8").splitlines()
    assert len(lines) == 9
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
@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_needs_no_scrolling_sideways(open_page, pictures, width):
    page = open_page(**{**PHONE, "viewport": {"width": width, "height": 740}})
    assert fits(page)
    choose(page, *sorted(pictures.iterdir()))
    for number in range(page.locator(".tile").count()):
        page.locator(".tile").nth(number).tap()
        assert fits(page)
    page.locator(".tile").nth(2).tap()
    # A bar is as wide as the card, below its answer.
    bar, card = page.locator("ol.way .bar").first.bounding_box(), page.locator("#detail").bounding_box()
    assert bar["width"] > 0.7 * card["width"]
    for fold in page.locator("summary").all():
        fold.tap()
    assert fits(page)
    for each in page.locator("button:visible, a.button:visible, summary:visible, .mark:visible").all():
        box = each.bounding_box()
        assert box["height"] >= 24, each.inner_text()
        assert box["width"] >= 24, each.inner_text()


@slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(open_page, pictures, scheme):
    page = open_page(color_scheme=scheme, reduced_motion="reduce")
    choose(page, *sorted(pictures.iterdir()))
    page.locator(".tile").nth(3).click()
    for fold in page.locator("summary").all():
        fold.click()
    assert unreadable(page) == []


@slow
def test_an_example_comes_first_and_goes(open_page, pictures):
    page = open_page()
    page.locator("ol.way").wait_for()
    assert "simulated" in page.locator("#detail figcaption").inner_text()
    assert page.locator("#example-note").is_visible()
    assert page.locator(".bar-of-tools").is_hidden()
    choose(page, pictures / "galaxy 2.jpg")
    assert page.locator("#example-note").is_hidden()
    page.get_by_role("button", name="Clear").click()
    page.locator("#example-note").wait_for()


@slow
def test_the_list_filters_sorts_and_saves_a_selection(open_page, pictures, tmp_path):
    page = open_page()
    choose(page, *(pictures / f"galaxy {n}.jpg" for n in range(4)), pictures / "broken.jpg")
    count = page.locator(".browse-count")

    def names():
        return [text.split("\n")[-1] for text in page.locator(".tile .words").all_inner_texts()]

    assert len(names()) == 5
    page.get_by_label("Search").fill("galaxy 2")
    expect(count).to_have_text("1 of 5 galaxies")
    assert names() == ["galaxy 2.jpg"]
    page.get_by_label("Search").fill("")
    expect(count).to_have_text("5 galaxies")
    page.get_by_text("Filter and sort").click()
    page.get_by_label("Flag").select_option("error")
    expect(count).to_have_text("1 of 5 galaxies")
    page.get_by_role("button", name="Reset").click()
    smooth = "smooth_or_features_smooth_fraction"
    page.get_by_label("Sort by").select_option(smooth)
    page.get_by_role("button", name="Largest first").click()
    model = tuningfork.load("fast", threads=1)
    known = {f"galaxy {n}.jpg": model.predict(pictures / f"galaxy {n}.jpg").fractions[smooth] for n in range(4)}
    files = page.locator(".tile .words small:last-child")
    expect(files).to_have_text([*sorted(known, key=lambda name: -known[name]), re.compile("damaged")])
    page.get_by_label("Value").select_option(smooth)
    page.get_by_label("from", exact=True).fill("0.5")
    expect(count).to_have_text(f"{sum(value >= 0.5 for value in known.values())} of 5 galaxies")
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("Sort by").select_option("name")
    page.get_by_role("button", name="As a list").click()  # it was one: now a grid
    expect(page.locator(".browse-window")).not_to_have_class(re.compile("as-list"))
    boxes = [page.locator(".tile").nth(n).bounding_box() for n in range(2)]
    assert boxes[0]["y"] == boxes[1]["y"]
    chosen = names()[1:3]
    for name in chosen:
        page.locator(".tile", has_text=name).locator(".mark").click()
    for format_, extension in (("CSV", "csv"), ("VOTable", "vot"), ("Parquet", "parquet")):
        page.get_by_label("File format").select_option(format_)
        with page.expect_download() as download:
            page.get_by_role("button", name="Save 2 selected").click()
        download.value.save_as(tmp_path / f"a.{extension}")
        table = tuningfork.read_table(tmp_path / f"a.{extension}")
        assert sorted(table["path"].to_pylist()) == sorted(chosen)


@slow
def test_a_fits_image_is_shown_as_asked(open_page, tmp_path):
    fits_io = pytest.importorskip("astropy.io.fits")
    cube = np.moveaxis(render(draw(23, 1)).astype("f4"), 2, 0)
    header = fits_io.Header()
    for name, value in (("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CRPIX1", 212), ("CRPIX2", 212),
                        ("CRVAL1", 10), ("CRVAL2", 5), ("CDELT1", -1e-4), ("CDELT2", 1e-4)):  # fmt: skip
        header[name] = value
    fits_io.writeto(tmp_path / "a.fits", cube[1], header)
    page = open_page()
    page.get_by_text("Options for FITS images").click()
    page.get_by_label("Stretch").select_option("euclid")
    page.get_by_label("Size, arcsec", exact=True).first.fill("50")
    with page.expect_request(lambda request: "/api/predict" in request.url) as sent:
        choose(page, tmp_path / "a.fits")
    assert {"stretch=euclid", "size=50"} <= set(sent.value.url.split("&"))
    image = page.locator("#detail .frame img").first
    assert image.evaluate("e => e.naturalWidth") < 160  # of 424 pixels


@slow
def test_bad_files_are_told_by_name_and_do_no_harm(open_page, pictures):
    page = open_page()
    choose(page, pictures / "galaxy 0.jpg", pictures / "broken.jpg", pictures / HOSTILE)
    page.get_by_text("3 galaxies, 2 without prediction").wait_for()
    rows = page.locator(".tile")
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
    # The fifth line begins the second request; like the first it looks like names of columns.
    lines = ["name ra dec", "north 10 20", "south 10 -20", "nonsense", "east 11 20", "ra and dec", "west 9 20"]
    page.get_by_label("Positions, one per line").fill("\n".join(lines))
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("6 galaxies, 3 without prediction").wait_for()
    names = page.locator(".tile").all_inner_texts()
    assert ["north" in names[0], "nothing there" in names[1], "RA and Dec" in names[2]] == [True] * 3
    assert ["east" in names[3], "ra" in names[4], "west" in names[5]] == [True] * 3
    assert "RA 10.00000°, Dec 20.00000°" in page.locator("#detail figcaption").inner_text()
    page.get_by_role("button", name="Where it looked").click()
    page.locator(".heat").wait_for()
    page.get_by_label("File format").select_option("VOTable")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save all 6").click()
    download.value.save_as(tmp_path / "votes.vot")
    table = pytest.importorskip("astropy.table").Table.read(tmp_path / "votes.vot")
    assert list(table["id"]) == ["north", "south", "nonsense", "east", "ra", "west"]


@slow
def test_stop_ends_what_waits_for_its_turn_too(open_page, pictures):
    page, requests = open_page(), []
    page.route("**/api/predict?**", lambda route: requests.append(route))  # none is answered
    for number in range(2):
        page.set_input_files("#files", str(pictures / f"galaxy {number}.jpg"))
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("2 galaxies, 2 without prediction").wait_for()
    assert len(requests) == 1


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


@slow
def test_a_connection_lost_once_is_no_reason_to_stop(browser, address, pictures):
    context, lost = browser.new_context(), []
    page = context.new_page()

    def once(route):
        lost.append(route.request.url)
        route.abort("connectionreset") if len(lost) == 1 else route.continue_()

    page.route("**/api/about", once)
    page.goto(address)
    choose(page, pictures / "galaxy 0.jpg")
    assert len(lost) == 2
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
    page = open_page(path)
    if path:
        page.locator(".route").first.wait_for()
        assert f"galaxy.jpg {address}api/predict" in page.locator("pre").inner_text()
    else:
        choose(page, pictures / "galaxy 0.jpg", pictures / "galaxy 1.jpg", pictures / "broken.jpg")
        page.get_by_role("button", name="Where it looked").click()
        page.locator(".heat").wait_for()
    nodes = nodes_of(page)
    roles = [role for role, _, _ in nodes]
    assert "main" in roles
    named = {
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "spinbutton",
        "option",
        "listbox",
        "meter",
        "image",
        "img",
        "progressbar",
    }
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
    for selector in (".fill", ".tile", ".drop"):
        style = page.locator(selector).first.evaluate("e => getComputedStyle(e).transitionDuration")
        assert style in ("0s", "")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(12, 16, 24)"
