"""The labelling page in a real Chromium: by keyboard alone, undo, two windows, a phone, a server that goes away."""

import json
import os
import shutil
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
expect.set_options(timeout=20_000)

from tuningfork.simulation import draw, render

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="Chromium is not installed"),
    pytest.mark.skipif(os.name != "posix", reason="signals"),
]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def served(folder, *words, port=0):
    command = [
        sys.executable,
        "-m",
        "tuningfork",
        "label",
        str(folder),
        "--port",
        str(port),
        "--json",
        "--model",
        "none",
    ]
    with subprocess.Popen([*command, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
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


@contextmanager
def window(browser, address, **options):
    """A page in a window of its own, which fails the test for any error or request to elsewhere."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url)
    )
    page.goto(address)
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


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
    with served(folder) as (_, address), window(browser, address) as page:
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
    with served(folder) as (_, address), window(browser, address) as page:
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
    with served(folder) as (_, address), window(browser, address) as page:
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
    with served(folder) as (_, address), window(browser, address) as page:
        join(page)
        page.keyboard.down("1")
        for _ in range(5):
            page.keyboard.down("1")  # repeats, as of a key that is held
        page.keyboard.up("1")
        expect(page.locator("#question")).to_have_text(ROUNDED)
        assert page.locator("#previous li").count() == 1


def test_a_phone_by_touch(folder, browser):
    phone = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
    with served(folder) as (_, address), window(browser, address, **phone) as page:
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
        page.wait_for_selector("#questions tr")
        assert page.evaluate(
            "document.querySelector('#results').scrollWidth <= document.querySelector('#results').clientWidth"
        )


def test_an_answer_outlives_the_server(folder, browser):
    with served(folder) as (process, address):
        port = address.rsplit(":")[-1].strip("/")
        with window(browser, address) as page:
            join(page)
            process.send_signal(signal.SIGKILL)
            process.wait()
            page.keyboard.press("1")
            expect(page.locator("#note")).to_contain_text("is kept here and sent again")
            with served(folder, port=port):
                expect(page.locator("#question")).to_have_text(ROUNDED)
                expect(page.locator("#note")).to_be_hidden()
                assert page.locator("#previous li").count() == 1


def test_many_classes_and_a_hostile_name_are_only_text(folder, browser):
    classes = [f"class {number}" for number in range(11)] + ["<img src=x onerror=alert(1)>"]
    words = [word for name in classes for word in ("--class", name)]
    with served(folder, *words) as (_, address), window(browser, address) as page:
        join(page, "<b>Eve</b>")
        assert page.locator("#answers button").count() == 12
        assert page.locator("#answers img").count() == 0
        galaxy = page.inner_text("#galaxy")
        page.keyboard.press("b")  # the eleventh
        expect(page.locator("#galaxy")).not_to_have_text(galaxy)
        page.click("#open-results")
        page.wait_for_selector("#questions tr")
        assert "<b>Eve</b> 1" in page.inner_text("#people")
