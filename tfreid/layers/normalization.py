"""Batch normalisation on Keras 2 and 3, its mixture with instance normalisation, and the neck."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfreid")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation of feature maps in one operation, as in Keras 2; Keras 3 runs a dozen.

    The moving variance is unbiased, as in Keras 2 and in PyTorch.
    """

    def call(self, inputs, training=None, mask=None):
        """Returns the normalised maps [n, h, w, c]; training updates the moving statistics."""
        updates = bool(training and self.trainable)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(self.gamma),
            tf.convert_to_tensor(self.beta),
            mean=tf.convert_to_tensor(self.moving_mean),
            variance=tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,
            is_training=updates,
            exponential_avg_factor=1.0 - self.momentum if updates else 1.0,
        )
        if updates:
            self.moving_mean.assign(mean)
            self.moving_variance.assign(variance)
        return outputs


@keras.saving.register_keras_serializable(package="tfreid")
class InstanceNormalization(keras.layers.Layer):
    """Normalises each channel of each image by its own mean and variance, in float32.

    Ulyanov et al., "Instance Normalization" (2016), with a scale and a shift per channel. It equals
    Keras's `GroupNormalization(groups=-1)`, whose reshaping and broadcasting LiteRT cannot run with
    a free number of images.

    Args:
        epsilon: Added to the variance.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, epsilon: float = 1e-5, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.epsilon = epsilon

    def build(self, input_shape):
        """Creates `gamma` and `beta` [c]."""
        self.gamma, self.beta = (
            self.add_weight(name=name, shape=(input_shape[-1],), initializer=initializer)
            for name, initializer in (("gamma", "ones"), ("beta", "zeros")))
        super().build(input_shape)

    def call(self, inputs):
        """Returns the normalised maps [n, h, w, c]."""
        mean, variance = tf.nn.moments(inputs, (1, 2), keepdims=True)
        scale = tf.convert_to_tensor(self.gamma) * tf.math.rsqrt(variance + self.epsilon)
        return inputs * scale + (tf.convert_to_tensor(self.beta) - mean * scale)

    def compute_output_shape(self, input_shape):
        """Returns the shape of the maps."""
        return input_shape

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="tfreid")
class Halves(keras.layers.Layer):
    """Splits the channels of a feature map [n, h, w, c] into two equal parts."""

    def call(self, inputs):
        """Returns both halves, [n, h, w, c / 2] each."""
        return tf.split(inputs, 2, axis=-1)

    def compute_output_shape(self, input_shape):
        """Returns [n, h, w, c / 2] twice."""
        half = (*input_shape[:-1], input_shape[-1] // 2)
        return [half, half]


def batch_norm(x, name: str, momentum: float = 0.9, epsilon: float = 1e-5, **settings):
    """Normalises each channel of a feature map over the batch.

    Args:
        x: Feature map [n, h, w, c].
        name: Name of the layer; its weights are `gamma`, `beta`, `moving_mean` and
            `moving_variance`.
        momentum: Momentum of the moving statistics.
        epsilon: Added to the variance.
        **settings: Further arguments of `keras.layers.BatchNormalization`.

    Returns:
        Normalised feature map [n, h, w, c].
    """
    keras_2 = keras.__version__.startswith("2.")
    layer = keras.layers.BatchNormalization if keras_2 else FusedBatchNormalization
    return layer(momentum=momentum, epsilon=epsilon, name=name, **settings)(x)


def instance_batch_norm(x, name: str, epsilon: float = 1e-5):
    """Normalises the first half of the channels per instance and the second half over the batch.

    Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net" (ECCV
    2018), Fig. 3 (a).

    Args:
        x: Feature map [n, h, w, c] with an even number of channels.
        name: The layers are `NAME_in` and `NAME_bn`, beside `NAME_halves` and `NAME_join`.
        epsilon: Added to the variances.

    Returns:
        Normalised feature map [n, h, w, c].
    """
    first, second = Halves(name=f"{name}_halves")(x)
    first = InstanceNormalization(epsilon, name=f"{name}_in")(first)
    second = batch_norm(second, f"{name}_bn", epsilon=epsilon)
    return keras.layers.Concatenate(name=f"{name}_join")([first, second])


def batch_norm_neck(x, name: str = "neck", bias: bool = False):
    """Normalises the embeddings that the classifier sees; the metric loss sees them as they are.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (2019),
    Section 3.6, with momentum 0.9.

    Args:
        x: Embeddings [n, c].
        name: Name of the layer.
        bias: Whether to train the shift beta. The paper fixes it at zero, so that the identities
            stay around the origin; the layer then has no such weight.

    Returns:
        Normalised float32 embeddings [n, c].
    """
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, center=bias, dtype="float32", name=name
    )(x)
