"""What a picture looks like: the same numbers as the plain formulation, which calibrated models stand on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuningfork.images.preprocess import Preprocess
from tuningfork.images.statistics import STATISTICS, appearance, appearances
from tuningfork.simulation import draw, render


def plain(picture: np.ndarray) -> np.ndarray:
    """As it is defined, by sorting: the shipped models' domains were fitted on these numbers."""
    side = len(picture)
    planes = [np.ascontiguousarray(picture[:, :, band]) for band in range(3)]
    sums = planes[0].astype(np.int64) + planes[1] + planes[2]

    def edge(plane):
        band = max(1, side // 16)
        outer = np.ones((side, side), bool)
        outer[band:-band, band:-band] = False
        return plane[outer]

    def quantile(values, share):
        return int(np.sort(values, None)[max(int(np.ceil(share * values.size)) - 1, 0)])

    def middle(half):
        return slice(side // 2 - half, side - side // 2 + half)

    sky = [quantile(edge(plane), 0.5) for plane in planes]
    deviations = np.concatenate([np.abs(edge(p).astype(int) - level) for p, level in zip(planes, sky, strict=True)])
    laplacian = np.abs(4 * sums[1:-1, 1:-1] - sums[:-2, 1:-1] - sums[2:, 1:-1] - sums[1:-1, :-2] - sums[1:-1, 2:])
    light = np.maximum(sums - quantile(edge(sums), 0.5), 0).astype(np.float32) / 3
    total = float(light.sum()) + 1
    away = ((np.arange(side) - (side - 1) / 2) / side).astype(np.float32)
    colour = [
        (np.vdot(light, plane.astype(np.float32)) - level * (total - 1)) / total
        for plane, level in zip(planes, sky, strict=True)
    ]
    logs = np.log(np.maximum(colour, 1))
    core, inner = middle(side // 40 + 1), middle(side // 8)
    return np.array(
        [
            *np.log1p(sky),
            np.log(quantile(deviations, 0.5) + 0.5),
            np.log(quantile(laplacian, 0.5) / 3 + 0.5),
            np.log1p(quantile(laplacian, 0.99) / 3),
            np.log(quantile(np.ptp(picture, 2), 0.5) + 0.5),
            np.log(total / side**2 + 0.1),
            np.log1p(sums[core, core].mean() / 3),
            light[inner, inner].sum() / total,
            np.hypot(light.sum(0) @ away, light.sum(1) @ away) / total,
            logs[0] - logs[1],
            logs[1] - logs[2],
            np.sqrt((picture.max(2) >= 250).mean()),
            np.sqrt((picture.max(2) == 0).mean()),
        ]
    )


@given(
    st.integers(8, 70),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 9, 256]),
    st.sampled_from([0, 247]),
)
@settings(max_examples=150, derandomize=True)
def test_any_image_has_the_numbers_of_the_definition(side, seed, levels, least):
    values = np.random.default_rng(seed).integers(0, levels, (side, side, 3))
    picture = np.minimum(values + least, 255).astype(np.uint8)
    np.testing.assert_allclose(appearance(picture), plain(picture), rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [96, 128, 224])
def test_a_galaxy_has_the_numbers_of_the_definition(size):
    for index in range(8):
        picture = Preprocess(size=size).resized(render(draw(3, index)))
        np.testing.assert_allclose(appearance(picture), plain(picture), rtol=0, atol=1e-9)
        turned = np.rot90(picture)
        np.testing.assert_allclose(appearance(turned), plain(turned), rtol=0, atol=1e-9)


def test_it_has_a_number_for_each_name():
    assert appearance(np.zeros((8, 8, 3), np.uint8)).shape == (len(STATISTICS),)


@pytest.mark.parametrize("side", [8, 33, 112])
def test_several_images_give_the_very_bits_of_each(side):
    rng = np.random.default_rng(side)
    noise = rng.integers(0, 256, (12, side, side, 3), np.uint8)
    images = np.concatenate([noise, noise // 9, np.zeros_like(noise[:1]), np.full_like(noise[:1], 255)])
    one_by_one = np.array([appearance(image) for image in images])
    for count in (2, 7, len(images)):
        parts = [appearances(images[first : first + count]) for first in range(0, len(images), count)]
        np.testing.assert_array_equal(np.concatenate(parts), one_by_one)
