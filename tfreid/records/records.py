"""A folder of records: its splits, and the images in each."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import STORED_SPLIT, Manifest, read_manifest
from tfrecords.query_galleries import read_query_galleries
from tfrecords.storage import as_path
from tfreid.config import DataConfig
from tfreid.layers.preprocessing import InputSize
from tfreid.records.folds import check_fold, select_images, split_names
from tfreid.records.images import ImageTable, decode_batches, free_megabytes, undecodable
from tfreid.records.shards import SplitIndex, StoredSplit

# Share of the free memory for images; the network and its batches need the rest.
_FREE_SHARE = 0.5


class Records:
    """A folder of records; reads the manifest once and the shards of each split at most once.

    A split is read when it is first used. In records with folds, all splits are selections of one
    stored split.

    Args:
        directory: Folder that `tfreid build` wrote.
        fold: Number of the fold, in records with several.
        verify: `size` compares the sizes of shards with the manifest, `checksum` also their
            checksums before anything else is read.

    Attributes:
        directory: The folder.
        fold: Number of the fold.
        manifest: The manifest.
        dataset: Name of the dataset.
        description: Name of the dataset, with the number of the fold if there are several.
        splits: Names of the splits.
        evaluated_on: What query and gallery show: `test` images, or those of `validation`.

    Raises:
        UserError: If the folder contains no records, or the fold does not exist.

    Example:
        >>> records = tfreid.Records("records/people")
        >>> records.splits, len(records["query"]) == len(records["query"].index.cameras)
        (['train', 'query', 'gallery'], True)
    """

    def __init__(self, directory: str | Path, fold: int = 0, verify: str = "size"):
        self.directory = as_path(directory)
        self.manifest = read_manifest(directory)
        check_fold(self.directory, self.manifest, fold)
        self.fold, self.evaluated_on = fold, "test"
        self.dataset = self.manifest.dataset
        self.description = (f"{self.dataset}, fold {fold}" if self.manifest.identity_splits
                            else self.dataset)
        self.splits = split_names(self.manifest)
        self._stored = {name: StoredSplit(self.directory, self.manifest, name, verify)
                        for name in self.manifest.splits}
        self._opened: dict[str, Split] = {}

    def __contains__(self, split: str) -> bool:
        return split in self.splits

    def __getitem__(self, split: str) -> Split:
        """Returns a split.

        Raises:
            UserError: If it does not exist.
        """
        if split not in self:
            raise UserError(f"{self.directory} has no split {split!r}; it has "
                            f"{', '.join(self.splits)}.")
        if split not in self._opened:
            stored = STORED_SPLIT if self.manifest.identity_splits else split
            self._opened[split] = Split(self.directory, self.manifest, self.fold, split,
                                        self._stored[stored])
        return self._opened[split]

    def validating(self, query: Split, gallery: Split) -> Records:
        """Returns these records with other images as query and gallery, to validate on."""
        other = copy.copy(self)
        other.evaluated_on = "validation"
        other.description = f"{self.description}, validation"
        other.splits = list(dict.fromkeys([*self.splits, "query", "gallery"]))
        other._opened = {**self._opened, "query": query, "gallery": gallery}
        other.query_galleries = None
        return other

    @property
    def checksums(self) -> dict[str, list[str]]:
        """The checksums of the shards, by what they hold."""
        return {f"{split} split": self[split].checksums for split in self.splits}

    def load_training(self, memory_limit: float | None = None,
                      choose: Callable[[SplitIndex], np.ndarray] | None = None) -> ImageTable:
        """Returns the training images; see `Split.load`."""
        return self["train"].load(memory_limit, choose)

    @functools.cached_property
    def query_galleries(self) -> list[np.ndarray] | None:
        """For every query the positions in the gallery that it ranks, or None for all.

        Raises:
            UserError: If their file is missing or damaged.
        """
        return read_query_galleries(self.directory, self.manifest)


class Split:
    """The images of one split; `Records` makes it.

    Attributes:
        name: Name of the split.
    """

    def __init__(self, directory: Path, manifest: Manifest, fold: int, name: str,
                 stored: StoredSplit):
        self._directory, self._manifest, self._number = directory, manifest, fold
        self.name, self._stored = name, stored

    def __len__(self) -> int:
        return len(self.index)

    @property
    def index(self) -> SplitIndex:
        """The images' metadata, in record order.

        Raises:
            UserError: If the shards are missing or damaged, disagree with the manifest, or have no
                image of the split.
        """
        return self._selected[0]

    @functools.cached_property
    def encoded(self) -> Sequence[bytes]:
        """The image files by position, in memory or read from disk; safe in any thread."""
        return self._stored.scan().take(self._selected[1])

    @property
    def identities(self) -> int:
        """Number of identities; records without folds are not read for it."""
        if not self._manifest.identity_splits:
            return self._manifest.splits[self.name].identities
        return len(np.unique(self.index.ids))

    @property
    def checksums(self) -> list[str]:
        """Checksums, in the manifest, of the shards that contain the images."""
        return self._stored.checksums

    @property
    def distractors(self) -> int:
        """Number of images without an identity, from the manifest; 0 in a fold."""
        if self._manifest.identity_splits:
            return 0
        return self._manifest.splits[self.name].distractors

    def part(self, positions: np.ndarray) -> Split:
        """Returns the split of the images at some positions."""
        index, stored = self._selected
        part = copy.copy(self)
        part.__dict__.pop("encoded", None)
        part._selected = index.take(positions), stored[positions]
        return part

    def load(self, memory_limit: float | None = None,
             choose: Callable[[SplitIndex], np.ndarray] | None = None) -> ImageTable:
        """Returns the table of the images, in memory if they fit, else on disk.

        Args:
            memory_limit: Size in megabytes up to which images are kept in memory. Defaults to half
                of the free memory.
            choose: Function from the index to the positions of the images to load, which then get
                labels from 0. Defaults to all.

        Raises:
            UserError: As in `index`, or if an image is truncated.
        """
        limit = memory_for_images() if memory_limit is None else memory_limit
        stored = self._stored.scan(limit)
        index, positions = self._selected
        # OpenCV would decode a truncated image and fill the missing part with grey.
        damaged = np.flatnonzero(~stored.whole[positions])
        if damaged.size:
            raise undecodable(index.paths[damaged].tolist())
        if choose is not None:
            rows = choose(index)
            positions, index = positions[rows], index.take(rows)
            labels = np.unique(index.labels, return_inverse=True)[1].astype(index.labels.dtype)
            index = dataclasses.replace(index, labels=labels.reshape(-1))
        images = stored.images.take(positions)
        if images.megabytes > limit:
            return ImageTable(images, index, images.megabytes, limit)
        return ImageTable(list(stored.take(positions)), index, images.megabytes)

    def batches(self, size: InputSize, batch_size: int, workers: int = 0,
                positions: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields images decoded and resized, each once, in batches of one size.

        Args:
            size: The size that images are resized to.
            batch_size: Number of images in a batch; the last batch of each size is smaller.
            workers: Number of decoding threads; 0 lets tf.data choose.
            positions: Positions of the images, in any order. Defaults to all, in record order.

        Yields:
            int64 places [n] in `positions`, in order if `size` is fixed, and float32 RGB images
            [n, h, w, 3] in 0-255.

        Raises:
            UserError: As in `index`, or if an image cannot be decoded.
        """
        index = self.index
        return decode_batches(self.encoded, index.paths, size, batch_size, workers,
                              (index.heights, index.widths), positions)

    @property
    def person_names(self) -> dict[int, str]:
        """Names of people by identity, from the manifest; empty if they are numbers."""
        return self._names("person_names")

    @property
    def camera_names(self) -> dict[int, str]:
        """Names of cameras by number, likewise."""
        return self._names("camera_names")

    def _names(self, option):
        names = self._manifest.options.get(option)
        return ({number: name for name, number in names.items() if isinstance(number, int)}
                if isinstance(names, dict) else {})

    @functools.cached_property
    def _selected(self) -> tuple[SplitIndex, np.ndarray]:
        """The index, and the positions of its images in the stored split."""
        index = self._stored.scan().index
        if not self._manifest.identity_splits:
            return index, np.arange(len(index))
        fold = self._manifest.identity_splits[self._number]
        positions, labels = select_images(fold, self.name, index.ids, index.cameras)
        if not len(positions):
            raise UserError(f"{self._directory}: no image belongs to {self.name} of fold "
                            f"{self._number}; build the records again.")
        return dataclasses.replace(index.take(positions), labels=labels), positions


def memory_for_images() -> float:
    """Returns the megabytes that images may take if no setting says so."""
    return _FREE_SHARE * free_megabytes()


def open_records(data: DataConfig) -> Records:
    """Opens the records that the settings name.

    Raises:
        UserError: If `data.records` is not set or names several folders, or as in `Records`.
    """
    if len(data.folders) > 1:
        raise UserError(f"data.records names {len(data.folders)} folders, but this takes the "
                        f"images of one; name it, as in data.records={data.folders[0]}.")
    if data.records is None:
        raise UserError("data.records is not set; give the folder of the built records, as in "
                        "data.records=records/market1501.")
    return Records(data.records, data.fold, data.verify)
