"""Checkpoints of PyTorch toolboxes turned into this project's weights."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import keras
import numpy as np

from tfrecords.errors import UserError, shortened
from tfreid.backbones import BACKBONES
from tfreid.weights.checkpoints import LONGEST_NAME, read_state_dict
from tfreid.weights.files import check_finite, weight_keys
from tfreid.weights.layouts import LAYOUTS
from tfreid.weights.layouts.heads import Classifier, convert_head
from tfreid.weights.plain_names import PlainNames, plain_names, twice

Shape = tuple[int, ...]
# Shapes of a model; None is a number of identities that is not set.
OpenShape = tuple[Optional[int], ...]


@dataclass(frozen=True)
class Conversion:
    """Converted weights, and what happened to the other ones.

    Keys of the file are without prefixes.

    Attributes:
        backbone: Name of the backbone.
        weights: float32 arrays by our keys.
        sources: The file's key of each of our keys.
        counters: Number of batch counters, which are left out.
        dropped: Keys of the file that are not needed, with reasons.
        unmatched: Keys of the file that the model has no place for, with reasons.
        missing: Head weights of the requested model that the file lacks.
        misshaped: Head weights of another shape, each with its shape in the file and the requested
            one; their layers are left out completely.
        settings: Settings of a recipe's `model` section that fit the weights.
        notes: Further information for the user.
    """

    backbone: str
    weights: dict[str, np.ndarray]
    sources: dict[str, str]
    counters: int
    dropped: dict[str, str]
    unmatched: dict[str, str]
    missing: tuple[str, ...]
    misshaped: dict[str, tuple[Shape, Shape]]
    settings: dict[str, Any]
    notes: tuple[str, ...]


class MisfitError(UserError):
    """A checkpoint of another network.

    Attributes:
        matched: Number of the backbone's weights that the file has.
        missing: Keys of the backbone that the file lacks.
        misshaped: Our keys with the shape in the file and the requested one.
        surplus: Keys of the file that belong to a backbone, but not to a layer of this one.
    """

    def __init__(self, message: str, trunk: _Trunk):
        """Takes the lists from a trunk that does not fit."""
        super().__init__(message)
        self.matched = len(trunk.weights)
        self.missing = trunk.missing
        self.misshaped = trunk.misshaped
        self.surplus = trunk.surplus


def convert_checkpoint(
    path: str,
    backbone: str,
    classifier: Classifier | None = None,
    model_shapes: Mapping[str, OpenShape] | None = None,
) -> Conversion:
    """Converts a checkpoint of one of the toolboxes that `convert_head` lists.

    Args:
        path: File that `read_state_dict` reads.
        backbone: Name in `LAYOUTS`.
        classifier: Whether to keep the classifier. Defaults to yes unless it is ImageNet's.
        model_shapes: Shapes by our keys of the model that will receive the weights; None in a shape
            is the file's number of identities. Defaults to the head that the file has.

    Raises:
        UserError: If the file cannot be read, its weights are not finite, or its classifier cannot
            be kept as requested.
        MisfitError: If the file holds the weights of another network.
    """
    return convert_state(read_state_dict(path), backbone, classifier, model_shapes, path)


def convert_state(
    state: Mapping[str, np.ndarray],
    backbone: str,
    classifier: Classifier | None = None,
    model_shapes: Mapping[str, OpenShape] | None = None,
    source: str = "the checkpoint",
) -> Conversion:
    """Converts arrays by PyTorch's keys; see `convert_checkpoint`."""
    layout, channels = LAYOUTS[backbone], BACKBONES[backbone].channels
    names = plain_names(state, backbone, source)
    _refuse_other_network(names.weights, backbone, source)
    weights, note = layout.adapt(names.weights)
    names = names._replace(weights=weights)
    _refuse_repeated(names, source)
    trunk = _fit_trunk(names, backbone)
    _refuse_misfit(trunk, state, backbone, source)
    found = layout.found(weights, backbone)
    _refuse_layers_without_place(trunk, found, model_shapes, source)
    rest = {key: value for key, value in weights.items() if key not in trunk.sources.values()}
    head = convert_head(rest, channels, classifier)
    unknown = {key: value for key, value in rest.items()
               if key not in head.dropped and key not in head.sources.values()}
    trunk.surplus.extend(_inner_layers(unknown, names.inside, channels))
    _refuse_misfit(trunk, state, backbone, source, others=False)
    wanted = None if model_shapes is None else _wanted_head(model_shapes, trunk, head)
    weights, misshaped, unmatched = _place_head(head, rest, wanted)
    if classifier == "keep":
        _refuse_lost_classifier(head, weights, misshaped, source)
    weights = {**trunk.weights, **weights}
    sources = {**trunk.sources, **head.sources}
    check_finite({sources[key]: array for key, array in weights.items()}, source)
    return Conversion(
        backbone=backbone,
        weights={key: np.array(x, np.float32, order="C") for key, x in weights.items()},
        sources={key: sources[key] for key in weights},
        counters=names.counters,
        dropped=head.dropped,
        unmatched=unmatched,
        missing=tuple(sorted((wanted or {}).keys() - head.weights)),
        misshaped=misshaped,
        settings={**layout.settings(state, backbone), **_as_recipe(found), **head.settings},
        notes=(*([note] if note else []), *head.notes),
    )


