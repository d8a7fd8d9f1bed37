"""Hard sigmoid and hard swish at worked points."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.activations import HardSigmoid, HardSwish

POINTS = tf.constant([-9.0, -3.0, -1.5, 0.0, 1.5, 3.0, 9.0])
SIGMOIDS = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_hard_sigmoid():
    np.testing.assert_allclose(HardSigmoid()(POINTS), SIGMOIDS, atol=1e-7)


def test_hard_swish():
    expected = [0.0, 0.0, -0.375, 0.0, 1.125, 3.0, 9.0]
    np.testing.assert_allclose(HardSwish()(POINTS), expected, atol=1e-6)


@pytest.mark.parametrize("layer", [HardSigmoid, HardSwish])
def test_half_precision(layer):
    assert layer(dtype="mixed_bfloat16")(POINTS).dtype == tf.bfloat16
