"""Batch normalisation of feature maps in one fused operation on Keras 2 and 3."""

from __future__ import annotations

import keras
import tensorflow as tf


class _FusedBatchNormalization(keras.layers.BatchNormalization):
    """What Keras 2 does by itself: Keras 3 chains a dozen operations over the whole map instead.

    The moving variance is unbiased, as in Keras 2 and in PyTorch.
    """

    def call(self, inputs, training=None, mask=None):
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


def batch_norm(x, name: str, momentum: float = 0.9, epsilon: float = 1e-5):
    """Normalises each channel of a feature map over the batch.

    Args:
        x: Feature map [n, h, w, c].
        name: Name of the layer; its weights are `gamma`, `beta`, `moving_mean` and
            `moving_variance`.
        momentum: Share of the moving statistics that a step keeps.
        epsilon: Added to the variance.

    Returns:
        Normalised feature map [n, h, w, c].
    """
    keras_2 = keras.__version__.startswith("2.")
    layer = keras.layers.BatchNormalization if keras_2 else _FusedBatchNormalization
    return layer(momentum=momentum, epsilon=epsilon, name=name)(x)
