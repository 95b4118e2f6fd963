"""The one way from a picture to a network's input: its geometry, its numbers, its description."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tuningfork.images.preprocess import FILTERS, Preprocess

QUICK = settings(max_examples=40, derandomize=True)
RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def whole(size: int, filter: str = "bilinear") -> Preprocess:
    return Preprocess(crop=1.0, size=size, filter=filter)


preprocesses = st.builds(
    Preprocess,
    crop=st.floats(0.05, 1),
    size=st.integers(8, 64),
    filter=st.sampled_from(sorted(FILTERS)),
)


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize("filter", FILTERS)
def test_no_crop_and_the_same_size_change_nothing(filter: str) -> None:
    picture = noise(40, 40)
    assert np.array_equal(whole(40, filter).resized(picture), picture)


@pytest.mark.parametrize("filter", FILTERS)
def test_the_papers_crop_is_the_middle_four_of_sixteen_cells(filter: str) -> None:
    picture = noise(424, 424)
    assert Preprocess(crop=0.5).window(424, 424) == (106, 106, 212)
    resized = Preprocess(crop=0.5, size=212, filter=filter).resized(picture)
    assert np.array_equal(resized, picture[106:318, 106:318])


@given(preprocesses, st.integers(8, 500), st.integers(8, 500))
@QUICK
def test_the_window_is_a_central_square_within_the_image(p: Preprocess, height: int, width: int) -> None:
    left, top, side = p.window(height, width)
    assert side == pytest.approx(p.crop * min(height, width))
    assert left + side / 2 == pytest.approx(width / 2)
    assert top + side / 2 == pytest.approx(height / 2)
    assert left >= 0
    assert top >= 0


@given(preprocesses, st.integers(8, 200), st.integers(8, 200))
@QUICK
def test_every_frame_becomes_a_square_of_the_networks_size(p: Preprocess, height: int, width: int) -> None:
    resized = p.resized(np.full((height, width, 3), 7, np.uint8))
    assert resized.shape == (p.size, p.size, 3)
    assert resized.dtype == np.uint8


@pytest.mark.parametrize("crop", [0.34, 0.55, 0.1, 0.3, 0.7, math.nextafter(1, 0)])
@pytest.mark.parametrize("shape", [(600, 600), (300, 300), (380, 589), (9, 600), (600, 9)])
def test_rounding_never_leaves_the_frame(crop: float, shape: tuple[int, int]) -> None:
    assert Preprocess(crop=crop, size=8).resized(np.zeros((*shape, 3), np.uint8)).shape == (8, 8, 3)


@given(st.integers(20, 90), st.integers(20, 90))
@QUICK
def test_a_frame_that_is_not_square_loses_its_longer_ends(height: int, width: int) -> None:
    picture = noise(height, width)
    side = min(height, width)
    if (height - width) % 2:
        picture, height, width = picture[:side, :side], side, side
    top, left = (height - side) // 2, (width - side) // 2
    assert np.array_equal(whole(side).resized(picture), picture[top : top + side, left : left + side])


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([60 + y + x, 200 - y - x / 2, 90 + x - y], -1).astype(np.uint8)


@given(
    p=preprocesses,
    turn=st.integers(0, 3),
    mirrored=st.booleans(),
    shape=st.sampled_from([(60, 60), (61, 61), (50, 71)]),
    rough=st.booleans(),
)
@settings(QUICK, max_examples=150)
def test_rotating_and_mirroring_commute_with_the_resize(
    p: Preprocess, turn: int, mirrored: bool, shape: tuple[int, int], rough: bool
) -> None:
    # On noise the kernels with negative lobes are clipped between rows and columns, and the box meets ties.
    picture = noise(*shape) if rough and p.filter == "bilinear" else smooth(*shape)

    def view(a: np.ndarray) -> np.ndarray:
        a = np.rot90(a, turn)
        return a[:, ::-1] if mirrored else a

    difference = p.resized(view(picture)).astype(int) - view(p.resized(picture))
    assert np.abs(difference).max() <= (2 if p.filter == "box" else 1)


@given(preprocesses, st.lists(st.integers(0, 255), min_size=3, max_size=3), st.integers(8, 90), st.integers(8, 90))
@QUICK
def test_a_constant_image_stays_constant(p: Preprocess, colour: list[int], height: int, width: int) -> None:
    picture = np.full((height, width, 3), colour, np.uint8)
    assert (p.resized(picture) == np.array(colour, np.uint8)).all()


@pytest.mark.parametrize("filter", FILTERS)
def test_a_fine_chequerboard_shrinks_to_grey(filter: str) -> None:
    board = np.repeat((np.indices((96, 96)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None], 3, 2)
    inner = whole(24, filter).resized(board)[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127).max() <= 3


@given(st.integers(1, 6), st.integers(8, 20))
@QUICK
def test_the_box_filter_is_the_exact_mean_over_areas(factor: int, size: int) -> None:
    picture = noise(size * factor, size * factor)
    means = picture.reshape(size, factor, size, factor, 3).mean((1, 3))
    assert np.abs(whole(size, "box").resized(picture) - means).max() <= 1


def triangle(source: int, target: int) -> np.ndarray:
    """Weights (target, source) of an antialiased linear resize, from its definition."""
    scale = source / target
    centre = (np.arange(target) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(source) + 0.5 - centre[:, None]) / max(scale, 1), 0, None)
    return weights / weights.sum(1, keepdims=True)


@given(st.integers(30, 80), st.integers(8, 30))
@QUICK
def test_the_linear_filter_is_a_triangle_as_wide_as_the_shrinking(source: int, target: int) -> None:
    picture = noise(source, source)
    weights = triangle(source, target)
    expected = np.einsum("ys,xt,stc->yxc", weights, weights, picture.astype(float))
    assert np.abs(whole(target).resized(picture) - expected).max() <= 1.01


@pytest.mark.parametrize("filter", FILTERS)
def test_what_lies_outside_the_crop_does_not_matter(filter: str) -> None:
    picture = noise(80, 80)
    other = noise(80, 80)
    other[20:60, 20:60] = picture[20:60, 20:60]
    p = Preprocess(crop=0.5, size=16, filter=filter)
    assert np.array_equal(p.resized(picture), p.resized(other))


@given(st.floats(0.2, 0.98))
@QUICK
def test_a_crop_between_pixels_keeps_the_middle_in_the_middle(crop: float) -> None:
    picture = np.zeros((65, 65, 3), np.uint8)
    picture[28:37, 28:37] = 255
    light = Preprocess(crop=crop, size=33).resized(picture)[:, :, 0].astype(float)
    centre = (light.sum(0) * np.arange(33)).sum() / light.sum()
    assert centre == pytest.approx(16, abs=0.05)


def test_views_of_an_array_are_read_rightly() -> None:
    picture = noise(60, 60)
    p = Preprocess(crop=0.7, size=20)
    assert np.array_equal(p.resized(picture[::-1, ::-1]), p.resized(picture[::-1, ::-1].copy()))
    assert np.array_equal(p.resized(np.asfortranarray(picture)), p.resized(picture))


def test_the_image_is_left_as_it_was() -> None:
    picture = noise(30, 30)
    before = picture.copy()
    Preprocess(size=8)(picture)
    assert np.array_equal(picture, before)


def test_shrinking_a_box_is_resizing_the_cut() -> None:
    picture = noise(60, 60)
    p = Preprocess(crop=0.5, size=30)
    assert np.array_equal(p.shrunk(Image.fromarray(picture), (15, 15, 45, 45)), p.resized(picture))


# ---------------------------------------------------------------- numbers


@given(
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.tuples(*[st.floats(0.05, 2)] * 3),
    st.lists(st.integers(0, 255), min_size=3, max_size=3),
)
@QUICK
def test_input_is_image_over_255_minus_mean_over_std(mean: tuple, std: tuple, colour: list[int]) -> None:
    p = Preprocess(size=8, mean=mean, std=std)
    scaled = p.scaled(np.full((8, 8, 3), colour, np.uint8))
    expected = (np.array(colour) / 255 - np.array(mean)) / np.array(std)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled[:, 3, 4], expected, rtol=1e-5, atol=1e-5)


def test_the_default_scaling_is_minus_one_to_one() -> None:
    ends = np.array([0, 255], np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)
    scaled = Preprocess(size=8).scaled(ends)
    assert np.array_equal(scaled[0], np.full((3, 8, 8), -1))
    assert np.array_equal(scaled[1], np.full((3, 8, 8), 1))


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_channels_come_before_rows(lead: tuple[int, ...]) -> None:
    stack = RNG.integers(0, 256, (*lead, 8, 8, 3), np.uint8)
    scaled = Preprocess(size=8).scaled(stack)
    assert scaled.shape == (*lead, 3, 8, 8)
    assert scaled.flags.c_contiguous
    assert np.array_equal(np.rint((np.moveaxis(scaled, -3, -1) + 1) * 127.5), stack)


def test_the_whole_way_is_both_steps() -> None:
    picture = noise(50, 70)
    p = Preprocess(crop=0.8, size=20)
    assert np.array_equal(p(picture), p.scaled(p.resized(picture)))


# ---------------------------------------------------------------- description


@given(preprocesses)
@QUICK
def test_the_description_travels_through_json(p: Preprocess) -> None:
    again = Preprocess.from_dict(json.loads(json.dumps(p.to_dict())))
    assert again == p
    assert hash(again) == hash(p)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValueError, match="'zoom' is not known to this version"):
        Preprocess.from_dict({**Preprocess().to_dict(), "zoom": 2})


@pytest.mark.parametrize("key", Preprocess().to_dict())
def test_no_default_stands_for_a_missing_key(key: str) -> None:
    description = Preprocess().to_dict()
    del description[key]
    with pytest.raises(ValueError, match=f"'{key}' is missing"):
        Preprocess.from_dict(description)


@pytest.mark.parametrize(("key", "value"), [
    ("crop", 0), ("crop", -0.5), ("crop", 1.01), ("crop", math.nan), ("crop", math.inf), ("crop", "0.5"),
    ("size", 7), ("size", 0), ("size", 2049), ("size", 96.0), ("size", 96.5), ("size", "96"), ("size", None),
    ("mean", [0.5, 0.5]), ("mean", 0.5), ("mean", [0.5, 0.5, math.nan]), ("mean", ["a", "b", "c"]), ("mean", None),
    ("std", [1, 1, 0]), ("std", [1, 1, -1]), ("std", [1, 1, math.inf]), ("std", [1, 1, 1, 1]), ("std", "abc"),
    ("filter", "nearest"), ("filter", ""), ("filter", 2), ("filter", ["box"]), ("filter", None), ("filter", {}),
])  # fmt: skip
def test_a_value_out_of_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        Preprocess.from_dict({**Preprocess().to_dict(), key: value})


def test_a_description_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Preprocess().size = 8


@given(
    st.tuples(*[st.floats(0.01, 2)] * 3),
    st.tuples(*[st.floats(-1, 1)] * 3),
    st.integers(0, 3),
    st.sampled_from([(), (1,), (3,), (2, 2)]),
)
@QUICK
def test_scaling_is_bit_for_bit_the_formula_whatever_the_order_in_memory(std, mean, quarter, stacked) -> None:
    p = Preprocess(size=8, mean=mean, std=std)
    stack = np.rot90(RNG.integers(0, 256, (*stacked, 8, 8, 3), np.uint8), quarter, axes=(-3, -2))[..., ::-1, :]
    gain = (1 / (255 * np.array(std))).astype(np.float32)
    offset = (-np.array(mean) / np.array(std)).astype(np.float32)
    scaled = p.scaled(stack)
    assert scaled.flags.c_contiguous
    assert scaled.dtype == np.float32
    assert np.array_equal(scaled, np.moveaxis(stack * gain + offset, -1, -3))
