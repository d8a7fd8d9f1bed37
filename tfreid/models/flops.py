"""Size and cost of a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.models.embedding import input_size
from tfreid.systems.csn.network import pair_parts
from tfreid.systems.csn.settings import Settings as CsnSettings

# Guo and Cheung 2018, Table 5: parameters and FLOPs by levels, for images of 160x60.
_CSN_PAPER = {
    (2, 3): {"params": 500_000, "flops": 960_000_000},
    (2, 3, 4): {"params": 800_000, "flops": 1_310_000_000},
}
_CSN_PAPER_SIZE = [160, 60, 3]


def describe_model(config: Config, model: keras.Model) -> dict[str, Any]:
    """Describes an embedding model.

    Args:
        config: Its settings.
        model: The model.

    Returns:
        `name`; `trainable_params` and `params` with the classifier; `flops`, 2 x multiply-adds of
        the feature of one image; `input_shape` [height, width, 3], with `model.longest_side` that
        of an image of `model.height` x `model.width`; `embedding_size`.
    """
    height, width = config.model.height, config.model.width
    shape = (*map(int, input_size(config.model).of(height, width)), 3)
    output = config.evaluation.feature
    return {
        "name": config.name,
        "trainable_params": _parameters(model.trainable_weights),
        "params": _parameters(model.weights),
        "flops": count_flops(
            lambda images: model(images, training=False)[output],
            tf.TensorSpec((1, *shape), tf.float32),
        ),
        "input_shape": list(shape),
        "embedding_size": int(model.output[output].shape[-1]),
    }


def describe_csn(config: Config, model: keras.Model) -> dict[str, Any]:
    """Describes a CSN.

    Not counted are products of stacks of matrices (BatchMatMul): here they are the bilinear
    sampler's. That it multiplies by dense interpolation matrices, of which four weights a sample
    are not zero, is a matter of speed and no property of the network.

    Args:
        config: Its settings.
        model: What `tfreid.systems.csn.network.build_csn` made of them.

    Returns:
        `name`; `levels`; `trainable_params`, and `params` with the batch norms' statistics; `flops`
        of one pair, 2 x multiply-adds of both images extracted and compared; `flops_extract` of
        one image and `flops_compare` of one pair, which are its parts; `input_shape` [height,
        width, 3]; and for the paper's networks `paper_table_5`, what the paper counts.
    """
    shape = [config.model.height, config.model.width, 3]
    parts = pair_parts(model)
    extract = count_flops(
        lambda images: parts.extract(images, training=False),
        tf.TensorSpec((1, *shape), tf.float32),
    )
    compare = count_flops(
        lambda features: parts.compare(features, training=False),
        {name: tf.TensorSpec((1, *value.shape[1:]), tf.float32)
         for name, value in parts.compare.input.items()},
    )
    described = {
        "name": config.name,
        "levels": list(config.csn.levels),
        "trainable_params": _parameters(model.trainable_weights),
        "params": _parameters(model.weights),
        "flops": 2 * extract + compare,
        "flops_extract": extract,
        "flops_compare": compare,
        "input_shape": shape,
    }
    levels = tuple(config.csn.levels)
    # Neither ablations nor other image sizes are in the table.
    full = CsnSettings(levels=list(levels))
    if levels in _CSN_PAPER and config.csn == full and shape == _CSN_PAPER_SIZE:
        described["paper_table_5"] = _CSN_PAPER[levels]
    return described


def count_flops(function, *inputs) -> int:
    """Counts 2 x multiply-adds of the convolutions and matrix products of one call.

    Args:
        function: Any function of tensors that TensorFlow can trace.
        *inputs: `tf.TensorSpec` with full shapes, or nests of them.
    """
    graph = tf.function(function).get_concrete_function(*inputs).graph
    # What the result does not need, such as the classifier, does not run.
    needed = {tensor.op for tensor in graph.outputs}
    waiting = list(needed)
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in needed:
                needed.add(tensor.op)
                waiting.append(tensor.op)
    return sum(_COUNTERS[op.type](op) for op in needed if op.type in _COUNTERS)


def _parameters(weights) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def _size(tensor) -> int:
    return int(np.prod(tensor.shape.as_list()))


def _convolution(op) -> int:
    height, width, channels, _ = op.inputs[1].shape.as_list()
    return 2 * _size(op.outputs[0]) * height * width * channels


def _depthwise_convolution(op) -> int:
    height, width, _, _ = op.inputs[1].shape.as_list()
    return 2 * _size(op.outputs[0]) * height * width


def _matrix_product(op) -> int:
    rows = op.inputs[0].shape.as_list()
    transposed = op.get_attr("transpose_a")
    return 2 * _size(op.outputs[0]) * (rows[-2] if transposed else rows[-1])


_COUNTERS = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise_convolution,
    "MatMul": _matrix_product,
}
