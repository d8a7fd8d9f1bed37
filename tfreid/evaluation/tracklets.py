"""What an evaluation ranks of a split: its images, or its tracklets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfreid.records import SplitIndex

IMAGES, TRACKLETS = "images", "tracklets"


@dataclasses.dataclass(frozen=True)
class RankedSplit:
    """The rows of a split that are ranked.

    name: of the split. index: what is known of each row [rows], by its first image. first: position
    in the split of that image, [rows], increasing. rows: row of each image of the split, [images].
    unit: what a row is, `images` or `tracklets`.
    """

    name: str
    index: SplitIndex
    first: np.ndarray
    rows: np.ndarray
    unit: str = IMAGES

    def __len__(self) -> int:
        return len(self.index)

    def frames(self, wanted: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
        """Finds the images of some rows, of increasing numbers, or of all where that is None.

        Returns:
            Positions [n] of the images, None for all of the split, and the place among the wanted
            rows [n] that each belongs to.
        """
        if wanted is None:
            return None, self.rows
        positions = np.flatnonzero(np.isin(self.rows, wanted))
        return positions, np.searchsorted(wanted, self.rows[positions])


def single_images(name: str, index: SplitIndex) -> RankedSplit:
    """Makes every image of a split a row."""
    places = np.arange(len(index))
    return RankedSplit(name, index, places, places)


def group_tracklets(name: str, index: SplitIndex, directory: str | Path) -> RankedSplit:
    """Makes every tracklet of a split a row, in the order of their first images.

    An image without a tracklet (id below 0) is a row of its own; a split without any tracklet is
    ranked image by image.

    Args:
        name: Of the split.
        index: What is known of its images.
        directory: The records, for messages.

    Raises:
        UserError: A tracklet shows two persons, or was taken by two cameras.
    """
    tracked = index.tracklets >= 0
    if not tracked.any():
        return single_images(name, index)
    # Below zero there is a number for each image that is alone.
    keys = np.where(tracked, index.tracklets, -1 - np.arange(len(index)))
    _, first, rows = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    split = RankedSplit(name, index.take(first[order]), first[order],
                        place[rows], TRACKLETS)
    for word, values, of_row in (("person", index.ids, split.index.ids),
                                 ("camera", index.cameras, split.index.cameras)):
        wrong = np.flatnonzero(values != of_row[split.rows])
        if wrong.size:
            image, row = wrong[0], split.rows[wrong[0]]
            raise UserError(
                f"{directory}: tracklet {index.tracklets[image]} of split {name} is of {word} "
                f"{of_row[row]} in {split.index.paths[row]} and of {word} {values[image]} in "
                f"{index.paths[image]}; give every tracklet one {word} and an id of its own, and "
                "build the records again, or set evaluation.tracklet_pooling=none."
            )
    return split
