"""Subsets of the training images, and images held out for validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.config import SubsetConfig
from tfreid.records import SplitIndex


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
    count = round(config.validation * len(things))
    least = 2
    if min(count, len(things) - count) < least:
        raise UserError(f"data.subset.validation of {config.validation:g} leaves {count} of "
                        f"{len(things)} {'identities' if by_identity else 'images'} for validation "
                        f"and {len(things) - count} for training; each side needs {least} or more.")
    drawn = random.permutation(things)[:count]
    return np.isin(identities if by_identity else things, drawn)
