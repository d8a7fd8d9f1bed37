"""Random-sized crops: which part of a training image is kept."""

from __future__ import annotations

import numpy as np

from tfreid.config import AugmentationConfig

# The crop that keeps everything: top, left, bottom, right as shares of the sides.
WHOLE = [0.0, 0.0, 1.0, 1.0]
_ATTEMPTS = 10


def draw_crops(
    config: AugmentationConfig, heights: np.ndarray, widths: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Draws what is kept of each image (Szegedy et al., "Going deeper with convolutions", 2015).

    The area is a uniform share of the image's, the aspect ratio log-uniform or the image's own. A
    crop that does not fit is drawn anew; after ten attempts it is the largest one in the middle
    whose aspect ratio is allowed.

    Args:
        config: `crop_*`.
        heights: Of the images in pixels, [n].
        widths: Likewise, [n].
        random: Source of the numbers.

    Returns:
        float64 [n, 4], top, left, bottom, right as shares of the sides.
    """
    crops = np.tile(WHOLE, (len(heights), 1))
    if not config.crop_probability:
        return crops
    aspects = np.asarray(widths) / np.asarray(heights)
    pending = np.flatnonzero(random.random(len(crops)) < config.crop_probability)
    for _ in range(_ATTEMPTS):
        if not pending.size:
            return crops
        share = random.uniform(config.crop_area_min, config.crop_area_max, pending.size)
        # How many times wider, in terms of its height, the crop is than the image.
        wider = 1.0
        if config.crop_aspect_min is not None:
            reach = -np.log(config.crop_aspect_min)
            wider = np.exp(random.uniform(-reach, reach, pending.size)) / aspects[pending]
        sides = np.stack([np.sqrt(share / wider), np.sqrt(share * wider)], axis=1)
        corners = random.random((pending.size, 2)) * (1.0 - sides)
        fits = np.all(sides <= 1.0, axis=1)
        crops[pending[fits]] = np.hstack([corners, corners + sides])[fits]
        pending = pending[~fits]
    crops[pending] = _largest(aspects[pending], config.crop_aspect_min)
    return crops


def cut(image: np.ndarray, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Returns the part of an image [h, w, 3] that a crop keeps, at least one pixel, as a view."""
    (first_row, last_row), (first_column, last_column) = (
        _pixels(first, last, size)
        for first, last, size in zip((top, left), (bottom, right), image.shape)
    )
    return image[first_row:last_row, first_column:last_column]


def _pixels(first, last, size):
    start = min(int(np.rint(first * size)), size - 1)
    return start, max(int(np.rint(last * size)), start + 1)


def _largest(aspects, aspect_min):
    allowed = np.clip(aspects, aspect_min, 1.0 / aspect_min)
    sides = np.stack([np.minimum(aspects / allowed, 1.0), np.minimum(allowed / aspects, 1.0)], 1)
    return np.hstack([(1.0 - sides) / 2, (1.0 + sides) / 2])
