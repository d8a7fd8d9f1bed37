"""Patches of other images: which, from where, and how they are pasted."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.config import AugmentationConfig
from tfreid.data.patches import draw_rectangles, draw_sources, paste

HEIGHT, WIDTH = 40, 20
BOX = (6, 3, 26, 13)  # 20 x 10


@pytest.fixture
def images():
    return list(np.random.default_rng(1).integers(0, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8))


def pasted(images, own, box=BOX, **source):
    row = {"other": 0.0, "row": 0.0, "column": 0.0, "mirror": 1.0, "degrees": 0.0, **source}
    result = images[own].copy()
    paste(result, box, images, own, list(row.values()))
    outside = np.ones(result.shape[:2], bool)
    outside[box[0]:box[2], box[1]:box[3]] = False
    np.testing.assert_array_equal(result[outside], images[own][outside])
    return result[box[0]:box[2], box[1]:box[3]]


@pytest.mark.parametrize(("own", "shares"), [(0, [1, 2, 3]), (1, [0, 2, 3]), (3, [0, 1, 2])])
def test_every_other_image_is_as_likely_and_never_the_own(images, own, shares):
    for share, expected in zip((0.2, 0.5, 1.0), shares):
        np.testing.assert_array_equal(pasted(images, own, other=share), images[expected][:20, :10])


@pytest.mark.parametrize("row", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("column", [0.0, 0.7, 1.0])
def test_the_part_lies_where_the_shares_say(images, row, column):
    top, left = int(20 * row), int(10 * column)
    part = images[1][top:top + 20, left:left + 10]
    np.testing.assert_array_equal(pasted(images, 0, row=row, column=column), part)
    mirrored = pasted(images, 0, row=row, column=column, mirror=-1.0)
    np.testing.assert_array_equal(mirrored, part[:, ::-1])


@pytest.mark.parametrize("degrees", [-10.0, 7.0])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_a_turned_part_of_a_ramp_keeps_its_centre_and_slope(degrees, mirror):
    """On a plane 3 x + 2 y + 10 the pixel at (u, v) from the centre is that plane at R (m u, v)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramp = np.repeat((3 * x + 2 * y + 10)[..., np.newaxis], 3, axis=2).astype(np.uint8)
    images = [np.zeros_like(ramp), ramp]
    found = pasted(images, 0, row=0.5, column=0.5, degrees=degrees, mirror=mirror)
    v, u = np.mgrid[:20, :10] - np.array([9.5, 4.5]).reshape(2, 1, 1)
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    across, down = cosine * mirror * u - sine * v, sine * mirror * u + cosine * v
    expected = 3 * (across + 9.5) + 2 * (down + 19.5) + 10
    np.testing.assert_allclose(found[..., 0], expected, atol=0.7)


def test_a_larger_image_gives_the_same_share_of_its_sides(images):
    """Twice as wide and high, all blocks of 2 x 2 alike: the part looks the same."""
    small = np.repeat(np.repeat(images[1][:20, :10], 2, axis=0), 2, axis=1)
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    both = [pasted([images[0], other], 0, row=0.5, column=0.5) for other in (small, large)]
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(both[0][inner], both[1][inner], atol=1)


def test_an_image_alone_in_its_batch_stays_as_it_is(images):
    np.testing.assert_array_equal(pasted(images[:1], 0), images[0][6:26, 3:13])


def test_sources_are_uniform_half_of_them_mirrored_and_half_turned():
    other, row, column, mirror, degrees = draw_sources(8000, np.random.default_rng(0)).T
    for shares in (other, row, column):
        np.testing.assert_allclose(np.quantile(shares, [0.25, 0.75]), [0.25, 0.75], atol=0.02)
    np.testing.assert_array_equal(np.unique(mirror), [-1, 1])
    assert abs(mirror.mean()) < 0.03
    turned = degrees[degrees != 0]
    assert abs(len(turned) / 8000 - 0.5) < 0.02
    assert -10 <= turned.min() < -9.9 and 9.9 < turned.max() <= 10
    assert abs(np.corrcoef(mirror, degrees)[0, 1]) < 0.03


@pytest.mark.parametrize("kind", ["erasing", "grey_patch", "patch"])
def test_each_kind_has_rectangles_of_its_own_settings(kind):
    config = AugmentationConfig(**{
        f"{kind}_probability": 0.5, f"{kind}_area_min": 0.1, f"{kind}_area_max": 0.2,
        f"{kind}_aspect_min": 0.5})
    sides = np.full(4000, 256), np.full(4000, 128)
    top, left, bottom, right = draw_rectangles(config, kind, *sides, np.random.default_rng(0)).T
    share = (bottom - top) * (right - left) / (256 * 128)
    assert abs(np.mean(share > 0) - 0.5) < 0.03
    # Sides are rounded to whole pixels.
    assert 0.098 < share[share > 0].min() < 0.11 and 0.19 < share.max() < 0.205
