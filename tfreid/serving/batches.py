"""Batches inside a served graph: slice by slice, of as many rows on each side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

# Rows that go through the network together, which bounds memory.
SLICE = 64
# What the error of inputs with different numbers of rows says.
UNEQUAL_ROWS = "the inputs must have one number of rows, but have"


def in_slices(function: Callable[..., Mapping[str, tf.Tensor]],
              *inputs: Any) -> dict[str, tf.Tensor]:
    """Calls a function with `SLICE` rows at a time, or fewer, and joins its outputs.

    Without rows the outputs have none either.

    Args:
        function: Maps tensors [n, ...] to outputs [n, ...] by name, whose other sides are known.
        *inputs: Its arguments: tensors [n, ...], or nests of them.

    Raises:
        tf.errors.InvalidArgumentError: If the inputs differ in the number of rows.
    """
    rows, check = same_rows(*inputs)
    traced = _traced(function, inputs)
    names = sorted(traced.structured_outputs)
    specs = [traced.structured_outputs[name] for name in names]
    with tf.control_dependencies([check]):
        slices = -(-rows // SLICE)
    found = [tf.TensorArray(spec.dtype, 0, dynamic_size=True, infer_shape=False,
                            element_shape=[None, *spec.shape[1:]]) for spec in specs]

    def add(number, found):
        part = slice(number * SLICE, (number + 1) * SLICE)
        outputs = traced(*tf.nest.flatten(tf.nest.map_structure(lambda x: x[part], inputs)))
        return number + 1, [array.write(number, outputs[name])
                            for array, name in zip(found, names)]

    _, found = tf.while_loop(lambda number, _: number < slices, add, (0, found),
                             parallel_iterations=1)
    return {name: tf.ensure_shape(array.concat(), [None, *spec.shape[1:]])
            for name, array, spec in zip(names, found, specs)}


def all_pairs(function: Callable[..., Mapping[str, tf.Tensor]], queries: Any,
              gallery: Any) -> dict[str, tf.Tensor]:
    """Calls a function of q and g rows, whose outputs are [q, g], unless one side has no rows.

    Raises:
        tf.errors.InvalidArgumentError: If the tensors of a side differ in the number of rows.
    """
    traced = _traced(function, (queries, gallery))
    shape, checks = zip(same_rows(queries), same_rows(gallery))
    with tf.control_dependencies(checks):
        return tf.cond(
            tf.minimum(*shape) > 0, lambda: traced(*tf.nest.flatten((queries, gallery))),
            lambda: {name: tf.zeros(shape, spec.dtype)
                     for name, spec in traced.structured_outputs.items()})


def same_rows(*inputs: Any) -> tuple[tf.Tensor, tf.Operation]:
    """Returns the number of rows of tensors [n, ...], and an operation that fails if it differs."""
    counts = tf.stack([tf.shape(x)[0] for x in tf.nest.flatten(inputs)])
    return counts[0], tf.debugging.Assert(
        tf.reduce_all(tf.equal(counts, counts[0])),
        [UNEQUAL_ROWS, counts])


def _traced(function: Callable[..., Any], inputs: Any) -> Any:
    return tf.function(function).get_concrete_function(*tf.nest.map_structure(
        lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), inputs))
