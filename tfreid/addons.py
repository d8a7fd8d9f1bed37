"""All that comes from TensorFlow Addons, and the one clear error where it is not installed."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import tensorflow as tf

from tfrecords.errors import UserError

# The start of the notice that Addons gives, as a UserWarning, whenever it is imported.
_END_OF_LIFE = r"\s*TensorFlow Addons \(TFA\) has ended development"


def available() -> bool:
    """Tells whether TensorFlow Addons is installed and can be imported here."""
    return _module() is not None


def require(feature: str) -> ModuleType:
    """Returns the `tensorflow_addons` module, for a feature that cannot do without it.

    Args:
        feature: what the user asked for, as the setting that named it.

    Raises:
        UserError: Addons is not installed, or does not work with this TensorFlow.
    """
    module = _module()
    if module is None:
        raise UserError(
            f"{feature} needs TensorFlow Addons, which exists for Python 3.9-3.11 with TensorFlow "
            f"2.15 only; choose another setting for {feature} or install requirements.txt on such "
            "a Python.")
    return module


def adjust_hsv_in_yiq(images, delta_hue=0.0, scale_saturation=1.0,
                      scale_value=1.0) -> tf.Tensor:
    """Rotates the hue and scales the saturation and the brightness of whole batches of images.

    One change applies to all images given. It is a linear map of each pixel, in YIQ space:
    grey stays grey under any rotation.

    Args:
        images: [..., height, width, 3] RGB from 0 to 255, any numeric type.
        delta_hue: rotation in radians, a number or scalar tensor.
        scale_saturation, scale_value: factors, numbers or scalar tensors.

    Returns:
        Float32 of the same shape, clipped to 0-255.

    Raises:
        UserError: TensorFlow Addons is not installed.
    """
    module = require("colour augmentation in YIQ space")
    # Cast first: Addons would scale integers to 0-1 and round on the way back.
    adjusted = module.image.adjust_hsv_in_yiq(
        tf.cast(images, tf.float32), delta_hue, scale_saturation, scale_value)
    return tf.clip_by_value(adjusted, 0.0, 255.0)


def _module() -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_END_OF_LIFE, category=UserWarning)
        try:
            return importlib.import_module("tensorflow_addons")
        except (ImportError, AttributeError):
            # AttributeError: a copy of Addons beside a TensorFlow that it does not know.
            return None
