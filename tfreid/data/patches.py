"""Rectangles of random size and place, and parts of other images pasted into them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from tfreid.config import AugmentationConfig

_ATTEMPTS = 100
# A pasted patch is mirrored, and turned by up to so many degrees, with these probabilities.
_MIRRORED, _TURNED, _DEGREES = 0.5, 0.5, 10.0


def draw_rectangles(config: AugmentationConfig, kind: str, heights: np.ndarray, widths: np.ndarray,
                    random: np.random.Generator) -> np.ndarray:
    """Draws rectangles by rejection, as Algorithm 1 of random erasing does (Zhong et al. 2020).

    Args:
        config: Has the probability, the smallest and largest share of the area and the smallest
            aspect ratio of the kind.
        kind: `erasing`, `grey_patch` or `patch`.
        heights: Heights of the images in pixels, [n].
        widths: Their widths.
        random: Source of the numbers.

    Returns:
        int32 [n, 4], top, left, bottom, right; all 0 for the images left out.
    """
    probability, area_min, area_max, aspect_min = (
        getattr(config, f"{kind}_{name}")
        for name in ("probability", "area_min", "area_max", "aspect_min"))
    rectangles = np.zeros((len(heights), 4), np.int32)
    pending = np.flatnonzero(random.random(len(heights)) < probability)
    for _ in range(_ATTEMPTS):
        if not pending.size:
            break
        height, width = heights[pending], widths[pending]
        share = random.uniform(area_min, area_max, pending.size)
        aspect = random.uniform(aspect_min, 1.0 / aspect_min, pending.size)
        tall = np.rint(np.sqrt(share * height * width * aspect)).astype(int)
        wide = np.rint(np.sqrt(share * height * width / aspect)).astype(int)
        top = np.floor(random.random(pending.size) * (height - tall + 1)).astype(int)
        left = np.floor(random.random(pending.size) * (width - wide + 1)).astype(int)
        fits = (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
        boxes = np.stack([top, left, top + tall, left + wide], axis=1)
        rectangles[pending[fits]] = boxes[fits]
        pending = pending[~fits]
    return rectangles


def draw_sources(count: int, random: np.random.Generator) -> np.ndarray:
    """Draws for each image which part of which other one `paste` takes, float64 [count, 5].

    Returns:
        The other image's place among all but the image itself, as a share of their number; the
        part's place as shares of the height and of the width that it leaves; 1, or -1 for a
        mirrored part; and the angle in degrees.
    """
    drawn = random.random((count, 5))
    drawn[:, 3] = np.where(drawn[:, 3] < _MIRRORED, -1.0, 1.0)
    turned = random.random(count) < _TURNED
    drawn[:, 4] = np.where(turned, _DEGREES * (2 * drawn[:, 4] - 1), 0.0)
    return drawn


def paste(image: np.ndarray, box: Sequence[int], images: Sequence[np.ndarray], own: int,
          source: Sequence[float]) -> None:
    """Pastes a part of another image of the batch into a box: random patch.

    It is the occlusion with which Zhou et al., "Learning generalisable omni-scale representations
    for person re-identification" (2021), train OSNet-AIN. Torchreid pastes parts of earlier images,
    mirrored or turned by up to 10 degrees, from a pool. Here the pool is the batch, so that a
    batch depends on nothing before it.

    Args:
        image: uint8 RGB [h, w, 3], into which is pasted.
        box: Top, left, bottom, right.
        images: The images of the batch before they are changed, uint8 RGB of any sizes. The part
            takes the same shares of the other image's sides as the box of the image's; what turns
            into it from outside repeats the border.
        own: Place of the image among them. Alone in a batch it stays as it is.
        source: A row of `draw_sources`.
    """
    if len(images) == 1:
        return
    other, row, column, mirror, degrees = source
    # A share just below 1 may have become 1 as float32.
    other = min(int(other * (len(images) - 1)), len(images) - 2)
    other = images[other + (other >= own)]
    top, left, bottom, right = box
    tall, wide = bottom - top, right - left
    # Pixels of the other image for one of this one.
    down, across = other.shape[0] / image.shape[0], other.shape[1] / image.shape[1]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    xx, xy, yx, yy = across * cosine * mirror, -across * sine, down * sine * mirror, down * cosine
    # The centre of the part, less what the centre of the box is turned to. The middle of a pixel
    # is a whole number.
    x = column * (other.shape[1] - across * wide) + (across * wide - 1) / 2
    y = row * (other.shape[0] - down * tall) + (down * tall - 1) / 2
    x -= (xx * (wide - 1) + xy * (tall - 1)) / 2
    y -= (yx * (wide - 1) + yy * (tall - 1)) / 2
    image[top:bottom, left:right] = cv2.warpAffine(
        other, np.array([[xx, xy, x], [yx, yy, y]]), (wide, tall),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
