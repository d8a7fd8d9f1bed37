"""Random-sized crops: their areas and aspect ratios, and what is cut."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.config import AugmentationConfig
from tfreid.data.augmentation import WHOLE, cut, draw_crops

HEIGHTS, WIDTHS = np.tile([128, 96, 60], 1000), np.tile([64, 96, 90], 1000)


def draw(heights=HEIGHTS, widths=WIDTHS, **settings):
    config = AugmentationConfig(**{"crop_probability": 1.0, **settings})
    return draw_crops(config, heights, widths, np.random.default_rng(0))


def shapes(crops, heights=HEIGHTS, widths=WIDTHS):
    """Share of the area, and width over height in pixels."""
    tall, wide = crops[:, 2] - crops[:, 0], crops[:, 3] - crops[:, 1]
    return tall * wide, wide * widths / (tall * heights)


def test_crops_have_the_area_and_aspect_ratio_asked_for_and_lie_inside():
    crops = draw(crop_area_min=0.1, crop_area_max=0.4, crop_aspect_min=0.75)
    area, aspect = shapes(crops)
    assert np.all((crops >= 0) & (crops <= 1))
    assert 0.1 <= area.min() < 0.11 and 0.39 < area.max() <= 0.4 + 1e-12
    assert 0.75 - 1e-9 <= aspect.min() < 0.77 and 1.3 < aspect.max() <= 4 / 3 + 1e-9
    np.testing.assert_allclose(np.median(aspect), 1.0, atol=0.03)  # log-uniform


def test_without_an_aspect_the_crop_is_like_the_image():
    area, aspect = shapes(draw(crop_area_min=0.25, crop_area_max=1.0))
    np.testing.assert_allclose(aspect, WIDTHS / HEIGHTS)
    np.testing.assert_allclose(area.mean(), 0.625, atol=0.01)


def test_a_crop_that_never_fits_is_the_largest_allowed_one_in_the_middle():
    # 100 x 20 with an aspect of at least 0.5 holds at most 40 x 20, two fifths of its area.
    crop, = draw(np.array([100]), np.array([20]), crop_area_min=0.9, crop_aspect_min=0.5)
    np.testing.assert_allclose(crop, [0.3, 0.0, 0.7, 1.0])
    crop, = draw(np.array([20]), np.array([100]), crop_area_min=0.9, crop_aspect_min=0.5)
    np.testing.assert_allclose(crop, [0.0, 0.3, 1.0, 0.7])


def test_the_probability_is_kept():
    assert np.all(draw(crop_probability=0.0) == WHOLE)
    share = np.mean(np.any(draw(crop_probability=0.3, crop_area_max=0.9) != WHOLE, axis=1))
    np.testing.assert_allclose(share, 0.3, atol=0.03)


@pytest.mark.parametrize(("crop", "rows", "columns"), [
    ((0.0, 0.0, 1.0, 1.0), (0, 10), (0, 4)),
    ((0.2, 0.25, 0.5, 0.75), (2, 5), (1, 3)),
    ((1.0, 0.99, 1.0, 1.0), (9, 10), (3, 4)),  # never empty
])
def test_what_is_cut(crop, rows, columns):
    image = np.arange(120, dtype=np.uint8).reshape(10, 4, 3)
    expected = image[slice(*rows), slice(*columns)]
    np.testing.assert_array_equal(cut(image, *crop), expected)
