"""Traced functions with their weights as constants, which all converters read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tfreid.serving.formats.card import TensorCard


class FrozenGraph(NamedTuple):
    """A function of named tensors [n, ...] without variables.

    Attributes:
        function: Returns its outputs as a list, in the order of `outputs`.
        inputs: Name, shape and type of its arguments, in order.
        outputs: Those of its results.
    """

    function: Any
    inputs: list[TensorCard]
    outputs: list[TensorCard]

    @property
    def nodes(self) -> tuple[list[str], list[str]]:
        """Names of the tensors of the graph for the inputs and outputs."""
        return ([x.name for x in self.function.inputs], [x.name for x in self.function.outputs])

    @property
    def renamed(self) -> dict[str, str]:
        """Name of a tensor of the graph -> name of the input or output."""
        cards = self.inputs + self.outputs
        return dict(zip(sum(self.nodes, []), (card.name for card in cards)))


def freeze(function: Callable[..., Mapping[str, tf.Tensor]],
           specs: Mapping[str, tf.TensorSpec]) -> FrozenGraph:
    """Traces a function of named tensors and turns its variables into constants.

    Args:
        function: Takes tensors by name and returns outputs by name.
        specs: Name -> shape and type of an argument.
    """
    # TensorFlow offers this nowhere else; its own LiteRT converter and tf2onnx use it.
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    traced = tf.function(lambda **inputs: function(**inputs)).get_concrete_function(
        **{name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()})
    outputs = traced.structured_outputs
    frozen = convert_variables_to_constants_v2(traced)
    return FrozenGraph(
        frozen, [_card(tensor.name.partition(":")[0], tensor) for tensor in frozen.inputs],
        [_card(name, tensor) for name, tensor in zip(sorted(outputs), frozen.outputs)])


def _card(name: str, tensor: tf.Tensor) -> TensorCard:
    return TensorCard(name, tensor.shape.as_list(), tensor.dtype.name)
