"""Gates that weight the channels of feature maps: OSNet's and squeeze-and-excitation."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.layers.convolution import he_normal


@keras.saving.register_keras_serializable(package="tfreid")
class AggregationGate(keras.layers.Layer):
    """Sums feature maps, each weighted per channel by one shared, input-dependent gate.

    Computes sum_t G(x_t) * x_t of Zhou et al., "Omni-Scale Feature Learning for Person
    Re-Identification" (ICCV 2019), Eq. 3: G averages a map over its area, squeezes the channels,
    applies ReLU, expands them again and ends in a sigmoid. All maps pass through G at once.

    Args:
        reduction: Channels per hidden unit of G.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    REDUCTION = 16

    def __init__(self, reduction: int = REDUCTION, **kwargs):
        """Keeps the settings."""
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, input_shape):
        """Creates G's weights for a list of shapes [n, h, w, c] of equal c."""
        channels = input_shape[0][-1]
        hidden = channels // self.reduction
        self.squeeze_kernel = self.add_weight(
            name="squeeze_kernel", shape=(channels, hidden), initializer=he_normal("fan_out")
        )
        self.squeeze_bias = self.add_weight(
            name="squeeze_bias", shape=(hidden,), initializer="zeros"
        )
        self.expand_kernel = self.add_weight(
            name="expand_kernel", shape=(hidden, channels), initializer=he_normal("fan_out")
        )
        self.expand_bias = self.add_weight(
            name="expand_bias", shape=(channels,), initializer="zeros"
        )
        self.built = True

    def call(self, inputs):
        """Weights and sums the maps of a list, each [n, h, w, c], into one [n, h, w, c]."""
        maps = len(inputs)
        dtype = inputs[0].dtype
        # Half-precision sums over a whole map lose digits.
        pooled = [tf.reduce_mean(tf.cast(x, tf.float32), [1, 2]) for x in inputs]
        pooled = tf.cast(tf.concat(pooled, 0), dtype)
        hidden = tf.nn.relu(tf.matmul(pooled, self.squeeze_kernel) + self.squeeze_bias)
        gates = tf.sigmoid(tf.matmul(hidden, self.expand_kernel) + self.expand_bias)
        gates = tf.split(gates[:, None, None, :], maps)
        return tf.add_n([x * gate for x, gate in zip(inputs, gates)])

    def compute_output_shape(self, input_shape):
        """Returns the shape of one input."""
        return input_shape[0]

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "reduction": self.reduction}


@keras.saving.register_keras_serializable(package="tfreid")
class SqueezeExcitation(AggregationGate):
    """Weights each channel of a feature map [n, h, w, c] by a gate computed from the whole map.

    Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), Eq. 2-4, with biases. OSNet's gate
    over a single map is the same function.
    """

    def build(self, input_shape):
        """Creates the weights for inputs [n, h, w, c]."""
        super().build([input_shape])

    def call(self, inputs):
        """Returns the weighted map [n, h, w, c]."""
        return super().call([inputs])

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape
