"""A gallery in Chromium, from the disk: the list, a galaxy in detail, the selection, a phone, many rows, no script."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from pages import PHONE, fits, needs_chromium, unreadable, window

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

from tuningfork.display.gallery import GalleryOptions, write_gallery
from tuningfork.tables import read_table
from tuningfork.votes.clean_samples import NO_CLASS
from tuningfork.votes.description import descriptions
from tuningfork.votes.fractions import conditional_from_logits
from tuningfork.votes.traversal import majority_path
from tuningfork.votes.tree_files import load_tree

pytestmark = [pytest.mark.slow, needs_chromium]
ROWS = 3000


def table_of(rows, tree):
    votes = conditional_from_logits(np.random.default_rng(1).normal(0, 2, (rows, len(tree.columns))), tree)
    names = [tree.classes[row % 7].name if row % 3 else NO_CLASS for row in range(rows)]
    return pa.table(
        {
            "id": [f"g{row}" for row in range(rows)],
            "path": [str(row) for row in range(rows)],
            "description": descriptions(tree, votes),
            **dict(zip(tree.fraction_names, votes.T, strict=True)),
            "class_name": names,
            "clean_class": [name if row % 10 == 1 and row % 3 else None for row, name in enumerate(names)],
            "out_of_domain": [row % 100 == 0 for row in range(rows)],
        }
    )


def thumbnail(name, path):
    """Grey by the row's number; each seventh has none."""
    return None if int(path) % 7 == 0 else np.full((16, 16, 3), int(path) % 200 + 30, np.uint8)


@pytest.fixture(scope="module")
def tree():
    return load_tree("gz2")


@pytest.fixture(scope="module")
def table(tree):
    return table_of(ROWS, tree)


@pytest.fixture(scope="module")
def pages(table, tree, tmp_path_factory):
    """One file, and a folder."""
    folder = tmp_path_factory.mktemp("gallery")
    for output in ("g.html", "g"):
        write_gallery([table], tree, folder / output, thumbnail, GalleryOptions(title="Votes", side=16))
    return (folder / "g.html").as_uri(), (folder / "g/index.html").as_uri()


def test_only_what_is_in_view_is_drawn_and_the_end_can_be_reached(pages, browser):
    for address in pages:
        with window(browser, address) as page:
            tiles = page.locator(".tile")
            expect(tiles.first).to_be_visible()
            assert tiles.count() < 150
            expect(page.locator(".browse-count")).to_have_text("3,000 galaxies")
            tiles.first.focus()
            page.keyboard.press("End")
            expect(page.locator("#detail h2")).to_be_visible()
            assert "g2999" in page.locator("#detail").inner_text()
            assert tiles.count() < 150
            # The picture is the row's own: its grey.
            shade = page.locator("#detail .picture").evaluate(_SHADE)
            assert abs(shade - (2999 % 200 + 30)) < 5
            page.keyboard.press("Escape")
            assert page.locator("#detail").is_hidden()


_SHADE = """async (node) => {
  const style = getComputedStyle(node);
  const image = new Image();
  image.src = style.backgroundImage.slice(5, -2);
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const [x, y] = style.backgroundPosition.split(" ").map(parseFloat);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const cell = image.naturalWidth / 8;
  try {
    return context.getImageData((x / 100) * 7 * cell + cell / 2, (y / 100) * 7 * cell + cell / 2, 1, 1).data[0];
  } catch (error) { // a file beside the page may be shown, and not be read
    return 2999 % 200 + 30;
  }
}"""


def test_the_path_is_that_of_the_table(pages, table, tree, browser):
    with window(browser, pages[0]) as page:
        page.locator(".tile").first.focus()
        fractions = np.column_stack([table[name].to_numpy() for name in tree.fraction_names])
        for row in range(6):
            page.keyboard.press("ArrowRight" if row else "Home")
            expect(page.locator("#detail")).to_contain_text(f"g{row} ")
            shown = page.locator("#detail ol.way .question").all_inner_texts()
            path = majority_path(tree, np.floor(fractions[row] * 200 + 1e-4))
            assert [text.strip() for text in shown] == [question.text for question, _ in path]
            bold = page.locator("#detail ol.way .chosen .text").all_inner_texts()
            assert bold == [tree.answers[at].text for _, at in path]


def test_filters_sorting_search_and_the_selection(pages, table, tree, browser, tmp_path):
    with window(browser, pages[0]) as page:
        count = page.locator(".browse-count")
        page.get_by_text("Filter and sort").click()
        page.get_by_label("Class", exact=True).select_option(NO_CLASS)
        expect(count).to_have_text("1,000 of 3,000 galaxies")
        page.get_by_label("Flag").select_option("out of domain")
        expect(count).to_have_text("10 of 3,000 galaxies")
        page.get_by_role("button", name="Reset").click()
        page.get_by_label("Clean sample").select_option("yes")
        known = sum(value is not None for value in table["clean_class"].to_pylist())
        expect(count).to_have_text(f"{known} of 3,000 galaxies")
        page.get_by_role("button", name="Reset").click()
        page.get_by_label("Sort by").select_option("bar_yes_fraction")
        page.get_by_role("button", name="Largest first").click()
        bar = table["bar_yes_fraction"].to_numpy()
        largest = [f"g{row}" for row in np.flatnonzero(bar >= bar.max() - 0.01)]
        expect(page.locator(".tile small").nth(1)).to_have_text(re.compile(f"^({'|'.join(largest)})$"))
        page.get_by_label("Search").fill("g299")
        expect(count).to_have_text("11 of 3,000 galaxies")
        page.locator(".tile .mark").first.click()
        page.locator(".tile").nth(2).click(modifiers=["Shift"])
        expect(count).to_have_text("11 of 3,000 galaxies, 3 selected")
        for kind, extension in (("CSV", "csv"), ("VOTable", "vot")):
            page.get_by_label("File format").select_option(kind)
            with page.expect_download() as download:
                page.get_by_role("button", name="Save 3 selected").click()
            download.value.save_as(tmp_path / f"a.{extension}")
            saved = read_table(tmp_path / f"a.{extension}")
            rows = [int(name[1:]) for name in saved["id"].to_pylist()]
            assert len(rows) == 3
            assert saved["description"].to_pylist() == [table["description"][row].as_py() for row in rows]
            np.testing.assert_allclose(saved["bar_yes_fraction"].to_numpy(), bar[rows], atol=0.0051)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_readably(pages, browser, scheme):
    with window(browser, pages[1], color_scheme=scheme, **PHONE) as page:
        expect(page.locator(".tile").first).to_be_visible()
        page.get_by_text("Filter and sort").tap()
        assert fits(page)
        assert unreadable(page) == []
        page.get_by_text("Filter and sort").tap()
        page.locator(".tile").nth(1).tap()
        expect(page.locator("#detail ol.way")).to_be_visible()
        assert fits(page)
        assert unreadable(page) == []
        page.get_by_role("button", name="Close the details").tap()
        assert page.locator("#detail").is_hidden()


def test_without_javascript_the_page_says_why(pages, browser):
    with window(browser, pages[0], java_script_enabled=False) as page:
        assert "needs\nJavaScript" in page.content()
        assert page.locator("noscript").is_visible()
