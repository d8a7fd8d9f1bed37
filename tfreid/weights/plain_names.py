"""Names of a checkpoint's weights, without what wrappers and toolboxes put in front of them."""

from __future__ import annotations

import collections
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.weights.layouts import LAYOUTS

# Counters of batch normalisation and of PyTorch's weight average, which no layer here has.
_COUNTERS = ("num_batches_tracked", "n_averaged")
_DEEPEST = 8

Names = tuple[str, ...]


class PlainNames(NamedTuple):
    """A checkpoint under plain names.

    Attributes:
        weights: Arrays by the file's keys without prefixes and without counters.
        canonical: Name in the backbone's layout of each of them; other names are unchanged.
        inside: Those from within the module of the backbone, where the file has one.
        counters: Number of counters, which are left out.
    """

    weights: dict[str, np.ndarray]
    canonical: dict[str, str]
    inside: frozenset[str]
    counters: int


def plain_names(
    state: Mapping[str, np.ndarray], backbone: str, source: str | os.PathLike
) -> PlainNames:
    """Finds the backbone's module in a checkpoint by its layers, and removes prefixes.

    Every key loses the leading modules that it shares with the backbone's: with a backbone in
    `module.base`, `module.base.conv1.weight` becomes `conv1.weight` and `module.fc.weight` becomes
    `fc.weight`.

    Raises:
        UserError: If the file holds a weight twice, as it does with two networks in it.
    """
    split = {key: tuple(key.split(".")) for key in state}
    keys = {key: parts for key, parts in split.items() if parts[-1] not in _COUNTERS}
    rename, prefix = _find_backbone(list(keys.values()), backbone, source)
    shared = _shared_length(keys.values())
    weights, canonical, inside, origins = {}, {}, set(), {}
    for key, parts in keys.items():
        length = _common_length(parts[:-1], prefix)
        name = ".".join(parts[length:])
        if name in weights:
            raise twice(name, origins[name], key, source)
        weights[name], origins[name] = state[key], key
        canonical[name] = rename(name, backbone)
        if length == len(prefix) > shared:
            inside.add(name)
    return PlainNames(weights, canonical, frozenset(inside), len(state) - len(keys))


def twice(name: str, first: str, second: str, source: str | os.PathLike) -> UserError:
    """Returns the error for a file with two keys for one weight."""
    return UserError(
        f"{os.fspath(source)} holds {name} twice, as {first} and {second}; save the weights of one "
        "network only."
    )


def _find_backbone(keys: Sequence[Names], backbone, source):
    """Returns the naming and the prefix with which most keys are those of the backbone."""
    layout = LAYOUTS[backbone]
    wanted = {pair.theirs for pair in layout.weight_pairs(backbone)}
    found = collections.defaultdict(list)
    for parts in keys:
        for length in range(min(len(parts), _DEEPEST)):
            name = ".".join(parts[length:])
            for rename in layout.renames:
                if rename(name, backbone) in wanted:
                    found[rename, parts[:length]].append(name)
    best, names = max(found.items(), key=lambda item: len(item[1]), default=((None, ()), []))
    rivals = [prefix for (_, prefix), others in found.items()
              if prefix != best[1] and len(others) == len(names)]
    if not rivals and names:
        return best
    if 2 * len(names) > len(wanted):
        raise twice(names[0], *(".".join((*prefix, names[0])) for prefix in (best[1], rivals[0])),
                    source)
    # Another network: nothing is known but what all keys share.
    return layout.renames[0], keys[0][: _shared_length(keys)] if keys else ()


def _shared_length(keys) -> int:
    """Returns how many leading modules all keys share."""
    keys = list(keys)
    return min((_common_length(parts[:-1], keys[0]) for parts in keys), default=0)


def _common_length(parts: Names, others: Names) -> int:
    for length, (part, other) in enumerate(zip(parts, others)):
        if part != other:
            return length
    return min(len(parts), len(others))
