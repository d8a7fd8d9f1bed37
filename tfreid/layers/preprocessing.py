"""Resizing and normalisation of images, as part of the model."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

# mode: (channels reversed to BGR, scale of the 0-255 range, mean and deviation per channel).
_MODES = {
    "torch": (False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": (True, 1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "unit": (False, 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def resize_images(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes images bilinearly, with half-pixel centres and a wider kernel where they shrink.

    The wider kernel averages over all pixels that a target pixel covers: without it, crops much
    larger than the target would alias. It costs five times as much and gives the same result where
    images grow, so it serves only where they shrink.

    Args:
        images: Images [n, h, w, 3] or one image [h, w, 3], of any number type and any size.
        height: Target height in pixels.
        width: Target width in pixels.

    Returns:
        float32 images [n, height, width, 3] or [height, width, 3]; values keep their range.
    """
    images = tf.cast(images, tf.float32)
    if tuple(images.shape[-3:-1]) == (height, width):
        return images
    resize = functools.partial(tf.image.resize, images, (height, width))
    shrinks = tf.reduce_any(tf.shape(images)[-3:-1] > (height, width))
    return tf.cond(shrinks, lambda: resize(antialias=True), resize)


class ImagePreprocessing(keras.layers.Layer):
    """Turns raw RGB images of any size into the input of a backbone.

    Computes in float32 and returns the layer's compute type.

    Args:
        height: Height in pixels that images are resized to.
        width: Width in pixels that images are resized to.
        mode: "torch" subtracts the ImageNet mean from images in 0-1 and divides by the standard
            deviation; "caffe" reverses the channels to BGR and subtracts the ImageNet mean from
            images in 0-255, as the ResNet-50 weights of Keras Applications expect; "unit" only
            scales to 0-1.

    Raises:
        ValueError: The mode is none of these.
    """

    def __init__(self, height: int, width: int, mode: str = "torch", **kwargs):
        # Keras must not round 0-255 to half precision before the layer sees it.
        super().__init__(autocast=False, **kwargs)
        # XLA lacks the resizing operation; Keras 3 would compile the whole model with it.
        self.supports_jit = False
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(_MODES)}, got {mode!r}")
        self.height = height
        self.width = width
        self.mode = mode

    def call(self, images):
        """Turns images [n, h, w, 3], uint8 or float in 0-255, into [n, height, width, 3]."""
        reverse, scale, mean, deviation = _MODES[self.mode]
        images = resize_images(images, self.height, self.width)
        if reverse:
            images = images[..., ::-1]
        return tf.cast((images / scale - mean) / deviation, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Returns [n, height, width, 3]."""
        return (input_shape[0], self.height, self.width, input_shape[-1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "mode": self.mode,
        }