class _Trunk(NamedTuple):
    """How a file fits a backbone; dictionaries have our keys, lists the file's."""

    weights: dict[str, np.ndarray]
    sources: dict[str, str]
    missing: list[str]
    misshaped: dict[str, tuple[Shape, Shape]]
    surplus: list[str]

    @property
    def fits(self):
        return not (self.missing or self.misshaped or self.surplus)


def _refuse_repeated(names: PlainNames, source):
    """Refuses a file with two namings of a weight, of which only one could be converted."""
    origins = {}
    for key, name in names.canonical.items():
        if origins.setdefault(name, key) != key:
            raise twice(name, origins[name], key, source)


def _fit_trunk(names: PlainNames, backbone):
    keys = {name: key for key, name in names.canonical.items()}
    trunk = _Trunk({}, {}, [], {}, [])
    found = LAYOUTS[backbone].found(names.weights, backbone)
    shapes = _trunk_shapes(backbone, **found)
    pairs = LAYOUTS[backbone].weight_pairs(backbone, **found)
    for pair in pairs:
        key = keys.get(pair.theirs)
        if key is None:
            trunk.missing.append(pair.theirs)
            continue
        trunk.sources[pair.ours] = key
        array = _transform(pair, names.weights[key])
        if array.shape == shapes[pair.ours]:
            trunk.weights[pair.ours] = array
        else:
            trunk.misshaped[pair.ours] = (array.shape, shapes[pair.ours])
    roots = {pair.theirs.partition(".")[0] for pair in pairs}
    used = set(trunk.sources.values())
    trunk.surplus.extend(
        key for name, key in keys.items() if key not in used and name.partition(".")[0] in roots
    )
    return trunk


def _inner_layers(unknown, inside, channels):
    """Lists unknown weights of layers within the backbone, without which it computes others.

    These are in its module (non-local blocks in fast-reid and AGW) or, where the file has none for
    it, convolve maps of other channels than the last one's.
    """
    inner = [key for key in unknown if key in inside]
    if inside:
        return inner
    inputs = {}
    for key, array in unknown.items():
        if array.ndim == 4:
            inputs.setdefault(key.partition(".")[0], set()).add(array.shape[1])
    modules = {module for module, found in inputs.items() if channels not in found}
    return [key for key in unknown if key.partition(".")[0] in modules]


@functools.cache  # building a backbone takes seconds
def _trunk_shapes(backbone, **settings):
    images = keras.Input((None, None, 3))
    model = keras.Model(images, BACKBONES[backbone](images, **settings))
    return {key: tuple(variable.shape) for key, variable in weight_keys(model).items()}


def _transform(pair, array):
    try:
        return pair.transform(array)
    except (IndexError, ValueError):
        # An array of other axes cannot be reordered; its shape will not fit.
        return array


def _refuse_other_network(state, backbone, source):
    other = LAYOUTS[backbone].other_network(state, backbone)
    if other:
        raise UserError(
            f"{os.fspath(source)} holds the weights of {other}; {backbone} is another network, so "
            "give a checkpoint of it."
        )


