"""Named streams of random numbers, which do not influence each other."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Stream(enum.IntEnum):
    """Purpose of a stream. Rendered images depend on the values: never renumber them."""

    PALETTE = 1
    IDENTITY = 2
    STRANGER = 3
    CAMERA = 4
    SCENE = 5
    TRACK = 6
    CROP = 7
    ROUTE = 8
    GRAIN = 9
    WALK = 10
    FILM = 11
    DETECTION = 12


def generator(seed: int, stream: Stream, *numbers: int) -> np.random.Generator:
    """Returns the generator of a seed, a stream and up to three non-negative numbers."""
    # A seed sequence ignores trailing zeros, so all entropy lists must have the same length.
    entropy = [seed, int(stream), *numbers, *([0] * (3 - len(numbers)))]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def pick(rng: np.random.Generator, items: Sequence[Item], weights: Sequence[float] = ()) -> Item:
    """Draws one of `items`, with relative `weights` where given."""
    if not weights:
        return items[int(rng.integers(len(items)))]
    edges = np.cumsum(weights)
    place = np.searchsorted(edges, rng.random() * edges[-1], side="right")
    return items[min(int(place), len(items) - 1)]
