"""Where a network looks: a score whose weights are known gives them back."""

import numpy as np
import pytest

from tuningfork.model.occlusion import CELLS, COVER, occlusion_map, overlay


def brightness_at(row, column):
    """A score that sees one pixel only."""
    return lambda pictures: np.array([picture[row, column, 0] / 255 for picture in pictures])


@pytest.fixture
def picture():
    out = np.full((120, 120, 3), 10, np.uint8)
    out[20:100, 20:100] = 200
    return out


@pytest.mark.parametrize(("row", "column"), [(25, 25), (25, 95), (60, 60), (95, 45)])
def test_the_pixel_that_counts_is_found(picture, row, column):
    found = occlusion_map(picture, brightness_at(row, column))
    assert found.score == pytest.approx(200 / 255)
    x, y = found.strongest
    reach = COVER * 120 / CELLS
    assert abs(x - column) <= reach
    assert abs(y - row) <= reach
    assert found.fall.max() > 0
    assert found.fall.min() == 0
    far = np.hypot(*(np.indices((CELLS, CELLS)) * 10 + 5 - np.array([row, column])[:, None, None])) > 2 * reach
    assert (found.fall[far] == 0).all()


def test_what_speaks_against_the_answer_is_negative(picture):
    darkness = brightness_at(60, 60)
    found = occlusion_map(picture, lambda pictures: 1 - darkness(pictures))
    assert found.fall.min() < 0
    assert found.fall.max() == 0
    layer = overlay(found, 120, 120)
    blue, red = layer[60, 60, 2], layer[60, 60, 0]
    assert blue > red


def test_a_constant_score_gives_an_empty_layer(picture):
    found = occlusion_map(picture, lambda pictures: np.ones(sum(1 for _ in pictures)))
    assert not found.fall.any()
    assert not overlay(found, 120, 120)[..., 3].any()


@pytest.mark.parametrize("shape", [(120, 200, 3), (201, 90, 3), (9, 8, 3), (424, 424, 3)])
@pytest.mark.parametrize("crop", [1, 0.5, 0.37])
def test_outside_of_the_window_nothing_is_covered_nor_painted(shape, crop):
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 256, shape, np.uint8)
    height, width = shape[:2]
    side = crop * min(height, width)
    window = ((width - side) / 2, (height - side) / 2, side)
    touched = np.zeros((height, width), bool)

    def score(pictures):
        told = []
        for each in pictures:
            touched[(each != picture).any(-1)] = True
            told.append(float(each.mean()))
        return np.array(told)

    found = occlusion_map(picture, score, window)
    layer = overlay(found, height, width)
    assert layer.shape == (height, width, 4)
    rows, columns = np.indices((height, width))
    inside = (
        (columns >= window[0] - 1.5)
        & (columns <= window[0] + side + 1.5)
        & (rows >= window[1] - 1.5)
        & (rows <= window[1] + side + 1.5)
    )
    assert not touched[~inside].any()
    assert not layer[..., 3][~inside].any()
