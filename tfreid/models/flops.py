"""Size and cost of a model."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.models.embedding import input_size


class Cost(NamedTuple):
    """The cost of one call of a function.

    Attributes:
        flops: 2 x multiply-adds of its convolutions and matrix products, but for those that
            multiply a matrix of each image with another of the same image.
        depth: How many of these the longest path through it has.
    """

    flops: int
    depth: int


def describe_model(config: Config, model: keras.Model) -> dict[str, Any]:
    """Describes an embedding model.

    Returns:
        `name`; `trainable_params` and `params`, with the classifier; `flops`, 2 x multiply-adds for
        the feature of one image; `depth`, the most convolutions and dense layers that one path to
        it has; `input_shape` [height, width, 3], with `model.longest_side` that of an image of
        `model.height` x `model.width`; `embedding_size`.
    """
    height, width = config.model.height, config.model.width
    shape = (*map(int, input_size(config.model).of(height, width)), 3)
    output = config.evaluation.feature
    cost = count_cost(lambda images: model(images, training=False)[output],
                      tf.TensorSpec((1, *shape), tf.float32))
    return {
        "name": config.name,
        "trainable_params": count_parameters(model.trainable_weights),
        "params": count_parameters(model.weights),
        **cost._asdict(),
        "input_shape": list(shape),
        "embedding_size": int(model.output[output].shape[-1]),
    }


def count_flops(function, *inputs) -> int:
    """Counts 2 x multiply-adds of the convolutions and matrix products of one call.

    Args:
        function: Any function of tensors that TensorFlow can trace.
        *inputs: `tf.TensorSpec` with full shapes, or nests of them.
    """
    return count_cost(function, *inputs).flops


def count_cost(function, *inputs) -> Cost:
    """Counts what one call costs, tracing it once; arguments as for `count_flops`."""
    flops, depths = 0, {}
    for op in _needed(function, inputs):
        above = max((depths[tensor.op] for tensor in op.inputs), default=0)
        depths[op] = above + (op.type in _COUNTERS)
        if op.type in _COUNTERS:
            flops += _COUNTERS[op.type](op)
    return Cost(flops, max(depths.values()))


def _needed(function, inputs):
    """Lists the operations that the result needs, each after those whose outputs it takes."""
    graph = tf.function(function).get_concrete_function(*inputs).graph
    # Operations that the result does not need, for example the classifier, do not run.
    needed = {tensor.op for tensor in graph.outputs}
    waiting = list(needed)
    while waiting:
        for tensor in waiting.pop().inputs:
            if tensor.op not in needed:
                needed.add(tensor.op)
                waiting.append(tensor.op)
    return [op for op in graph.get_operations() if op in needed]


def count_parameters(weights) -> int:
    """Counts the numbers in a list of weights."""
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
