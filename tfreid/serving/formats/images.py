"""Images for an exported graph, without TensorFlow: decoded as a viewer shows them, and resized."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Union

import numpy as np

from tfrecords.image_files import read_bytes
from tfrecords.image_headers import CorruptImage
from tfrecords.images import png_of, shown_pixels, stored_image
from tfreid.serving.interface import RefusedImages

Image = Union[np.ndarray, str, Path, bytes]


def stored_file(image: Image) -> bytes:
    """Returns an image as the bytes of a JPEG or PNG file.

    The arguments and errors are those of `load_image`.
    """
    if isinstance(image, np.ndarray):
        return png_of(np.ascontiguousarray(check_pixels(image)[..., ::-1]))
    return _decoded(image, lambda data: stored_image(data)[0])


def load_image(image: Image, max_pixels: int) -> np.ndarray:
    """Returns an image as uint8 RGB [h, w, 3].

    Args:
        image: A path, the bytes of a JPEG, PNG, BMP or WebP, or uint8 RGB [h, w, 3], which stays.
        max_pixels: Files of more pixels are refused before they are decoded.

    Raises:
        RefusedImages: If a file is not a whole image.
        UserError: If there is no such file.
        ValueError: If an array is not uint8 RGB.
    """
    if isinstance(image, np.ndarray):
        return check_pixels(image)
    return _decoded(image, lambda data: shown_pixels(data, max_pixels)[..., ::-1])


def _decoded(image: str | Path | bytes, decode: Callable[[bytes], Any]) -> Any:
    """Calls a decoder with the bytes of an image."""
    is_data = isinstance(image, bytes)
    try:
        return decode(image if is_data else read_bytes(image))
    except CorruptImage as error:
        raise RefusedImages(f"{'an image' if is_data else image}: {error}; give a whole JPEG, PNG, "
                            "BMP or WebP.") from None


def check_pixels(image: Any) -> np.ndarray:
    """Returns an image that is a uint8 RGB array [h, w, 3].

    Raises:
        ValueError: If it is anything else.
    """
    kind = getattr(image, "dtype", type(image).__name__)
    if kind != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError("an image must be a path, bytes, or a uint8 RGB array [h, w, 3], received "
                         f"{kind} {getattr(image, 'shape', '')}")
    return image


def resize_image(image: np.ndarray, height: int, width: int, dtype: str = "float32") -> np.ndarray:
    """Resizes an image as training does; see `tfreid.layers.preprocessing.resize_images`.

    Args:
        image: uint8 or float [h, w, 3], in 0-255.
        height: Target height in pixels.
        width: Target width in pixels.
        dtype: `float32`, or `uint8` to round to whole levels.

    Returns:
        An array [height, width, 3] of that type.
    """
    if image.shape[:2] != (height, width):
        rows, columns = _weights(image.shape[0], height), _weights(image.shape[1], width)
        image = np.tensordot(rows, image.astype(np.float32), 1)
        image = np.tensordot(columns, image, (1, 1)).transpose(1, 0, 2)
    return np.rint(image).astype(dtype) if dtype == "uint8" else image.astype(dtype)


def as_input(crops: np.ndarray, layout: str, mean: Sequence[float],
             deviation: Sequence[float]) -> np.ndarray:
    """Turns crops into what a graph takes, as the loader does that it was made for.

    Args:
        crops: RGB in 0-255, [n, height, width, 3].
        layout: `NHWC`, which leaves the crops as they are, or `NCHW`.
        mean: Subtracted from each colour.
        deviation: Then divided by.

    Returns:
        The crops, or float32 [n, 3, height, width]. What is no such array stays as it is.
    """
    if layout == "NHWC" or crops.ndim != 4 or crops.shape[-1] != 3:
        return crops
    found = np.empty((len(crops), 3, *crops.shape[1:3]), np.float32)
    for channel in range(3):
        colour = found[:, channel]
        np.subtract(crops[..., channel], np.float32(mean[channel]), colour)
        colour /= np.float32(deviation[channel])
    return found


@functools.lru_cache(512)
def _weights(source: int, target: int) -> np.ndarray:
    """Returns float32 [target, source]: how much each pixel of a line adds to each new one."""
    scale = source / target
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centres[:, np.newaxis]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
