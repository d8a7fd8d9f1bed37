"""The cut-out curriculum: its schedule, its rectangles and its noise."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.config import AugmentationConfig
from tfreid.data.augmentation import cutout_limit, draw_cutouts, fill_with_noise

HEIGHTS, WIDTHS = np.tile([416, 300], 2000), np.tile([208, 416], 2000)


def settings(**values):
    return AugmentationConfig(**{
        "cutout_probability": 1.0, "cutout_area_start": 0.1, "cutout_area_end": 0.5,
        "cutout_epochs": 9, **values})


def shares(config, epoch):
    boxes = draw_cutouts(config, HEIGHTS, WIDTHS, epoch, np.random.default_rng(1))
    top, left, bottom, right = boxes.T
    assert np.all((top >= 0) & (left >= 0) & (bottom <= HEIGHTS) & (right <= WIDTHS))
    return (bottom - top) * (right - left) / (HEIGHTS * WIDTHS)


@pytest.mark.parametrize(("epoch", "limit"), [(0, 0.1), (2, 0.2), (4, 0.3), (8, 0.5), (99, 0.5)])
def test_the_limit_grows_evenly_and_the_areas_up_to_it_are_uniform(epoch, limit):
    """In 9 epochs, from 0 to 8; the mean and each tenth of the areas (rounded down by a pixel)."""
    assert cutout_limit(settings(), epoch) == pytest.approx(limit)
    found = shares(settings(), epoch)
    assert 0.95 * limit < found.max() <= limit
    np.testing.assert_allclose(found.mean(), limit / 2, rtol=0.02)
    tenths = np.quantile(found, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(tenths, limit * np.linspace(0.1, 0.9, 9), atol=0.04 * limit)


def test_a_single_epoch_has_the_largest_limit():
    assert cutout_limit(settings(cutout_epochs=1), 0) == 0.5


@pytest.mark.parametrize(("width", "lowest"), [(200, 0.3), (100, 0.9)])
def test_rectangles_have_the_aspect_asked_for_unless_none_of_it_fits(width, lowest):
    """Up to 60 % of 400 x 100: above 28 % no ratio from 0.9 on fits, and the width is 100."""
    config = settings(cutout_area_end=0.6, cutout_aspect_min=lowest)
    top, left, bottom, right = draw_cutouts(
        config, np.full(4000, 400), np.full(4000, width), 8, np.random.default_rng(1)).T
    tall, wide = bottom - top, right - left
    np.testing.assert_allclose(np.mean(tall * wide) / (400 * width), 0.3, rtol=0.02)
    aspect, large = wide / np.maximum(tall, 1), np.minimum(tall, wide) > 50
    inside = (aspect > 0.95 * lowest) & (aspect < 1.05 / lowest)
    assert np.all((inside | (wide >= width - 1))[large])
    share = tall * wide / (400 * width)
    assert np.all(wide[share > 0.29] >= width - 1) == (lowest == 0.9)


def test_nothing_is_cut_out_before_the_limit_has_grown_nor_below_the_probability():
    assert not np.any(shares(settings(cutout_area_start=0.0), 0))
    assert not np.any(shares(settings(cutout_probability=0.0), 8))
    assert cutout_limit(settings(cutout_probability=0.0), 8) == 0.0
    np.testing.assert_allclose(np.mean(shares(settings(cutout_probability=0.25), 8) > 0), 0.25,
                               atol=0.03)


def test_noise_fills_the_rectangle_alone_and_hangs_on_the_seed():
    images = [np.full((40, 20, 3), 7, np.uint8) for _ in range(3)]
    for image, seed in zip(images, (5, 5, 6)):
        fill_with_noise(image, (10, 2, 30, 18), seed)
    np.testing.assert_array_equal(images[0], images[1])
    assert np.any(images[0] != images[2])
    inside = images[0][10:30, 2:18]
    assert inside.min() < 5 and inside.max() > 250
    assert inside.std() == pytest.approx(256 / 12**0.5, rel=0.05)  # uniform
    images[0][10:30, 2:18] = 7
    assert np.all(images[0] == 7)
