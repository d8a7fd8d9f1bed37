"""Resizing and normalisation of images, as part of the model."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

# mode: (channels reversed to BGR, scale of the 0-255 range, mean and deviation per channel).
_MODES = {
    "torch": (False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": (True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "unit": (False, 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class InputSize:
    """The size that images are resized to.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        longest_side: Length in pixels of an image's longer side, which replaces height and width
            and keeps the aspect ratio, rounded to a pixel (Almazan et al., "Re-ID done right",
            2018, Section 3.2). None for a fixed size.

    Example:
    >>> tfreid.InputSize(256, 128).of(80, 50)
    (256, 128)
    """

    height: int
    width: int
    longest_side: int | None = None

    def of(self, height, width) -> tuple:
        """Returns the height and width that images are resized to.

        Args:
            height: Original height in pixels: an integer, or an array or tensor of integers.
            width: Original width in pixels.
        """
        if self.longest_side is None:
            return self.height, self.width
        greatest = tf.maximum if tf.is_tensor(height) else np.maximum
        longest = greatest(height, width)
        # Integers, so that NumPy and TensorFlow round alike.
        return tuple(
            greatest((2 * side * self.longest_side + longest) // (2 * longest), 1)
            for side in (height, width)
        )


def resize_images(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes images bilinearly, with half-pixel centres and a wider kernel where they shrink.

    The wider kernel averages over all pixels that a target pixel covers, so that large crops do not
    alias. It costs five times as much, and gives the same result for images that grow.

    Args:
        images: Images [n, h, w, 3] or one image [h, w, 3], of any numeric type and any size.
        height: Target height in pixels, an integer or a scalar tensor.
        width: Target width in pixels, an integer or a scalar tensor.

    Returns:
        float32 images [n, height, width, 3] or [height, width, 3]; values keep their range.
    """
    fixed = not tf.is_tensor(height)
    if fixed and tuple(images.shape[-3:-1]) == (height, width):
        return tf.cast(images, tf.float32)
    if images.dtype != tf.uint8:  # whose large photographs would take four times the memory
        images = tf.cast(images, tf.float32)
    size = tf.stack([tf.cast(height, tf.int32), tf.cast(width, tf.int32)])
    resize = functools.partial(tf.image.resize, images, (height, width) if fixed else size)
    shrinks = tf.reduce_any(tf.shape(images)[-3:-1] > size)
    return tf.cond(shrinks, lambda: resize(antialias=True), resize)


@keras.saving.register_keras_serializable(package="tfreid")
class ImagePreprocessing(keras.layers.Layer):
    """Turns raw RGB images of any size into the input of a backbone.

    It computes in float32 and returns the layer's compute dtype.

    Args:
        height: Height in pixels that images are resized to.
        width: Width in pixels that images are resized to.
        mode: "torch" subtracts the ImageNet mean from images in 0-1 and divides by the standard
            deviation; "caffe" reverses the channels to BGR and subtracts the ImageNet mean from
            images in 0-255, as the ResNet-50 weights of Keras Applications expect; "unit" only
            scales to 0-1.
        longest_side: Length in pixels of the longer side of the batch's images, which replaces
            height and width and keeps the aspect ratio; see `InputSize`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If `mode` is unknown.
    """

    def __init__(self, height: int, width: int, mode: str = "torch",
                 longest_side: int | None = None, **kwargs):
        """Checks the mode."""
        # Keras must not round 0-255 to half precision before the layer sees it.
        super().__init__(autocast=False, **kwargs)
        # XLA lacks the resizing operation; Keras 3 would compile the whole model with it.
        self.supports_jit = False
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
        self.size = InputSize(height, width, longest_side)
        self.mode = mode

    def call(self, images):
        """Turns images [n, h, w, 3], uint8 or float in 0-255, into [n, height, width, 3]."""
        reverse, scale, mean, deviation = _MODES[self.mode]
        # On a GPU only floating-point images can be resized.
        images = resize_images(tf.cast(images, tf.float32), *self._target(images))
        if reverse:
            images = images[..., ::-1]
        return tf.cast((images / scale - mean) / deviation, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns [n, height, width, 3]; sides that depend on the images are None."""
        sides = (self.size.height, self.size.width)
        if self.size.longest_side is not None:
            known = None not in input_shape[1:3]
            sides = map(int, self.size.of(*input_shape[1:3])) if known else (None, None)
        return (input_shape[0], *sides, input_shape[-1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "height": self.size.height,
            "width": self.size.width,
            "longest_side": self.size.longest_side,
            "mode": self.mode,
        }

    def _target(self, images):
        height, width = images.shape[1:3]
        if self.size.longest_side is not None and None in (height, width):
            height, width = tf.unstack(tf.shape(images)[1:3])
        return self.size.of(height, width)
