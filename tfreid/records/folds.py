"""Folds: several ways to divide the identities of one stored set of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import Manifest
from tfrecords.schema import NO_LABEL

# Split -> its part of a fold, and its role in it.
_SPLITS = {
    "train": ("train", None),
    "val_query": ("val", "query"),
    "val_gallery": ("val", "gallery"),
    "query": ("test", "query"),
    "gallery": ("test", "gallery"),
}


def split_names(manifest: Manifest) -> list[str]:
    """Returns the available splits: train, validation, query, gallery, then others."""
    names = set(manifest.splits)
    if manifest.identity_splits:
        parts = set().union(*manifest.identity_splits)
        names = {name for name, (part, _) in _SPLITS.items() if part in parts}
    return [*(name for name in _SPLITS if name in names), *sorted(names - _SPLITS.keys())]


def check_fold(directory: Path, manifest: Manifest, fold: int) -> None:
    """Raises a `UserError` if the records do not have the fold."""
    count = len(manifest.identity_splits)
    if not 0 <= fold < max(count, 1):
        fix = f"has {count} folds; set it to 0 to {count - 1}" if count else (
            "has no folds; set it to 0")
        raise UserError(f"data.fold is {fold} but {directory} {fix}.")


def select_images(fold: dict[str, list[int]], split: str, ids: np.ndarray,
                  cameras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns increasing positions [n] of the images of a fold's split, and their labels [n].

    `train` contains all images of the training identities, labelled by their rank among them. The
    queries are each test identity's images by its lowest-numbered camera; the gallery contains its
    other images. `fold` maps `train`, `test` and perhaps `val` to sorted identities.
    """
    part, role = _SPLITS[split]
    people = np.array(fold.get(part, ()), np.int64)
    chosen = np.isin(ids, people)
    if role is None:
        positions = np.flatnonzero(chosen)
        return positions, np.searchsorted(people, ids[positions])
    # Sorted by identity, then camera, the first image of an identity has its lowest camera.
    order = np.lexsort((cameras, ids))
    identities, first = np.unique(ids[order], return_index=True)
    lowest = cameras[order][first][np.searchsorted(identities, ids)]
    positions = np.flatnonzero(chosen & ((cameras == lowest) == (role == "query")))
    return positions, np.full(len(positions), NO_LABEL, np.int64)
