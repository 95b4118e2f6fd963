"""The labelling page in a real Chromium: by keyboard alone, undo, two windows, a phone, a server that goes away."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from PIL import Image

pytest.importorskip("fastapi")
playwright = pytest.importorskip("playwright.sync_api")
# Not `wait_for_function`, which evaluates texts, as our pages forbid.
expect = playwright.expect
expect.set_options(timeout=60_000)

from pages import PHONE, fits, needs_chromium, unreadable, window
from served import served as serving

from tuningfork.labelling.campaign import Campaign
from tuningfork.labelling.image_folder import update_from_folder
from tuningfork.labelling.order import OrderSource, put_in_order
from tuningfork.simulation import draw, render
from tuningfork.votes.class_labels import class_tree
from tuningfork.votes.tree_files import load_tree
from tuningfork.web.label.app import label_app

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.skipif(os.name != "posix", reason="signals")]


@contextmanager
def served(folder, *classes):
    """A campaign of a folder, in this process."""
    tree = class_tree(classes) if classes else load_tree("gz2")
    with Campaign(folder.parent / "labels.sqlite", tree) as campaign:
        update_from_folder(campaign, folder)
        put_in_order(campaign, folder, OrderSource())
        with serving(label_app(campaign, folder)) as address:
            yield address


@contextmanager
def command(folder, port=0):
    """The same by the command, in a process that can be killed."""
    words = [sys.executable, "-m", "tuningfork", "label", str(folder), "--port", str(port), "--json", "--model", "none"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, json.loads(process.stdout.readline())["address"]
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(render(draw(3, number))).resize((128, 128)).save(folder / f"g{number}.png")
    return folder


def asked(page):
    return page.inner_text("#question")


def press(page, key, wanted):
    """Press a key and wait until that question is asked."""
    page.keyboard.press(key)
    expect(page.locator("#question")).to_have_text(wanted)


FIRST = "Is the galaxy simply smooth and rounded, with no sign of a disk?"
ROUNDED, ODD = "How rounded is it?", "Is there anything odd?"
ODD_FEATURE = "Is the odd feature a ring, or is the galaxy disturbed or irregular?"


def join(page, name="Ada"):
    expect(page.locator("#name")).to_be_focused()  # where a keyboard begins
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answers button")


def test_a_galaxy_by_keyboard_alone_and_back(folder, browser):
    with served(folder) as address, window(browser, address) as page:
        join(page)
        first = page.inner_text("#galaxy")
        assert asked(page) == FIRST
        expect(page.locator("#image")).to_have_js_property("naturalWidth", 128)
        press(page, "1", ROUNDED)
        press(page, "Backspace", FIRST)
        press(page, "1", ROUNDED)
        press(page, "3", ODD)
        assert page.locator("#previous b").all_inner_texts() == ["smooth", "cigar-shaped"]
        press(page, "2", FIRST)
        assert page.inner_text("#galaxy") != first
        assert page.inner_text("#progress") == "1 by you; 1 of 4 galaxies done."
        assert page.get_attribute("#bar", "aria-valuenow") == "1"
        press(page, "Backspace", ODD)  # of the galaxy before
        assert page.inner_text("#galaxy") == first
        press(page, "2", FIRST)
        page.keyboard.press("9")  # no such answer
        assert asked(page) == FIRST
        page.keyboard.press("?")
        assert page.is_visible("#help")
        page.keyboard.press("1")  # means nothing while the help is open
        page.keyboard.press("Escape")
        page.wait_for_selector("#help", state="hidden")
        assert asked(page) == FIRST
        looks = []
        for _ in range(4):
            page.keyboard.press("Space")
            looks.append(page.inner_text("#looks"))
        assert looks == ["closer", "inverted", "closer, inverted", "plain"]
        page.reload()  # the name is remembered
        page.wait_for_selector("#answers button")
        assert page.inner_text("#progress").startswith("1 by you")


def test_by_tab_as_a_screen_reader_goes(folder, browser):
    with served(folder) as address, window(browser, address) as page:
        join(page)
        page.focus("#answers button")
        press(page, "Enter", ROUNDED)
        expect(page.locator("#question")).to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent").endswith("completely round")
        assert page.get_attribute("#question", "aria-live") == "polite"
        page.get_by_role("group", name=ROUNDED).wait_for()
        page.get_by_role("progressbar", name="Galaxies done").wait_for()
        assert page.get_attribute("#image", "alt").startswith("Galaxy g")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, a, input')].filter(e => e.checkVisibility() && "
            "!(e.innerText.trim() || e.labels?.length)).length"
        )
        assert unnamed == 0


def test_two_windows_of_one_person(folder, browser):
    with served(folder) as address, window(browser, address) as page:
        join(page)
        other = page.context.new_page()
        other.goto(address)
        other.wait_for_selector("#answers button")
        assert other.inner_text("#galaxy") == page.inner_text("#galaxy")
        press(page, "1", ROUNDED)
        other.keyboard.press("2")  # still shows the first question
        other.wait_for_selector("#note:visible")
        assert "another window" in other.inner_text("#note")
        assert asked(other) == ROUNDED
        assert other.locator("#previous b").all_inner_texts() == ["smooth"]


def test_a_held_key_answers_once(folder, browser):
    with served(folder) as address, window(browser, address) as page:
        join(page)
        page.keyboard.down("1")
        for _ in range(5):
            page.keyboard.down("1")  # repeats, as of a key that is held
        page.keyboard.up("1")
        expect(page.locator("#question")).to_have_text(ROUNDED)
        assert page.locator("#previous li").count() == 1


def test_a_phone_by_touch(folder, browser):
    with served(folder) as address, window(browser, address, **PHONE) as page:
        page.tap("#name")
        page.fill("#name", "Ada")
        page.tap("#join button")
        page.wait_for_selector("#answers button")
        page.tap("#image")
        expect(page.locator("#looks")).to_have_text("closer")
        for question in 4 * [FIRST, ROUNDED, ODD, ODD_FEATURE]:  # always the first answer
            expect(page.locator("#question")).to_have_text(question)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            sizes = page.evaluate("[...document.querySelectorAll('#answers button')].map(b => b.offsetHeight)")
            assert min(sizes) >= 44  # a fingertip
            page.tap("#answers button")
        expect(page.locator("#done")).to_be_visible()
        assert page.inner_text("#why") == "Every galaxy has been labelled by 1 person. Thank you!"
        page.tap("#open-results")
        page.wait_for_selector("#counts h3")
        assert page.evaluate(
            "document.querySelector('#results').scrollWidth <= document.querySelector('#results').clientWidth"
        )


def test_an_answer_outlives_the_server(folder, browser):
    with command(folder) as (process, address):
        port = address.rsplit(":")[-1].strip("/")
        with gone(browser, address) as page:
            join(page)
            process.send_signal(signal.SIGKILL)
            process.wait()
            page.keyboard.press("1")
            expect(page.locator("#note")).to_contain_text("is kept here and sent again")
            with command(folder, port=port):
                expect(page.locator("#question")).to_have_text(ROUNDED)
                expect(page.locator("#note")).to_be_hidden()
                assert page.locator("#previous li").count() == 1


def test_many_classes_and_a_hostile_name_are_only_text(folder, browser):
    classes = [f"class {number}" for number in range(11)] + ["<img src=x onerror=alert(1)>"]
    with served(folder, *classes) as address, window(browser, address) as page:
        join(page, "<b>Eve</b>")
        assert page.locator("#answers button").count() == 12
        assert page.locator("#answers img").count() == 0
        galaxy = page.inner_text("#galaxy")
        page.keyboard.press("b")  # the eleventh
        expect(page.locator("#galaxy")).not_to_have_text(galaxy)
        page.click("#open-results")
        page.wait_for_selector("#counts h3")
        assert page.locator("#guide").is_hidden()
        assert page.locator("#counts img").count() == 0
        assert "<b>Eve</b> 1" in page.inner_text("#people")


@contextmanager
def gone(browser, address):
    """A window whose server may go away, which the browser notes as errors of its own."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_examples_help_and_results_of_one_person(folder, browser, scheme):
    with served(folder) as address, window(browser, address, color_scheme=scheme, **PHONE) as page:
        join(page)
        pictures = page.locator("#answers img")
        expect(pictures).to_have_count(3)
        for number in range(3):  # a galaxy, not a black square
            expect(pictures.nth(number)).to_have_js_property("naturalWidth", 144)
        assert len({picture.get_attribute("src") for picture in pictures.all()}) == 3
        assert unreadable(page) == []
        page.locator("#open-help").click()
        page.get_by_text("How tightly wound do the spiral arms appear?").click()
        expect(page.locator("#guide details[open] img").first).to_have_js_property("naturalWidth", 144)
        assert "Open arms" in page.locator("#guide details[open]").inner_text()
        assert fits(page)
        assert unreadable(page) == []
        page.keyboard.press("Escape")
        press(page, "1", ROUNDED)
        press(page, "1", ODD)
        press(page, "2", FIRST)
        page.locator("#open-results").click()
        expect(page.locator("#so-far")).to_have_text("1 galaxy has been labelled, by 1 person.")
        assert page.locator("#agreement").is_hidden()
        shown = page.locator("#counts").inner_text()
        assert "How rounded is it?" in shown
        assert "100 %" in shown
        assert "spiral" not in shown  # nobody was asked
        assert fits(page)
        assert unreadable(page) == []
