"""Views: the training, query and gallery images of one identity split, of images stored once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import STORED_SPLIT, Manifest
from tfrecords.schema import NO_LABEL

# View -> the part of an identity split that it shows, and whether as queries or as gallery.
_VIEWS = {
    "train": ("train", None),
    "val_query": ("val", "query"),
    "val_gallery": ("val", "gallery"),
    "query": ("test", "query"),
    "gallery": ("test", "gallery"),
}


@dataclasses.dataclass(frozen=True)
class View:
    """Some images of the stored split `images`: positions [n], increasing, and labels [n]."""

    positions: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)


def available_splits(manifest: Manifest) -> set[str]:
    """Returns the names that a reader of these records may ask for."""
    if not manifest.identity_splits:
        return set(manifest.splits)
    parts = set.union(*(set(split) for split in manifest.identity_splits))
    return {name for name, (part, _) in _VIEWS.items() if part in parts}


def check_number(directory: str | Path, manifest: Manifest, number: int) -> None:
    """Raises a `UserError` if `data.fold` is not among the records' identity splits."""
    count = len(manifest.identity_splits)
    if not 0 <= number < max(count, 1):
        mend = (f"holds {count} identity splits; set it to 0 to {count - 1}" if count else
                "holds no identity splits; set it to 0")
        raise UserError(f"data.fold is {number} but {directory} {mend}.")


def check_split(directory: str | Path, manifest: Manifest, split: str) -> None:
    """Raises a `UserError` if a reader of these records may not ask for the split."""
    names = available_splits(manifest)
    if split not in names:
        raise UserError(f"{directory} holds no split {split!r}; it has "
                        f"{', '.join(sort_splits(names))}.")


def sort_splits(names: set[str]) -> list[str]:
    """Sorts names of splits: train, validation, query, gallery, then others."""
    return [*(name for name in _VIEWS if name in names), *sorted(names - _VIEWS.keys())]


def make_view(
    manifest: Manifest, split: str, number: int, ids: np.ndarray, cameras: np.ndarray
) -> View:
    """Chooses the images of a view.

    `train` holds all images of the training identities, labelled by position among them. Queries
    are a test identity's images by its lowest-numbered camera; the gallery holds its others.

    Args:
        manifest: Of records with identity splits.
        split: One of `available_splits`.
        number: Which identity split.
        ids: Person of every stored image, [images].
        cameras: Their cameras, [images].
    """
    part, role = _VIEWS[split]
    people = np.array(manifest.identity_splits[number].get(part, ()), np.int64)
    chosen = np.isin(ids, people)
    if role is None:
        positions = np.flatnonzero(chosen)
        return View(positions, np.searchsorted(people, ids[positions]))
    # Ties of identity and camera aside, the first of a sorted identity has its lowest camera.
    order = np.lexsort((cameras, ids))
    identities, first = np.unique(ids[order], return_index=True)
    lowest = cameras[order][first][np.searchsorted(identities, ids)]
    positions = np.flatnonzero(chosen & ((cameras == lowest) == (role == "query")))
    return View(positions, np.full(len(positions), NO_LABEL, np.int64))


def stored_split(manifest: Manifest, split: str) -> str:
    """Returns the split on disk that holds a view's images."""
    return STORED_SPLIT if manifest.identity_splits else split
