"""Squeeze-and-excitation."""

from __future__ import annotations

from tfreid.layers.gate import AggregationGate


class SqueezeExcitation(AggregationGate):
    """Weights each channel of a feature map [n, h, w, c] by a gate that has seen the whole map.

    Hu et al., "Squeeze-and-Excitation Networks" (CVPR 2018), Eq. 2-4, with biases. OSNet's gate
    over a single map is the same function.
    """

    def build(self, input_shape):
        """Makes the weights for inputs [n, h, w, c]."""
        super().build([input_shape])

    def call(self, inputs):
        """Returns the weighted map [n, h, w, c]."""
        return super().call([inputs])

    def compute_output_shape(self, input_shape):
        """Returns the input's shape."""
        return input_shape
