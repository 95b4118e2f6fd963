"""Packed images are the images, whole or not at all, and of these data or refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("tuningfork.training")  # first: it lets timm import torchvision

from tuningfork.images.preprocess import Preprocess
from tuningfork.images.read import read_image
from tuningfork.simulation import draw, render
from tuningfork.training import image_cache as cache_module
from tuningfork.training import join
from tuningfork.training.augmentation import augmented
from tuningfork.training.dataset import CachedImages, GalaxyDataset, ImageFiles, Targets
from tuningfork.training.image_cache import (
    SIDES,
    CacheError,
    ImageCache,
    content_key,
    default_folder,
    frame_side,
    open_cache,
)
from tuningfork.training.join import read_training_set
from tuningfork.training.recipe import Augmentation, Recipe
from tuningfork.training.split import near_duplicates, signature
from tuningfork.votes.label_table import read_labels


def noise(seed, height=40, width=40):
    """An image like no other."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def paths(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    shapes = [(40, 40), (40, 40), (64, 48), (30, 90), (40, 40), (41, 43)]
    for number, shape in enumerate(shapes):
        Image.fromarray(noise(number, *shape)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def packed(paths, folder, side=32, key=None) -> ImageCache:
    return open_cache(paths, key or content_key([path.stem for path in paths], paths), side, folder)


def frames(found):
    return np.load(found.file, mmap_mode="r")


# ------------------------------------------------------------------ what is packed


@pytest.mark.parametrize("side", [8, 24, 40, 64])
def test_a_packed_row_is_the_image_at_that_side(paths, tmp_path, side):
    found = packed(paths, tmp_path / "cache", side)
    frame = Preprocess(crop=1, size=side, filter="box")
    assert frames(found).dtype == np.uint8
    assert found.rows.tolist() == list(range(len(paths)))
    for path, row in zip(paths, found.rows, strict=True):
        np.testing.assert_array_equal(frames(found)[row], frame.resized(read_image(path).rgb))
    assert found.bytes == found.file.stat().st_size >= len(paths) * side * side * 3
    assert found.rate > 0


def test_the_second_opening_reads_no_image(paths, tmp_path, monkeypatch):
    first = packed(paths, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}

    def never(path):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(cache_module, "read_image", never)
    second = packed(paths, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in second.folder.iterdir()} == before
    for name in ("rows", "groups"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert (first.reasons, first.side, first.seconds) == (second.reasons, second.side, second.seconds)


def test_two_sides_are_two_caches(paths, tmp_path):
    small, large = packed(paths, tmp_path / "cache", 16), packed(paths, tmp_path / "cache", 32)
    assert small.folder != large.folder
    assert frames(small).shape[1] == 16
    assert frames(large).shape[1] == 32


def test_a_bad_image_has_its_reason_and_the_rest_goes_on(paths, tmp_path):
    paths[1].write_bytes(b"")
    paths[4].write_bytes(b"no image at all")
    listed = [*paths, tmp_path / "gone.png"]
    found = packed(listed, tmp_path / "cache")
    bad = [1, 4, 6]
    assert [bool(reason) for reason in found.reasons] == [i in bad for i in range(7)]
    assert "empty" in found.reasons[1]
    assert "No such file" in found.reasons[6]
    assert (found.rows[bad] == -1).all()
    assert (found.groups[bad] == -1).all()
    frame = Preprocess(crop=1, size=32, filter="box")
    for i in set(range(6)) - set(bad):
        np.testing.assert_array_equal(frames(found)[found.rows[i]], frame.resized(read_image(listed[i]).rgb))
    again = packed(listed, tmp_path / "cache")
    assert again.reasons == found.reasons


def test_no_good_image_at_all_is_no_crash(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    found = packed([tmp_path / "a.png"], tmp_path / "cache")
    assert found.rows.tolist() == found.groups.tolist() == [-1]
    assert packed([], tmp_path / "cache").rows.shape == (0,)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_duplicates_are_grouped_by_the_first_of_them(tmp_path_factory, kinds):
    folder = tmp_path_factory.mktemp("twins")
    paths = []
    for number, kind in enumerate(kinds):
        paths.append(folder / f"{number:02d}.png")
        Image.fromarray(noise(kind)).save(paths[-1])
    found = packed(paths, folder / "cache", 16)
    assert found.groups.tolist() == [kinds.index(kind) for kind in kinds]
    signatures = np.stack([signature(read_image(path).rgb) for path in paths])
    np.testing.assert_array_equal(found.groups, near_duplicates(signatures))


# ------------------------------------------------------------------ the key


def test_the_key_is_of_content_and_id_alone(paths, tmp_path):
    ids = [path.stem for path in paths]
    key = content_key(ids, paths)
    elsewhere = shutil.copytree(paths[0].parent, tmp_path / "elsewhere")
    moved = sorted(elsewhere.iterdir())
    for number, path in enumerate(moved):
        os.utime(path, (number, number))
    assert content_key(ids, moved) == key
    assert content_key(["other", *ids[1:]], moved) != key
    assert content_key(ids[::-1], moved) != key
    assert content_key(ids[:-1], moved[:-1]) != key
    moved[3].write_bytes(moved[3].read_bytes() + b"\0")
    assert content_key(ids, moved) != key
    moved[3].unlink()
    assert content_key(ids, moved) not in (key, content_key(ids, paths[:3] + paths[:1] + paths[4:]))


def test_the_key_tells_how_far_it_is(paths):
    seen = []
    content_key([path.stem for path in paths], paths, lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 6) for i in range(6)]


def test_the_same_images_elsewhere_are_found_packed(paths, tmp_path, monkeypatch):
    first = packed(paths, tmp_path / "cache")
    elsewhere = sorted(shutil.copytree(paths[0].parent, tmp_path / "elsewhere").iterdir())
    monkeypatch.setattr(cache_module, "read_image", None)
    assert packed(elsewhere, tmp_path / "cache").folder == first.folder


def test_other_images_get_a_cache_of_their_own(paths, tmp_path):
    first = packed(paths, tmp_path / "cache")
    Image.fromarray(noise(99)).save(paths[0])
    second = packed(paths, tmp_path / "cache")
    assert first.folder != second.folder
    assert not np.array_equal(frames(first)[0], frames(second)[0])


# ------------------------------------------------------------------ the side


@pytest.mark.parametrize(("size", "crop", "side"), [(64, 0.5, 212), (96, 0.5, 424), (160, 1, 212), (224, 0.5, 424)])
def test_the_side_is_enough_for_a_turned_view_and_no_more_than_there_is(tmp_path, size, crop, side):
    Image.fromarray(noise(1, 424, 500)).save(tmp_path / "a.png")
    found = frame_side(size, crop, [tmp_path / "a.png"])
    assert found == side
    assert found in SIDES
    Image.fromarray(noise(1, 100, 60)).save(tmp_path / "a.png")
    assert frame_side(size, crop, [tmp_path / "a.png"]) == 60


def test_bad_images_do_not_make_the_frames_small(tmp_path):
    bad = [tmp_path / f"{number}.png" for number in range(120)]
    for path in bad:
        path.write_bytes(b"")
    Image.fromarray(noise(1, 300, 300)).save(tmp_path / "good.png")
    assert frame_side(64, 0.5, [*bad, tmp_path / "good.png"]) == 212
    assert frame_side(64, 0.5, bad) == 1


# ------------------------------------------------------------------ what is no whole cache of these data


def _index(change):
    def tamper(folder):
        content = json.loads((folder / "index.json").read_text("utf-8"))
        change(content)
        (folder / "index.json").write_text(json.dumps(content), "utf-8")

    return tamper


def _truncate(folder):
    with open(folder / "images.npy", "r+b") as file:
        file.truncate(500)


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (_index(lambda content: content.update(key="0" * 64)), "made of other images"),
        (_index(lambda content: content.update(side=31)), "made of other images"),
        (_index(lambda content: content["rows"].pop()), "made of other images"),
        (_index(lambda content: content.update(version=99)), "another version"),
        (_truncate, "images.npy has 500 bytes"),
        (lambda folder: (folder / "images.npy").unlink(), "not a complete cache"),
        (lambda folder: (folder / "index.json").unlink(), "not a complete cache"),
        (lambda folder: (folder / "index.json").write_text('{"version": 1, "ke'), "not a complete cache"),
        (lambda folder: (folder / "index.json").write_bytes(b"\xff\xfe\x00"), "not a complete cache"),
        (lambda folder: (folder / "index.json").write_text("[]"), "index.json is damaged"),
        (lambda folder: (folder / "index.json").write_text("null"), "index.json is damaged"),
        *(
            (_index(lambda content, name=name: content.pop(name)), "index.json is damaged")
            for name in ("version", "key", "side", "bytes", "rows", "groups", "reasons", "seconds")
        ),
        (_index(lambda content: content.update(reasons={"77": "empty"})), "index.json is damaged"),
        (_index(lambda content: content.update(groups=[0])), "index.json is damaged"),
        (_index(lambda content: content.update(groups=["x"] * 6)), "index.json is damaged"),
        (_index(lambda content: content.update(seconds="long")), "index.json is damaged"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_remedy(paths, tmp_path, tamper, says):
    folder = packed(paths, tmp_path / "cache").folder
    tamper(folder)
    with pytest.raises(CacheError) as caught:
        packed(paths, tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith(f"{folder}: ")
    assert says in message
    assert message.endswith("delete that folder to build it again")
    shutil.rmtree(folder)
    assert packed(paths, tmp_path / "cache").folder == folder


# ------------------------------------------------------------------ no room, kills, two at once


def test_no_room_is_said_before_anything_is_written(paths, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(CacheError, match=r"the disk has 0\.0; make room, .*--cache.*--no-cache"):
        packed(paths, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no way to take room ahead")
def test_room_is_taken_before_it_is_written(paths, tmp_path, monkeypatch):
    """A disk that fills up is an error, not the sudden death of a process that writes to a map."""
    import errno

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        packed(paths, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")] == []
    monkeypatch.undo()
    found = packed(paths, tmp_path / "cache")
    assert found.file.stat().st_blocks * 512 >= found.bytes


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_an_interrupted_build_leaves_nothing(paths, tmp_path, monkeypatch, error):
    def interrupted(path, seen=[]):  # noqa: B006
        seen.append(path)
        if len(seen) == 4:
            raise error
        return read_image(path)

    monkeypatch.setattr(cache_module, "read_image", interrupted)
    with pytest.raises(error):
        packed(paths, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")] == []
    monkeypatch.undo()
    assert (packed(paths, tmp_path / "cache").rows >= 0).all()


_SLOW_BUILD = """
import sys, time
from pathlib import Path
from tuningfork.training import image_cache as cache
folder, target, wait = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
paths = sorted(folder.iterdir())
whole, cache._BATCH = cache.read_image, 2
built = []
def slow(path):
    time.sleep(wait)
    built.append(path)
    return whole(path)
cache.read_image = slow
found = cache.open_cache(paths, cache.content_key([p.stem for p in paths], paths), 32, target)
print(len(built), found.folder, (found.rows >= 0).sum())
"""


def _builder(paths, target, wait):
    command = [sys.executable, "-c", _SLOW_BUILD, str(paths[0].parent), str(target), str(wait)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_build_is_not_taken_for_whole(paths, tmp_path):
    target = tmp_path / "cache"
    with _builder(paths, target, 0.5) as process:
        deadline = time.monotonic() + 120
        while not list(target.glob(".*.building/images.npy")) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.7)  # some rows are written
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    left = [path.name for path in target.iterdir()]
    assert all(name.startswith(".") for name in left)
    assert any(name.endswith(".building") for name in left)
    found = packed(paths, target)
    frame = Preprocess(crop=1, size=32, filter="box")
    for path, row in zip(paths, found.rows, strict=True):
        np.testing.assert_array_equal(frames(found)[row], frame.resized(read_image(path).rgb))
    assert not list(target.glob(".*.building"))


@pytest.mark.slow
def test_two_that_build_at_once_build_one(paths, tmp_path):
    builders = [_builder(paths, tmp_path / "cache", 0.3) for _ in range(2)]
    said = [builder.communicate(timeout=300)[0].split() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert sorted(int(built) for built, *_ in said) == [0, len(paths)]
    assert said[0][1:] == said[1][1:]
    assert said[0][2] == str(len(paths))
    assert len([path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]) == 1


# ------------------------------------------------------------------ training through it


def _data(galaxies, recipe, gz2, cache):
    return read_training_set(
        read_labels(galaxies / "training_solutions_rev1.csv", gz2), [galaxies / "images_training_rev1"], recipe, cache
    )


def _views(data, recipe, gz2):
    targets = Targets.of(data.cumulative, gz2)
    images = CachedImages(data.cache.file, data.cache_rows) if data.cache else ImageFiles(data.paths)
    return GalaxyDataset(images, targets, recipe.preprocess, recipe.augmentation, recipe.seed)


def test_training_sees_the_same_frames_with_and_without(galaxies, tmp_path, gz2):
    recipe = Recipe(size=96)  # wants frames of 424 px, which is what the images have
    plain, through = _data(galaxies, recipe, gz2, None), _data(galaxies, recipe, gz2, tmp_path)
    assert plain.cache is None
    assert through.cache.side == 424
    assert (plain.ids, plain.images_sha256) == (through.ids, through.images_sha256)
    np.testing.assert_array_equal(plain.parts, through.parts)
    ours, theirs = _views(plain, recipe, gz2), _views(through, recipe, gz2)
    for row in range(0, 30, 7):
        np.testing.assert_array_equal(ours.images[row], theirs.images[row])
        for a, b in zip(ours[(3, row)], theirs[(3, row)], strict=True):
            assert torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))


def test_halved_frames_give_nearly_the_same_views(galaxies, tmp_path, gz2):
    recipe = Recipe(size=64)
    plain, through = _data(galaxies, recipe, gz2, None), _data(galaxies, recipe, gz2, tmp_path)
    assert through.cache.side == 212
    assert through.cache.bytes < 60 * 212 * 212 * 3 + 1000
    ours, theirs = _views(plain, recipe, gz2), _views(through, recipe, gz2)
    for row in range(0, 30, 7):
        difference = (ours[(3, row)][0] - theirs[(3, row)][0]).abs()
        assert float(difference.mean()) < 2 * 2 / 255  # two levels of 255, of values from -1 to 1


def test_a_view_of_packed_frames_depends_on_nothing_else(galaxies, tmp_path, gz2):
    """Each worker maps the file for itself, and a pickled data set carries no images."""
    import pickle

    recipe = Recipe(size=32)
    views = _views(_data(galaxies, recipe, gz2, tmp_path), recipe, gz2)
    view = views[(1, 5)][0]
    assert isinstance(views.images._array, np.memmap)
    stored = pickle.dumps(views)
    assert len(stored) < 30_000
    again = pickle.loads(stored)
    assert again.images._array is None
    assert torch.equal(again[(1, 5)][0], view)


def test_duplicates_and_bad_images_are_found_alike(tmp_path, gz2):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(24):
        Image.fromarray(render(draw(2, number % 20))).save(folder / f"{number + 100}.jpg", quality=90 - number)
    (folder / "103.jpg").write_bytes(b"broken")
    rng = np.random.default_rng(0)
    rows = [f"{number + 100}," + ",".join(map(str, rng.random(37))) for number in range(24)]
    (tmp_path / "labels.csv").write_text("\n".join([",".join(["GalaxyID", *gz2.columns]), *rows]))
    recipe = Recipe(size=32, validation=0.2)
    plain = read_training_set(read_labels(tmp_path / "labels.csv", gz2), [folder], recipe)
    through = read_training_set(read_labels(tmp_path / "labels.csv", gz2), [folder], recipe, tmp_path / "cache")
    # 100 to 102 have a twin each; that of 103 has lost its own.
    assert plain.duplicates == through.duplicates == 6
    assert plain.errors == through.errors
    assert [error.id for error in plain.errors] == ["103"]
    np.testing.assert_array_equal(plain.parts, through.parts)
    parts = dict(zip(through.ids, through.parts, strict=True))
    assert all(parts[str(100 + i)] == parts[str(120 + i)] for i in range(3))
    assert through.cache_rows.tolist() == list(range(23))


def test_the_classes_alone_keep_their_images(galaxies, tmp_path, gz2):
    recipe = Recipe(size=96, task="classes", validation=0.2)
    data = _data(galaxies, recipe, gz2, tmp_path)
    assert 0 < len(data.ids) < 60
    for path, row in zip(data.paths, data.cache_rows, strict=True):
        np.testing.assert_array_equal(np.load(data.cache.file, mmap_mode="r")[row], read_image(path).rgb)


def test_progress_is_told(paths, tmp_path):
    seen = []
    key = content_key([path.stem for path in paths], paths)
    open_cache(paths, key, 16, tmp_path / "cache", lambda done, total: seen.append((done, total)))
    assert seen == [(6, 6)]


def test_a_cache_of_other_data_stops_a_training(galaxies, tmp_path, gz2):
    recipe = Recipe(size=32)
    data = _data(galaxies, recipe, gz2, tmp_path)
    _index(lambda content: content.update(key="f" * 64))(data.cache.folder)
    with pytest.raises(CacheError, match="their hash differs"):
        _data(galaxies, recipe, gz2, tmp_path)


def test_the_frame_does_not_change_what_an_augmented_view_shows(tmp_path):
    """The crop's corners come from the frame around it, packed or not."""
    image = render(draw(1, 5))
    frame = Preprocess(crop=1, size=212, filter="box").resized(image)
    preprocess = Preprocess(crop=0.5, size=48)
    for seed in range(5):
        views = [
            augmented(each, preprocess, Augmentation(), np.random.default_rng(seed)).astype(int)
            for each in (image, frame)
        ]
        assert np.abs(views[0] - views[1]).mean() < 2


# ------------------------------------------------------------------ where it lies


def test_the_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "tuningfork"
    for unset in (lambda: monkeypatch.setenv("XDG_CACHE_HOME", ""), lambda: monkeypatch.delenv("XDG_CACHE_HOME")):
        unset()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert default_folder() == tmp_path / "home/.cache/tuningfork"


def test_nothing_is_packed_without_being_asked(galaxies, tmp_path, gz2, monkeypatch):
    monkeypatch.setattr(join, "open_cache", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _data(galaxies, Recipe(size=32), gz2, None).cache is None
    assert not Path(tmp_path / "xdg").exists()
