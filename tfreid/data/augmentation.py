"""Training-time augmentation: NumPy draws every random number, TensorFlow applies them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid import addons
from tfreid.config import AugmentationConfig
from tfreid.layers.preprocessing import resize_images

# Erased pixels take the ImageNet mean, which normalisation turns into zero.
MEAN_COLOR = (123.675, 116.28, 103.53)
_ERASING_ATTEMPTS = 100


def draw_augmentations(
    config: AugmentationConfig, count: int, height: int, width: int, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draws the random numbers of `count` images, so that (seed, epoch) fixes them.

    Args:
        config: Probabilities and ranges.
        count: Number of images.
        height: Height of the network's input in pixels.
        width: Its width.
        random: Source of the numbers.

    Returns:
        `flip` [count] of bool; `shift` [count, 2], rows and columns by which the padded image
        moves, in [-pad, pad]; `erase` [count, 4], top, left, bottom, right of the erased rectangle
        (all 0 for none); `color` [count, 4], factors of brightness, contrast and saturation and
        the shift of the hue as a share of the circle.
    """
    ranges = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    color = random.uniform(-ranges, ranges, (count, 4))
    color[random.random(count) >= config.color_probability] = 0.0
    return {
        "flip": random.random(count) < config.flip_probability,
        "shift": random.integers(-config.pad, config.pad, (count, 2), np.int32, endpoint=True),
        "erase": _draw_rectangles(config, count, height, width, random),
        "color": (color + (1.0, 1.0, 1.0, 0.0)).astype(np.float32),
    }


def augment(
    image: tf.Tensor,
    drawn: dict[str, tf.Tensor],
    config: AugmentationConfig,
    height: int,
    width: int,
) -> tf.Tensor:
    """Flips, colours, resizes, shifts and erases one image.

    Args:
        image: uint8 RGB [h, w, 3] of any size.
        drawn: One row of `draw_augmentations`.
        config: Says which steps can occur at all; the others cost nothing.
        height: Height of the network's input in pixels.
        width: Its width.

    Returns:
        float32 RGB [height, width, 3] in 0-255.
    """
    # What commutes with resizing runs before it, on fewer pixels.
    if config.flip_probability:
        image = tf.cond(drawn["flip"], lambda: tf.reverse(image, [1]), lambda: image)
    if config.color_probability:
        image = _jitter_color(tf.cast(image, tf.float32), drawn["color"], config.color_space)
    # Two dimensions copy faster than three, and few operations matter more than few bytes.
    size = (height, 3 * width)
    rows = tf.reshape(resize_images(image, height, width), size)
    if config.pad:
        rows = _shift(rows, drawn["shift"], size)
    if config.erasing_probability:
        box = drawn["erase"]
        rows = tf.cond(tf.reduce_any(box > 0), lambda: _erase(rows, box, size), lambda: rows)
    return tf.reshape(rows, (height, width, 3))


def _draw_rectangles(config, count, height, width, random):
    """Draws rectangles by rejection until they fit, as random erasing's Algorithm 1 does."""
    rectangles = np.zeros((count, 4), np.int32)
    pending = np.flatnonzero(random.random(count) < config.erasing_probability)
    for _ in range(_ERASING_ATTEMPTS):
        if not pending.size:
            break
        share = random.uniform(config.erasing_area_min, config.erasing_area_max, pending.size)
        aspect = random.uniform(
            config.erasing_aspect_min, 1.0 / config.erasing_aspect_min, pending.size
        )
        tall = np.rint(np.sqrt(share * height * width * aspect)).astype(int)
        wide = np.rint(np.sqrt(share * height * width / aspect)).astype(int)
        top = np.floor(random.random(pending.size) * (height - tall + 1)).astype(int)
        left = np.floor(random.random(pending.size) * (width - wide + 1)).astype(int)
        fits = (tall > 0) & (wide > 0) & (tall < height) & (wide < width)
        boxes = np.stack([top, left, top + tall, left + wide], axis=1)
        rectangles[pending[fits]] = boxes[fits]
        pending = pending[~fits]
    return rectangles


def _jitter_color(image, color, space):
    image = image * color[0]
    mean = tf.reduce_mean(image)
    image = (image - mean) * color[1] + mean
    if space == "yiq":
        image = addons.adjust_hsv_in_yiq(image, color[3] * 2.0 * np.pi, color[2], 1.0)
    else:
        image = tf.image.adjust_saturation(tf.image.adjust_hue(image, color[3]), color[2])
    return tf.clip_by_value(image, 0.0, 255.0)


def _shift(rows, shift, size):
    """Pads with zeros and crops back: a shift that brings in black borders."""
    shift = shift * (1, 3)
    below, above = tf.maximum(shift, 0), tf.maximum(-shift, 0)
    kept = tf.slice(rows, below, size - below - above)
    return tf.pad(kept, tf.stack([above, below], axis=1))


def _erase(rows, box, size):
    # Joining pieces copies memory; a mask over all pixels takes three times as long.
    top, left, bottom, right = tf.unstack(box * (1, 3, 1, 3))
    above, band, below = tf.split(rows, [top, bottom - top, size[0] - bottom], axis=0)
    before, erased, after = tf.split(band, [left, right - left, size[1] - right], axis=1)
    filled = tf.slice(np.full(size, np.tile(MEAN_COLOR, size[1] // 3), np.float32), [0, 0],
                      tf.shape(erased))
    return tf.concat([above, tf.concat([before, filled, after], axis=1), below], axis=0)
