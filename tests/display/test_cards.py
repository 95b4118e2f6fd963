"""How predictions show themselves: in a notebook, as text, as tables."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tuningfork
from tuningfork._utils.text import percent
from tuningfork.display.cards import MAX_ROWS, THUMBNAIL_SIDE, Bar, Card, card_html, table_html
from tuningfork.display.html import MAX_TEXT
from tuningfork.images.encode import jpeg, shrink
from tuningfork.model.model import MAX_THUMBNAILS
from tuningfork.model.options import InferenceOptions
from tuningfork.pipeline.in_process import predict_batches
from tuningfork.simulation import draw, render

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>&'\udc80\x00"


class Reader(HTMLParser):
    """Every tag must be closed in order; collects tags, attributes and text."""

    VOID = ("img",)

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def model():
    return tuningfork.load("fast")


@pytest.fixture(scope="module")
def pictures():
    return [render(draw(5, index)) for index in range(3)]


@pytest.fixture(scope="module")
def rows(model, pictures):
    return model.predict([*pictures, b"no image"])


def _harmless(page):
    reader = Reader(page)
    assert {tag for tag, _ in reader.tags} <= {
        *("style", "div", "small", "figure", "figcaption", "img", "table", "thead", "tbody", "tr", "th", "td", "i"),
        *("b", "p"),
    }
    for _, attrs in reader.tags:
        assert set(attrs) <= {"class", "style", "src", "alt", "colspan", "scope", "aria-hidden"}
        assert attrs.get("src", "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,")
        assert re.fullmatch(r"((left|width):[\d.]+%;?)*", attrs.get("style", ""))
    assert not re.search(r"url\(|@import|https?:", page)
    page.encode("utf-8")
    return reader


def test_a_prediction_shows_picture_way_intervals_and_classes(model, rows):
    reader = _harmless(rows[0]._repr_html_())
    assert len(reader.of("img")) == 1
    for key, answer, share in rows[0].steps():
        assert model.tree.question(key).text in reader.text
        assert f"{answer} {percent(share)}" in reader.text
    for rule in model.tree.classes:
        assert rule.name in reader.text
    way = rows[0].steps()
    answers = sum(len(model.tree.question(key).answers) for key, *_ in way)
    assert len(reader.of("i")) == answers + len(model.tree.classes) + 1  # and none
    assert len(reader.of("b")) == answers
    assert len([a for a in reader.of("tr") if a.get("class") == "tf-taken"]) == len(way) + 1


def test_bars_and_whiskers_stand_where_the_numbers_are():
    page = card_html(Card("x", questions=(("bar", "A bar?", (Bar("yes", 0.8, 0.625, 0.9, True), Bar("no", 0.2))),)))
    assert "width:80.0%" in page
    assert "left:62.5%;width:27.5%" in page
    assert "62–90 %" in Reader(page).text
    assert len(Reader(page).of("b")) == 1  # no interval, no whisker


def test_what_is_out_of_domain_says_so_first(model):
    noise = np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    told = model.predict(noise)
    assert told.out_of_domain
    text = _harmless(told._repr_html_()).text
    assert text.index("OUT OF DOMAIN") < text.index("Is the galaxy")
    assert "OUT OF DOMAIN" in _harmless(model.predict([noise])._repr_html_()).text
    assert "OUT OF DOMAIN" in repr(told)


def test_an_error_is_shown_instead_of_votes(rows):
    reader = _harmless(rows[-1]._repr_html_())
    assert "not an image" in reader.text
    assert reader.of("img") == reader.of("i") == []
    assert "not an image" in _harmless(rows._repr_html_()).text
    assert repr(rows[-1]) == f"3: {rows.errors[-1]}"


@pytest.mark.parametrize("where", ["ids", "errors"])
def test_hostile_names_and_messages_stay_text(rows, where):
    texts = {where: (HOSTILE,) * len(rows)}
    hostile = replace(rows, **texts) if where == "errors" else replace(rows, votes=replace(rows.votes, **texts))
    for page in (hostile._repr_html_(), hostile[0]._repr_html_(), hostile[-1]._repr_html_()):
        assert "<script>alert(1)</script>" in _harmless(page).text


@given(st.text(alphabet=st.characters(), max_size=2 * MAX_TEXT))
def test_any_text_is_shown_whole_or_shortened(name):
    text = _harmless(card_html(Card(name))).texts[0]
    shown = name if len(name) <= MAX_TEXT else name[: MAX_TEXT - 1] + "…"
    # HTML itself reads carriage returns and forbidden signs otherwise.
    plain = all(sign.isprintable() for sign in shown)
    assert not plain or text.strip() == shown.strip()


def test_a_table_is_bounded(model, pictures):
    many = model.predict(pictures[:1] * (MAX_ROWS + 5))
    reader = _harmless(many._repr_html_())
    assert len(reader.of("img")) == MAX_ROWS
    assert "… and 5 more" in reader.text
    assert repr(many).splitlines()[-1] == "… and 5 more"
    assert len(repr(many).splitlines()) == MAX_ROWS + 1
    assert "0 galaxies" in _harmless(model.predict([])._repr_html_()).text
    assert repr(model.predict([])) == "no galaxies"
    assert "1 galaxy" in table_html([Card("x")], 1)


def test_votes_of_a_tree_without_classes(model, rows):
    bare = replace(model.tree, classes=())
    none = np.full(len(rows), np.nan)
    votes = replace(rows.votes, tree=bare)
    told = replace(rows, votes=votes, class_probability=np.empty((len(rows), 0)), no_class_probability=none)
    reader = _harmless(told[0]._repr_html_())
    assert "Class" not in reader.text
    assert "class_name" not in told[0].to_dict()
    _harmless(told._repr_html_())


def test_classes_without_votes(rows):
    told = replace(rows, votes=replace(rows.votes, fractions=np.full_like(rows.cumulative, np.nan)))
    reader = _harmless(told[0]._repr_html_())
    assert reader.of("th") == [{"colspan": "4", "scope": "rowgroup"}]
    _harmless(told._repr_html_())


@pytest.mark.parametrize("shape", [(424, 424), (50, 300), (8, 9), (3000, 10)])
def test_thumbnails_are_small_and_like_their_picture(shape):
    picture = np.full((*shape, 3), (200, 100, 50), np.uint8)
    small = Image.open(io.BytesIO(jpeg(shrink(picture, THUMBNAIL_SIDE))))
    assert max(small.size) == min(THUMBNAIL_SIDE, max(shape))
    assert np.abs(np.asarray(small).astype(int) - picture[0, 0]).max() <= 4


def test_thumbnails_are_of_what_the_model_sees(model, pictures, rows):
    seen = model.inputs(pictures[1])[0]
    shown = np.asarray(Image.open(io.BytesIO(rows.thumbnails[1])))
    assert shown.shape == seen.shape
    assert np.abs(shown.astype(int) - seen).mean() < 4
    assert rows.thumbnails[3] == b""


def test_streamed_predictions_keep_no_pictures(model, pictures, tmp_path):
    Image.fromarray(pictures[0]).save(tmp_path / "a.png")
    (part,) = predict_batches(model, [tmp_path / "a.png"])
    assert part.thumbnails == ()
    assert Reader(part[0]._repr_html_()).of("img") == []


def test_only_so_many_thumbnails_are_kept(model, pictures, monkeypatch):
    monkeypatch.setattr("tuningfork.model.model.MAX_THUMBNAILS", 2)
    told = model.predict(pictures, options=InferenceOptions(batch_size=2))
    assert [bool(shown) for shown in told.thumbnails] == [True, True, False]
    assert MAX_THUMBNAILS * len(told.thumbnails[0]) < 20e6


# ------------------------------------------------------------------ tables


def test_one_predictions_table_is_its_row_of_all(rows):
    table = rows.to_table()
    for number in (0, 3, -1):
        assert rows[number].to_table() == table.slice(number % len(rows), 1)
    assert rows[0].to_dict() == table.to_pylist()[0]
    json.dumps([rows[number].to_dict() for number in range(len(rows))], allow_nan=False)


def test_pandas_of_one_galaxy_has_one_row(rows):
    pytest.importorskip("pandas")
    assert rows[1].to_pandas()["id"].tolist() == ["1"]


def test_astropy_gets_units_descriptions_and_masks(rows):
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    table, arrow = rows.to_astropy(), rows.to_table()
    assert table.colnames == arrow.column_names
    for field in arrow.schema:
        assert table[field.name].info.description == field.metadata[b"description"].decode()
    np.testing.assert_allclose(table["bar_yes_fraction"][:3], rows.fractions[:3, 5], rtol=1e-6)
    assert np.isnan(table["bar_yes_fraction"][3])
    assert table["class"].mask.tolist() == [False, False, False, True]
    assert table["error"].tolist() == list(rows.errors)
    assert len(rows[0].to_astropy()) == 1


def test_astropy_tables_of_other_columns_have_units_and_vectors():
    pytest.importorskip("astropy", reason="the extra `sky` is not installed")
    import pyarrow as pa
    from astropy import units

    from tuningfork.tables import Column, arrow_schema, astropy_table

    schema = arrow_schema(
        [
            Column("ra", pa.float64(), "Right ascension", "deg", "pos.eq.ra"),
            Column("seen", pa.list_(pa.float32(), 2), "Features"),
            Column("n", pa.int64(), "A number"),
        ],
        {"model": "default"},
    )
    table = astropy_table(
        pa.Table.from_pydict({"ra": [10.5, None], "seen": [[1, 2], None], "n": [1, None]}, schema=schema)
    )
    assert table["ra"].unit == units.deg
    assert table["ra"].info.meta["ucd"] == "pos.eq.ra"
    assert np.isnan(table["ra"][1])
    assert table["seen"].shape == (2, 2)
    assert table["n"].mask.tolist() == [False, True]
    assert table.meta["model"] == "default"
