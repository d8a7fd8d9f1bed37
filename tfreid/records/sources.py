"""Several folders of records: trained on together, each evaluated on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfrecords.storage import as_path
from tfreid.config import DataConfig
from tfreid.records.images import ImageSources, ImageTable, JoinedImages
from tfreid.records.records import Records, memory_for_images, open_records
from tfreid.records.shards import SplitIndex

Choose = Callable[[SplitIndex], np.ndarray]


class JoinedRecords:
    """The records of several folders.

    Args:
        data: The settings. `data.fold` is that of the records which have folds.

    Attributes:
        sources: Name -> records, in the order of `data.records`.
        trained: Name -> records, of those that are trained on, in order.
        tested: Name -> records, of those that are tested: with `data.leave_out` that one, else all
            that hold a query and gallery split.

    Raises:
        UserError: If a folder contains no records or is named twice, `data.leave_out` names none or
            one without test images, or the fold does not exist.
    """

    def __init__(self, data: DataConfig):
        named = name_folders(data.folders)
        folded = {name: bool(read_manifest(folder).identity_splits)
                  for name, folder in named.items()}
        some = any(folded.values())
        self.sources = {
            name: Records(folder, data.fold if folded[name] or not some else 0, data.verify)
            for name, folder in named.items()}
        left_out = find_left_out(data)
        self.trained = {name: records for name, records in self.sources.items() if name != left_out}
        self.tested = {name: records for name, records in self.sources.items()
                       if left_out in (None, name) and _is_testable(records)}
        if left_out is not None and not self.tested:
            raise UserError(f"data.leave_out is {left_out}, but {named[left_out]} has no "
                            "query and gallery to test on; leave out another source.")

    @property
    def checksums(self) -> dict[str, list[str]]:
        """See `Records`."""
        return {f"{split} of source {number}": checksums
                for number, records in enumerate(self.sources.values())
                for split, checksums in records.checksums.items()}

    def load_training(self, memory_limit: float | None = None,
                      choose: Choose | None = None) -> ImageTable:
        """Returns the training images of all sources, one source after the other.

        Identities, labels, cameras and tracklets of different sources are different numbers, and
        paths begin with the source's name.

        Args:
            memory_limit: Size in megabytes up to which images are kept in memory, those of the
                first sources first. Defaults to half of the free memory.
            choose: See `Split.load`; it is applied to each source.

        Raises:
            UserError: As `Split.load` for any source; the sentence names the folder.
        """
        limit = left = memory_for_images() if memory_limit is None else memory_limit
        tables = []
        for records in self.trained.values():
            table = records["train"].load(left, choose and _naming(records.directory, choose))
            if table.limit is None:
                left = max(0.0, left - table.megabytes)
            tables.append(table)
        indices = [table.index for table in tables]
        sources = ImageSources(tuple(self.trained), np.repeat(
            np.arange(len(indices)), list(map(len, indices))))
        encoded = [table.encoded for table in tables]
        streamed = any(table.limit is not None for table in tables)
        return ImageTable(
            JoinedImages(encoded) if streamed else [image for part in encoded for image in part],
            _join(indices, sources.names), sum(table.megabytes for table in tables),
            limit if streamed else None, sources)


def open_training(data: DataConfig) -> Records | JoinedRecords:
    """Opens the records that the settings train on.

    Raises:
        UserError: As `open_records` and `JoinedRecords`; or if a source of only one is left out.
    """
    if len(data.folders) > 1:
        return JoinedRecords(data)
    if data.leave_out is not None:
        raise UserError(f"data.leave_out is {data.leave_out}, but data.records is one folder; name "
                        "several, or set data.leave_out=null.")
    return open_records(data)


def open_first(data: DataConfig) -> Records:
    """Opens the first of the records, where some images of any are enough.

    Raises:
        UserError: As `open_training`.
    """
    if len(data.folders) > 1:  # each with the fold that it has
        return next(iter(JoinedRecords(dataclasses.replace(data, leave_out=None)).sources.values()))
    return open_records(data)


def find_left_out(data: DataConfig) -> str | None:
    """Returns the name of the source that `data.leave_out` names, None if it does not.

    Raises:
        UserError: If there is no such source.
    """
    names, wanted = list(name_folders(data.folders)), data.leave_out
    if wanted is None or str(wanted) in names:
        return None if wanted is None else str(wanted)
    if isinstance(wanted, int) and wanted < len(names):
        return names[wanted]
    raise UserError(f"data.leave_out is {wanted}, but data.records has the sources "
                    f"{', '.join(f'{name} ({place})' for place, name in enumerate(names))}; give "
                    "one of these names or numbers.")


def name_folders(folders: Sequence[str | Path]) -> dict[str, Path]:
    """Names each folder of records after itself, with a number if two have the same name.

    Raises:
        UserError: If a folder is named twice.
    """
    named: dict[str, Path] = {}
    for folder in map(as_path, folders):
        if folder.resolve() in (known.resolve() for known in named.values()):
            raise UserError(f"{folder} is named twice; name each folder of records once.")
        name, number = folder.resolve().name, 1
        while name in named:
            number += 1
            name = f"{folder.resolve().name}-{number}"
        named[name] = folder
    return named


def _is_testable(records: Records) -> bool:
    return "query" in records and "gallery" in records


def _naming(directory: Path, choose: Choose) -> Choose:
    """Returns the function with the folder in its errors."""
    def named(index):
        try:
            return choose(index)
        except UserError as error:
            raise UserError(f"{directory}: {error}") from None

    return named


def _join(indices: Sequence[SplitIndex], names: Sequence[str]) -> SplitIndex:
    apart: dict[str, int] = dict.fromkeys(("ids", "labels", "cameras", "tracklets"), 0)
    parts = []
    for index, name in zip(indices, names):
        moved = {"paths": np.char.add(f"{name}/", index.paths)}
        for column, first in apart.items():
            numbers = getattr(index, column)
            # Negative numbers say that there is none.
            moved[column] = np.where(numbers < 0, numbers, numbers + first)
            apart[column] = max(first, int(moved[column].max()) + 1)
        parts.append(dataclasses.replace(index, **moved))
    return SplitIndex.joined(parts)
