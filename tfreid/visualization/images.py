"""Fits images into the space that a picture has for them."""

from __future__ import annotations

import cv2
import numpy as np


def fit_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales an image to the largest size that fits, keeping its aspect.

    Args:
        image: uint8 RGB [h, w, 3].
        height: Of the space, in pixels.
        width: Of the space, in pixels.

    Raises:
        ValueError: The image is not RGB uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"images must be RGB uint8 [h, w, 3], received {image.dtype} of shape {image.shape}"
        )
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
