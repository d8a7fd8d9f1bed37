"""The convolution similarity and its gradient, compared with TensorFlow's operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tfreid.benchmarks.measuring import rounded, timed
from tfreid.layers.convolution_similarity import correlate, correlate_plain

# The CSN's level 2 at 160x60.
_MAP = (40, 15, 96)
_PARTS = (3, 10, 10, 96)
_TURNS = 3


def measure_similarity(batch: int) -> dict[str, Any]:
    """Times `correlate` and `correlate_plain` and their gradients, alternately."""
    random = np.random.default_rng(0)
    maps, filters, upstream = (
        tf.constant(random.standard_normal((batch, *shape), np.float32))
        for shape in (_MAP, _PARTS, (*_MAP[:2], _PARTS[0], _MAP[2]))
    )
    inputs = {"forward": (maps, filters), "gradient": (maps, filters, upstream)}
    work = {
        (name, what): (function, inputs[what])
        for name, similarity in (("ours", correlate), ("plain", correlate_plain))
        for what, function in (("forward", tf.function(similarity)),
                               ("gradient", tf.function(_gradients(similarity))))
    }
    results = {key: function(*arguments) for key, (function, arguments) in work.items()}
    seconds = {key: [] for key in work}
    for _ in range(_TURNS):
        for key, (function, arguments) in work.items():
            seconds[key].append(timed(lambda f=function, x=arguments: _finish(f(*x)))[0])
    figures = {"batch_size": batch, "map": list(_MAP), "parts": list(_PARTS)}
    for what in inputs:
        ours, plain = np.array(seconds["ours", what]), np.array(seconds["plain", what])
        figures.update({
            f"{what}_seconds": rounded(np.median(ours)),
            f"plain_{what}_seconds": rounded(np.median(plain)),
            f"{what}_ratio": rounded(np.median(plain / ours)),
            f"{what}_ratios": [rounded(ratio) for ratio in plain / ours],
            f"{what}_largest_relative_difference": rounded(
                _difference(results["ours", what], results["plain", what])),
        })
    return figures


def _gradients(similarity):
    def gradients(maps, filters, upstream):
        with tf.GradientTape() as tape:
            tape.watch([maps, filters])
            outputs = similarity(maps, filters)
        return tape.gradient(outputs, [maps, filters], upstream)

    return gradients


def _finish(outputs) -> None:
    """Waits until the device has finished."""
    for tensor in tf.nest.flatten(outputs):
        tensor[:1].numpy()


def _difference(found, expected) -> float:
    """Returns the largest difference of any tensor relative to its largest value."""
    return max(
        float(tf.reduce_max(tf.abs(x - y)) / tf.reduce_max(tf.abs(y)))
        for x, y in zip(tf.nest.flatten(found), tf.nest.flatten(expected))
    )
