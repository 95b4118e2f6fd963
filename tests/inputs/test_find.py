"""What is listed is what is read: every item once, nothing held, and a change noticed."""

import os
import random
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.images import find as images
from tuningfork.images.image import ImageError
from tuningfork.inputs import Digest, InputItem, ItemReader, find_items, read_listing, write_listing
from tuningfork.inputs import listing as listing_room

# Names of files are bytes: surrogates stand for those that are no UTF-8.
NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\udc80\udcff"), max_size=8)
ENTRIES = st.lists(
    st.builds(
        InputItem,
        st.text(max_size=5),
        st.text(max_size=5),
        st.sampled_from(["file", "tar"]),
        NAMES,
        NAMES,
        st.integers(0, 2**62),
        st.integers(-1, 2**62),
        st.text(max_size=4),
        st.floats(0, 360),
        st.floats(-90, 90),
        st.floats(0, 100),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(ENTRIES)
def test_a_listing_gives_back_what_was_listed(tmp_path_factory, items):
    file = tmp_path_factory.mktemp("listing") / "listing.parquet"
    digest = write_listing(items, file)
    assert list(read_listing(file)) == items
    assert digest.rows == len(items)


@given(ENTRIES, st.randoms())
def test_the_digest_does_not_depend_on_the_order_but_on_all_else(items, chance):
    def digest(rows):
        digest = Digest()
        assert list(digest.count(rows)) == list(rows)
        return digest.rows, digest.hexdigest()

    shuffled = items.copy()
    chance.shuffle(shuffled)
    assert digest(shuffled) == digest(items)
    for at, item in enumerate(items):
        for change in ({"size": item.size + 1}, {"stamp": item.stamp + "1"}, {"location": item.location + "x"}):
            assert digest([*items[:at], replace(item, **change), *items[at + 1 :]]) != digest(items)
        assert digest(items[:at] + items[at + 1 :]) != digest(items)
        assert digest([*items, item]) != digest(items)


def test_a_listing_is_held_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(listing_room, "ROWS", 10)
    held = 0

    def counted():
        nonlocal held
        for number in range(1000):
            held += 1
            yield InputItem(str(number), "", "file", "x")

    write_listing(counted(), tmp_path / "listing.parquet")
    assert held == 1000
    held = 0
    for number, item in enumerate(read_listing(tmp_path / "listing.parquet")):
        assert item.id == str(number)


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_a_folder_larger_than_a_block_loses_no_name(tmp_path, monkeypatch, block):
    monkeypatch.setattr(images, "BLOCK", block)
    names = [f"{number:02d}.jpg" for number in range(20)]
    random.Random(0).shuffle(names)
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "99.png").write_bytes(b"2")
    found = [item.id for item in find_items([tmp_path])]
    assert sorted(found) == sorted([*(name[:2] for name in names), "99"])
    if block == 100:
        assert found == sorted(found)


def test_a_file_is_read_as_it_was_listed(tmp_path):
    file = tmp_path / "a.jpg"
    file.write_bytes(b"first")
    (item,) = find_items([file])
    with ItemReader() as opening:
        assert opening.prepare(item)() == b"first"
        file.write_bytes(b"longer")
        with pytest.raises(ImageError, match="changed since"):
            opening.prepare(item)()
        file.unlink()
        with pytest.raises(ImageError, match="cannot be read"):
            opening.prepare(item)()


def test_an_error_of_the_listing_comes_with_the_bytes():
    with ItemReader() as opening:
        call = opening.prepare(InputItem("a", "", "file", "x", error="no path"))
        with pytest.raises(ImageError, match="no path"):
            call()


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
def test_pipes_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (item,) = find_items([tmp_path])
    with ItemReader() as opening, pytest.raises(ImageError, match="not a regular file"):
        opening.prepare(item)()


def test_what_is_not_there_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        list(find_items([tmp_path / "none"]))
