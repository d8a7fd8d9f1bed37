"""The report of a conversion: lines on each weight of a checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import yaml

from tfreid.config import ModelConfig
from tfreid.weights.convert import Conversion, MisfitError
from tfreid.weights.layouts import LAYOUTS

_TRUNK_SETTINGS = ("backbone", "normalization", "stem", "last_stride", "non_local",
                   "non_local_channels")


def describe(
    conversion: Conversion, source: str, target: str | None, recipe: ModelConfig | None = None
) -> Iterator[str]:
    """Yields lines on what was left out and why, how much was converted, and the recipe.

    Args:
        conversion: The conversion.
        source: Path of the checkpoint.
        target: Path of the weight file, or None if none is written.
        recipe: The `model` section of the recipe that will use the weights, if there is one.
    """
    for key, reason in conversion.unmatched.items():
        yield f"no place for {key}: {reason}"
    for key, (found, wanted) in conversion.misshaped.items():
        yield f"left out {key}: {_shape(found)} in the file, {_shape(wanted)} in the model"
    for key in conversion.missing:
        yield f"not in the file: {key}; training starts it from its initial values"
    for reason, items in _by_reason(conversion.dropped):
        yield f"dropped {', '.join(items)}: {reason}"
    if conversion.counters:
        yield f"dropped {conversion.counters} batch counters (num_batches_tracked)"
    for note in conversion.notes:
        yield f"note: {note}"
    trained = conversion.settings.get("stem")
    if recipe and trained and recipe.stem != trained:
        yield (
            f"note: the recipe has model.stem {recipe.stem}, which is another function of the "
            f"weights than {trained}, with which the file's names suggest they were trained"
        )
    layers = {key.partition("/")[0] for key in conversion.weights}
    parameters = sum(array.size for array in conversion.weights.values())
    yield (
        f"{source}: {len(conversion.weights)} weights of {len(layers)} layers, {parameters:,} "
        f"numbers -> {target or 'nothing written'}"
    )
    yield from _recipe(conversion, target, recipe)


def describe_misfit(error: MisfitError) -> Iterator[str]:
    """Yields what does not fit, if at least half of the network is in the checkpoint."""
    if error.matched < len(error.missing) + len(error.misshaped):
        return
    for key in error.missing:
        yield f"missing in the file: {key}"
    for key, (found, wanted) in error.misshaped.items():
        yield f"of another shape: {key}, {_shape(found)} in the file, {_shape(wanted)} here"
    for key in error.surplus:
        yield f"of another network: {key}"


def list_weights(conversion: Conversion) -> Iterator[str]:
    """Yields every converted weight: the file's key, ours, and its shape here."""
    for key, array in conversion.weights.items():
        yield f"{conversion.sources[key]} -> {key} {_shape(array.shape)}"


def _recipe(conversion, target, recipe):
    settings = {"backbone": conversion.backbone, "normalization": "torch", **conversion.settings}
    identities = settings.pop("num_identities", None)
    if recipe:
        # The head is the recipe's own; the file's may be another.
        settings = {key: settings[key] for key in _TRUNK_SETTINGS if key in settings}
        yield "what the recipe's model section needs, to train from these weights:"
    else:
        yield "the recipe's model section, to train from these weights or to evaluate them:"
    lines = yaml.safe_dump({"model": settings}, sort_keys=False).splitlines()
    weights = f"  weights: {target or 'FILE.weights.h5'}  # to train"
    yield from itertools.chain(lines[:2], [weights], lines[2:])
    if identities and "classifier/kernel" in conversion.weights:
        yield f"  # the classifier has {identities} identities"
    if "last_stride" in settings:
        yield "  # strides are in no checkpoint; this last_stride is the toolbox's default"
    elif settings.get("neck") and LAYOUTS[conversion.backbone].last_stride_varies:
        yield "  # strides are in no checkpoint; Bag of Tricks and fast-reid set last_stride: 1"


def _by_reason(dropped):
    reasons = {}
    for key, reason in dropped.items():
        reasons.setdefault(reason, []).append(key)
    return reasons.items()


def _shape(shape):
    return "x".join(map(str, shape)) or "scalar"