def _refuse_misfit(trunk, state, backbone, source, others=True):
    if trunk.fits:
        return
    total = len(trunk.weights) + len(trunk.missing) + len(trunk.misshaped)
    counts = [
        f"{len(keys)} {kind} ({', '.join(list(keys)[:2])}{', ...' if len(keys) > 2 else ''})"
        for kind, keys in [
            ("missing", trunk.missing),
            ("of another shape", trunk.misshaped),
            ("that it does not have", trunk.surplus),
        ]
        if keys
    ]
    some = [shortened(key, LONGEST_NAME) for key in [*state][:: max(1, len(state) - 1)]]
    fitting = _fitting_backbone(state, backbone, source) if others else None
    if fitting:
        fix = f"its weights are those of {fitting}, so give that as the architecture"
    elif others:
        fix = "it fits no other backbone of this project either"
    else:
        fix = "without these it would compute other features"
    raise MisfitError(
        f"{os.fspath(source)} does not hold the weights of {backbone}: {len(trunk.weights)} of "
        f"{total} match, {', '.join(counts)}, where its keys are like {' and '.join(some)}; {fix}.",
        trunk,
    )


def _refuse_layers_without_place(trunk, found, model_shapes, source):
    """Refuses layers of the backbone that the wanted model lacks or has in another size."""
    if model_shapes is None or not found or all(
            model_shapes.get(key) == array.shape for key, array in trunk.weights.items()):
        return
    settings = " and ".join(f"model.{name} to {'null' if value is None else value}"
                            for name, value in _as_recipe(found).items())
    raise UserError(f"{os.fspath(source)} has layers of the backbone that the recipe's model "
                    f"lacks or has in another size; set {settings}.")


def _as_recipe(found):
    """Returns settings of a backbone as a recipe has them."""
    return {name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()}


def _fitting_backbone(state, but, source):
    """Finds another backbone that all weights fit; building one for its shapes takes a second."""
    for backbone, layout in LAYOUTS.items():
        if backbone == but:
            continue
        names = plain_names(state, backbone, source)
        if layout.other_network(names.weights, backbone):
            continue
        canonical = set(names.canonical.values())
        has_all = all(pair.theirs in canonical for pair in layout.weight_pairs(backbone))
        if has_all and _fit_trunk(names, backbone).fits:
            return backbone
    return None


def _wanted_head(model_shapes, trunk, head):
    """Returns the shapes of a model's head, with the file's number of identities for None."""
    kernel = head.weights.get("classifier/kernel")
    identities = None if kernel is None else kernel.shape[1]
    return {
        key: tuple(identities if size is None else size for size in model_shapes[key])
        for key in model_shapes.keys() - trunk.weights
    }


def _place_head(head, rest, wanted):
    """Returns a head's weights that fit a model, those of other shapes, and the other keys.

    Without a model all weights fit. Layers are taken completely or not at all.
    """
    shift = head.weights.get("neck/beta")
    if shift is not None and "neck/beta" not in (wanted or {}) and not np.any(shift):
        del head.weights["neck/beta"]
        head.dropped[head.sources["neck/beta"]] = "zero, as Bag of Tricks keeps the neck's shift"
    weights, misshaped, unmatched = {}, {}, {}
    broken = {}
    for key in wanted or ():
        found = head.weights.get(key)
        layer = key.partition("/")[0]
        if found is None:
            broken.setdefault(layer, f"the file has no {key}")
        elif found.shape != wanted[key]:
            misshaped[key] = (found.shape, wanted[key])
            broken[layer] = f"{key} does not fit"
    for key, array in head.weights.items():
        layer = key.partition("/")[0]
        if wanted is not None and key not in wanted:
            unmatched[head.sources[key]] = f"the wanted model has no {key}"
        elif layer not in broken:
            weights[key] = array
        elif key not in misshaped:
            unmatched[head.sources[key]] = f"{broken[layer]}, so {layer} is left out completely"
    known = {*head.sources.values(), *head.dropped}
    unmatched.update({key: "unknown here" for key in rest if key not in known})
    return weights, misshaped, unmatched


def _refuse_lost_classifier(head, weights, misshaped, source):
    lost = [key for key in head.weights if key.startswith("classifier/") and key not in weights]
    misfit = next((key for key in lost if key in misshaped), None)
    if "classifier/kernel" not in head.weights:
        reason = "the file has no classifier of the features of this backbone and its head"
    elif misfit:
        found, wanted = ("x".join(map(str, shape)) for shape in misshaped[misfit])
        reason = f"{misfit} is {found} in the file and {wanted} in the model"
    elif lost:
        reason = f"the model and the file must both have a bias or none, and {lost[0]} has no place"
    else:
        return
    raise UserError(
        f"{os.fspath(source)}: the classifier cannot be kept, because {reason}; change the model's "
        "settings or drop it by --classifier drop."
    )
