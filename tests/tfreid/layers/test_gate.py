"""The aggregation gate against NumPy."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.layers.gate import AggregationGate

STREAMS = [
    np.random.default_rng(seed).normal(size=(3, 5, 4, 32)).astype(np.float32) for seed in range(4)
]


def test_each_map_is_gated_by_its_own_average():
    layer = AggregationGate(reduction=16)
    layer.build([stream.shape for stream in STREAMS])
    generator = np.random.default_rng(9)
    for variable in layer.trainable_weights:
        variable.assign(generator.normal(size=variable.shape))
    squeeze, squeeze_bias, expand, expand_bias = (v.numpy() for v in layer.trainable_weights)
    assert squeeze.shape == (32, 2)
    expected = 0
    for stream in STREAMS:
        hidden = np.maximum(stream.mean((1, 2)) @ squeeze + squeeze_bias, 0)
        gate = 1 / (1 + np.exp(-(hidden @ expand + expand_bias)))
        expected = expected + stream * gate[:, None, None, :]
    np.testing.assert_allclose(layer([tf.constant(s) for s in STREAMS]), expected, atol=1e-5)


def test_config_round_trip_and_half_precision():
    layer = AggregationGate(reduction=8, name="gate", dtype="mixed_float16")
    copy = AggregationGate.from_config(layer.get_config())
    assert (copy.reduction, copy.name) == (8, "gate")
    assert copy([tf.constant(s) for s in STREAMS]).dtype == tf.float16
