"""Weights and images that two frameworks draw alike from a seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

# A non-local block multiplies what these three convolutions give.
_FACTORS = re.compile(r"\bNL_\d\.\d+\.(theta|phi|g)\.weight$")


def draw_state(
    names: Sequence[str], shapes: Sequence[Sequence[int]], seed: int
) -> dict[str, np.ndarray]:
    """Draws a PyTorch state dictionary, name by name in sorted order.

    Kernels are normal with variance 1 / fan-in, which keeps the maps of a deep residual network
    within a few powers of ten, and 0.4 of that deviation in non-local blocks; scales and variances
    are uniform in 0.5-1.5, exponents of a pooling in 2-4; the rest is normal with deviation 0.1.
    """
    generator = np.random.default_rng(seed)
    shape_of: Mapping[str, Sequence[int]] = dict(zip(names, shapes))
    state = {}
    for name in sorted(shape_of):
        shape = tuple(shape_of[name])
        if len(shape) > 1:
            value = generator.normal(0.0, np.prod(shape[1:]) ** -0.5, shape)
            if _FACTORS.search(name):
                value *= 0.4
        elif name.endswith((".weight", ".running_var")):
            value = generator.uniform(0.5, 1.5, shape)
        elif name.endswith(".p"):
            value = generator.uniform(2.0, 4.0, shape)
        else:
            value = generator.normal(0.0, 0.1, shape)
        state[name] = value.astype(np.float32)
    return state


def draw_images(shape: Sequence[int], seed: int) -> np.ndarray:
    """Draws normalised images [n, h, w, 3] from the seed after that of the weights."""
    return np.random.default_rng(seed + 1).normal(size=tuple(shape)).astype(np.float32)


def draw_crops(shape: Sequence[int], seed: int) -> np.ndarray:
    """Draws RGB images [n, h, w, 3] of whole numbers in 0-255 from the same seed."""
    return np.random.default_rng(seed + 1).integers(0, 256, tuple(shape)).astype(np.float32)
