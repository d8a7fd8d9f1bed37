"""Small layers of models that compare images: rows taken, regrouped, scaled, and set apart."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tfreid.losses.distances import paired_euclidean, unit_length


@keras.saving.register_keras_serializable(package="tfreid")
class TakeRows(keras.layers.Layer):
    """Takes rows of a tensor by their positions; under mixed precision too they keep their type."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        """Returns the rows [n, ...] of the values `inputs[0]` [m, ...] at `inputs[1]` [n]."""
        values, positions = inputs
        return tf.gather(values, tf.cast(positions, tf.int32))

    def compute_output_shape(self, input_shape):
        """Returns [n, ...]."""
        return (input_shape[1][0], *input_shape[0][1:])


@keras.saving.register_keras_serializable(package="tfreid")
class Regroup(keras.layers.Layer):
    """Reshapes to [n, *shape], so that several rows become one or one becomes several.

    Under mixed precision too the values keep their type.

    Args:
        shape: All sides but the first of the result.
    """

    def __init__(self, shape: Sequence[int], **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.shape = tuple(shape)

    def call(self, inputs):
        """Returns [n, *shape]."""
        return tf.reshape(inputs, (-1, *self.shape))

    def compute_output_shape(self, input_shape):
        """Returns [None, *shape]."""
        return (None, *self.shape)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "shape": self.shape}


@keras.saving.register_keras_serializable(package="tfreid")
class UnitLength(keras.layers.Layer):
    """Divides each row of [n, d] by its Euclidean length."""

    def call(self, inputs):
        """Returns unit vectors [n, d]."""
        return unit_length(inputs)


@keras.saving.register_keras_serializable(package="tfreid")
class PairDistance(keras.layers.Layer):
    """Euclidean distances between the rows of two matrices."""

    def call(self, inputs):
        """Returns the distances [n] between `inputs[0]` and `inputs[1]`, both [n, d]."""
        return paired_euclidean(*inputs)

    def compute_output_shape(self, input_shape):
        """Returns [n]."""
        return (input_shape[0][0],)
