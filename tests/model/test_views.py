"""Test-time augmentation: the views are the symmetries of the square, and predictions average exactly these."""

import numpy as np
import pytest

import tuningfork
from tuningfork.model.options import InferenceOptions
from tuningfork.model.views import VIEW_COUNTS, check_n_views, view_transforms, views_of
from tuningfork.simulation import draw, render

#: Each view as the function of pixel coordinates that the eight symmetries of a square are known by: the pixel of the
#: view at row r, column c is the image's pixel at these, counted from 0 to m = side - 1.
EXPECTED = {
    1: [lambda r, c, m: (r, c)],
    2: [lambda r, c, m: (r, c), lambda r, c, m: (r, m - c)],
    4: [
        lambda r, c, m: (r, c),
        lambda r, c, m: (c, m - r),
        lambda r, c, m: (m - r, m - c),
        lambda r, c, m: (m - c, r),
    ],
}
EXPECTED[8] = EXPECTED[4] + [
    lambda r, c, m: (r, m - c),
    lambda r, c, m: (m - c, m - r),
    lambda r, c, m: (m - r, c),
    lambda r, c, m: (c, r),
]


@pytest.mark.parametrize("n_views", VIEW_COUNTS)
def test_each_view_is_the_symmetry_that_is_documented(n_views):
    image = np.random.default_rng(0).integers(0, 256, (1, 5, 5, 3), np.uint8)
    views = views_of(image, n_views)
    assert len(views) == n_views == len(set(view_transforms(n_views)))
    rows, columns = np.mgrid[:5, :5]
    for view, source in zip(views, EXPECTED[n_views], strict=True):
        np.testing.assert_array_equal(view[0], image[0][source(rows, columns, 4)])


@pytest.mark.parametrize("n_views", VIEW_COUNTS)
def test_a_prediction_is_the_mean_over_the_views(n_views):
    model = tuningfork.load("fast", threads=1)
    inputs = model.inputs(render(draw(0, 3)))
    rows, columns = np.mgrid[: len(inputs[0]), : len(inputs[0])]
    turned = [
        tuple(each[source(rows, columns, len(each) - 1)].copy() for each in inputs) for source in EXPECTED[n_views]
    ]
    expected = np.mean([model.run([view], InferenceOptions(1)).cumulative for view in turned], 0)
    np.testing.assert_allclose(model.run([inputs], InferenceOptions(n_views)).cumulative, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [0, 3, 16, -1, "4", 1.0, True, None, [1]])
def test_other_numbers_of_views_are_refused(wrong):
    with pytest.raises(ValueError, match="must be one of 1, 2, 4, 8"):
        check_n_views(wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match="must be one of 1, 2, 4, 8"):
            InferenceOptions(n_views=wrong)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "8", True])
def test_other_batch_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        InferenceOptions(batch_size=wrong)


def test_options_and_keywords_are_not_mixed():
    with pytest.raises(ValueError, match="within options"):
        tuningfork.load("fast").predict(render(draw(0, 0)), n_views=2, options=InferenceOptions())
