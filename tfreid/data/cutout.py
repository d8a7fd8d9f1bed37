"""The cut-out curriculum: rectangles of random noise that grow while a network is trained.

Source: Almazan et al., "Re-ID done right: towards good practices for person re-identification"
(2018), Sections 3.2 and 3.3. The paper gives neither the sizes nor their schedule; here the limit
of the area grows linearly.
"""

from __future__ import annotations

import numpy as np

from tfreid.config import AugmentationConfig


def cutout_limit(config: AugmentationConfig, epoch: int) -> float:
    """Returns the largest share of an image's area that may become noise in an epoch, from 0."""
    if not config.cutout_probability:
        return 0.0
    grown = min(1.0, epoch / config.cutout_epochs)
    return config.cutout_area_start + grown * (config.cutout_area_end - config.cutout_area_start)


def draw_cutouts(
    config: AugmentationConfig,
    heights: np.ndarray,
    widths: np.ndarray,
    epoch: int,
    random: np.random.Generator,
) -> np.ndarray:
    """Draws the rectangle of each image.

    The area is uniform up to `cutout_limit`, the aspect ratio log-uniform; what would reach beyond
    an image's side ends there.

    Args:
        config: `cutout_*`.
        heights: Of the network's input in pixels, [n].
        widths: Likewise, [n].
        epoch: Epoch, from 0.
        random: Source of the numbers.

    Returns:
        int64 [n, 4], top, left, bottom, right; all 0 for none.
    """
    count = len(heights)
    if not config.cutout_probability:
        return np.zeros((count, 4), np.int64)
    reach = -np.log(config.cutout_aspect_min)
    aspect = np.exp(random.uniform(-reach, reach, count))
    area = random.uniform(0.0, cutout_limit(config, epoch), count) * heights * widths
    # Rounded down, so that the limit is one.
    tall = np.minimum(np.sqrt(area / aspect), heights).astype(np.int64)
    wide = np.minimum(np.sqrt(area * aspect), widths).astype(np.int64)
    top = np.floor(random.random(count) * (heights - tall + 1)).astype(np.int64)
    left = np.floor(random.random(count) * (widths - wide + 1)).astype(np.int64)
    boxes = np.stack([top, left, top + tall, left + wide], axis=1)
    none = (random.random(count) >= config.cutout_probability) | (tall * wide == 0)
    return np.where(none[:, np.newaxis], 0, boxes)


def fill_with_noise(image: np.ndarray, box: tuple[int, int, int, int], seed: int) -> None:
    """Overwrites top, left, bottom, right of a uint8 image [h, w, 3] with uniform noise."""
    top, left, bottom, right = box
    shape = (bottom - top, right - left, image.shape[2])
    image[top:bottom, left:right] = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
