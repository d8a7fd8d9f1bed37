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
        "cutout_epochs": 8, **values})


def shares(config, epoch):
    boxes = draw_cutouts(config, HEIGHTS, WIDTHS, epoch, np.random.default_rng(1))
    top, left, bottom, right = boxes.T
    assert np.all((top >= 0) & (left >= 0) & (bottom <= HEIGHTS) & (right <= WIDTHS))
    return (bottom - top) * (right - left) / (HEIGHTS * WIDTHS)


@pytest.mark.parametrize(("epoch", "limit"), [(0, 0.1), (2, 0.2), (4, 0.3), (8, 0.5), (99, 0.5)])
def test_the_limit_grows_evenly_and_bounds_the_area(epoch, limit):
    assert cutout_limit(settings(), epoch) == pytest.approx(limit)
    found = shares(settings(), epoch)
    assert 0.95 * limit < found.max() <= limit
    np.testing.assert_allclose(np.median(found), limit / 2, rtol=0.1)


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
