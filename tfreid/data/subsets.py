"""Subsets of the training images, and images held out for validation, as query and gallery."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.config import SubsetConfig
from tfreid.records import Records, SplitIndex


class Subset(NamedTuple):
    """Increasing positions of the images for training and for validation."""

    training: np.ndarray
    validation: np.ndarray


def draw_subset(index: SplitIndex, config: SubsetConfig) -> Subset:
    """Draws identities, images of them, and the part that is held out.

    Every drawn identity contributes the same number of images, or all that it has. The result
    depends only on the training images' `index` and the seed.

    Raises:
        UserError: If there are too few identities or images, or one side becomes too small.
    """
    random = np.random.default_rng([config.seed, len(index)])
    identities, of_image, counts = np.unique(
        index.ids, return_inverse=True, return_counts=True)
    of_image = of_image.reshape(-1)
    each = _images_each(config, len(identities))
    chosen = _draw_identities(config, counts, each, random)
    kept = np.isin(of_image, chosen)
    if config.images is not None:
        kept &= _first_of_each(of_image, kept, config.images, random)
    positions = np.flatnonzero(kept)
    if not config.validation:
        return Subset(positions, positions[:0])
    held_out = _hold_out(of_image[positions], config, random)
    return Subset(positions[~held_out], positions[held_out])


def describe_subset(config: SubsetConfig) -> str:
    """Describes how validation images were held out, with a warning if that leaks."""
    if config.validation_by == "identity":
        return "people never trained on"
    return "LEAKING: images of people who are trained on"


def validation_records(records: Records, config: SubsetConfig) -> Records | None:
    """Returns records whose query and gallery show the identities to validate on.

    These are held out of the training images if `config` says so; their queries are drawn by
    `split_sides`. Otherwise they are the validation identities of the records, where there are any.

    Raises:
        UserError: As in `draw_subset`.
    """
    if not config.validation:
        if "val_query" in records and "val_gallery" in records:
            return records.validating(records["val_query"], records["val_gallery"])
        return None
    train = records["train"]
    held_out = draw_subset(train.index, config).validation
    sides = split_sides(train.index.take(held_out), config.seed)
    return records.validating(*(train.part(held_out[side]) for side in sides))


def split_sides(index: SplitIndex, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divides images as Market-1501 does: a query for every camera that an identity is seen by.

    A query is a random image, or tracklet where images have one, and the gallery is all images,
    since none by the query's own camera counts. Only a query by an unknown camera, which would find
    itself, is taken out of the gallery; of an identity without cameras there is one. The drawing
    does not depend on the order of the images.

    Args:
        index: The images.
        seed: Non-negative integer.

    Returns:
        Increasing positions of the queries and of the gallery.
    """
    order = np.argsort(index.paths, kind="stable")
    order = np.random.default_rng([seed, len(index)]).permutation(order)
    views = np.stack([index.ids, np.maximum(index.cameras, -1)], axis=1)
    drawn = order[np.unique(views[order], axis=0, return_index=True)[1]]
    # An image without a tracklet is a unit of its own.
    units = np.where(index.tracklets >= 0, index.tracklets, -1 - np.arange(len(index)))
    query = np.isin(units, units[drawn])
    return np.flatnonzero(query), np.flatnonzero(~query | (index.cameras >= 0))


def _images_each(config, count):
    """Returns how many images every drawn identity should have, or None for any number."""
    if config.images is None or config.identities is None:
        return None
    return -(-config.images // min(config.identities, count))


def _draw_identities(config, counts, each, random):
    """Draws increasing positions among the identities."""
    able = np.flatnonzero(counts >= (each or 1))
    wanted = len(counts) if config.identities is None else config.identities
    if wanted > len(able):
        images = f" with {each:,} images or more" if each else ""
        raise UserError(
            f"data.subset.identities is {wanted} but there are only {len(able)} training identities"
            f"{images}; lower it{', or data.subset.images' if each else ''}.")
    return np.sort(random.permutation(able)[:wanted])


def _first_of_each(of_image, kept, count, random):
    """Marks `count` of the kept images, taking one of each identity in turn, in random order."""
    available = int(np.count_nonzero(kept))
    if count > available:
        raise UserError(f"data.subset.images is {count:,} but there are only {available:,}; lower "
                        "it.")
    positions = random.permutation(np.flatnonzero(kept))
    order = positions[np.argsort(of_image[positions], kind="stable")]
    identities = of_image[order]
    place = np.arange(len(order)) - np.searchsorted(identities, identities)
    marked = np.zeros(len(of_image), bool)
    marked[order[np.argsort(place, kind="stable")[:count]]] = True
    return marked


def _hold_out(identities, config, random):
    """Marks the held-out part: whole identities, or single images."""
    by_identity = config.validation_by == "identity"
    things = np.unique(identities) if by_identity else np.arange(len(identities))
    count = round(config.validation * (len(things) if config.validation < 1 else 1))
    least = 2
    if min(count, len(things) - count) < least:
        raise UserError(f"data.subset.validation of {config.validation:g} leaves {count} of "
                        f"{len(things)} {'identities' if by_identity else 'images'} for validation "
                        f"and {len(things) - count} for training; each side needs {least} or more.")
    drawn = random.permutation(things)[:count]
    return np.isin(identities if by_identity else things, drawn)
