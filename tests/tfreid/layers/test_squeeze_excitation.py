"""Squeeze-and-excitation against NumPy."""

from __future__ import annotations

import keras
import numpy as np

from tfreid.layers.gate import SqueezeExcitation
from tfreid.weights.files import weight_keys


def test_formula_and_weights():
    generator = np.random.default_rng(0)
    inputs = keras.Input((4, 3, 32))
    model = keras.Model(inputs, SqueezeExcitation(name="se")(inputs))
    variables = weight_keys(model)
    shapes = {key.split("/")[1]: tuple(variable.shape) for key, variable in variables.items()}
    assert shapes == {
        "squeeze_kernel": (32, 2),
        "squeeze_bias": (2,),
        "expand_kernel": (2, 32),
        "expand_bias": (32,),
    }
    values = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    for key, variable in variables.items():
        variable.assign(values[key.split("/")[1]])
    maps = generator.normal(size=(5, 4, 3, 32)).astype(np.float32)
    pooled = maps.mean((1, 2))
    hidden = np.maximum(pooled @ values["squeeze_kernel"] + values["squeeze_bias"], 0)
    gates = 1 / (1 + np.exp(-(hidden @ values["expand_kernel"] + values["expand_bias"])))
    assert model.output_shape == (None, 4, 3, 32)
    np.testing.assert_allclose(model(maps), maps * gates[:, None, None], atol=1e-5)
