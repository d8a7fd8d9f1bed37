"""Instance normalisation and non-local blocks in device formats, for any number of images."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.convolution import conv_in
from tfreid.layers.non_local import non_local_block
from tfreid.serving.formats.freezing import freeze
from tfreid.serving.formats.registry import FORMATS, convert

NEEDS = {"litert": (), "onnx": ("onnx", "tf2onnx", "onnxruntime"), "openvino": ("openvino",)}


@pytest.mark.parametrize("name", NEEDS)
def test_maps_are_those_of_the_model(name, tmp_path):
    for module in NEEDS[name]:
        pytest.importorskip(module)
    inputs = keras.Input((8, 6, 3))
    outputs = non_local_block(conv_in(inputs, 4, 3, "conv", strides=2), "pairs")
    model = keras.Model(inputs, outputs)
    draw = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(draw.uniform(0.5, 1.5, weight.shape))
    spec = tf.TensorSpec((None, 8, 6, 3), tf.float32)
    frozen = freeze(lambda images: {"maps": model(images, training=False)}, {"images": spec})
    file = tmp_path / f"maps{FORMATS[name].SUFFIX}"
    convert(name, frozen, file, "float32", ())
    run = FORMATS[name].open_graph(file, 1)
    for count in (1, 3):
        images = draw.normal(size=(count, 8, 6, 3)).astype(np.float32)
        expected = model(images, training=False).numpy()
        assert np.ptp(expected) > 1
        np.testing.assert_allclose(run({"images": images})["maps"], expected, rtol=1e-4, atol=1e-4)
