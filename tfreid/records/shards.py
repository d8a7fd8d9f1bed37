"""The reader of shards: one scan of a stored split finds its metadata and image positions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords import schema
from tfrecords.errors import UserError
from tfrecords.image_headers import STORED_FORMATS, CorruptImage, check_whole
from tfrecords.manifest import Manifest, Shard, shard_paths
from tfrecords.storage import AnyPath, local_file

# A TFRecord is the length and its checksum (8 and 4 bytes), the record and its checksum.
_LENGTH, _HEAD, _TAIL = 8, 12, 4
_PARSE_BATCH = 1024
# Column of an index -> the field of a record.
_COLUMNS = {
    "ids": "person/id",
    "labels": "person/label",
    "cameras": "camera/id",
    "paths": "image/path",
    "tracklets": "tracklet/id",
    "heights": "image/height",
    "widths": "image/width",
}


@dataclasses.dataclass(frozen=True)
class SplitIndex:
    """Metadata of a split's images; arrays [images] in record order.

    Attributes:
        ids: Identity.
        labels: 0-based training label, -1 outside training.
        cameras: Camera id, -1 if unknown.
        paths: Path inside the dataset, as `os.fsdecode` reads its bytes.
        tracklets: Tracklet id, -1 if there is none.
        heights: Height of the stored image in pixels.
        widths: Width of the stored image in pixels.
    """

    ids: np.ndarray
    labels: np.ndarray
    cameras: np.ndarray
    paths: np.ndarray
    tracklets: np.ndarray
    heights: np.ndarray
    widths: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def sizes(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns heights and widths of the stored images at some positions."""
        return self.heights[positions], self.widths[positions]

    def take(self, positions: np.ndarray) -> SplitIndex:
        """Returns the index of the images at some positions."""
        columns = (field.name for field in dataclasses.fields(self))
        return SplitIndex(*(getattr(self, name)[positions] for name in columns))

    @classmethod
    def joined(cls, parts: Sequence[SplitIndex]) -> SplitIndex:
        """Returns the index of the images of all parts, one after the other."""
        columns = (field.name for field in dataclasses.fields(cls))
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))


class StoredImages(Sequence):
    """Image files inside shards, each read from disk on access, safe in any thread.

    Args:
        files: The shards.
        shards: Number of each image's shard, [images].
        offsets: Position of the first byte in the shard, [images].
        lengths: Number of bytes, [images].
    """

    def __init__(self, files: OpenFiles, shards: np.ndarray, offsets: np.ndarray,
                 lengths: np.ndarray):
        self._files = files
        self._shards, self._offsets, self._lengths = shards, offsets, lengths

    def __len__(self) -> int:
        return len(self._lengths)

    def __getitem__(self, row: int) -> bytes:
        return self._files.read(
            self._shards[row], int(self._offsets[row]), int(self._lengths[row]))

    def take(self, rows: np.ndarray) -> StoredImages:
        """Returns the images at some rows."""
        return StoredImages(self._files, self._shards[rows], self._offsets[rows],
                            self._lengths[rows])

    @property
    def megabytes(self) -> float:
        """Total size."""
        return float(self._lengths.sum(dtype=np.int64)) / 1e6


class OpenFiles:
    """Files that stay open as long as the object exists."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = list(paths)
        self._descriptors = [os.open(path, os.O_RDONLY) for path in self._paths]
        weakref.finalize(self, _close, self._descriptors)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Reads bytes of a file, from any thread.

        Raises:
            UserError: If the file is too short.
        """
        data = os.pread(self._descriptors[number], length, offset)
        if len(data) != length:
            raise UserError(f"{self._paths[number]} has become shorter since it was opened; build "
                            "the records again.")
        return data


@dataclasses.dataclass(frozen=True)
class ScannedImages:
    """The result of scanning the shards of a split.

    Attributes:
        index: Metadata of the images.
        images: The image files on disk.
        kept: The image files in memory, or None.
        whole: Whether each image is complete, [images].
    """

    index: SplitIndex
    images: StoredImages
    kept: list[bytes] | None
    whole: np.ndarray

    def take(self, positions: np.ndarray) -> Sequence[bytes]:
        """Returns the image files at some positions, in memory if they were kept."""
        if self.kept is None:
            return self.images.take(positions)
        return [self.kept[position] for position in positions.tolist()]


class StoredSplit:
    """A split as stored on disk, scanned when it is first used.

    Attributes:
        checksums: Checksums of its shards, in order.
    """

    def __init__(self, directory: Path, manifest: Manifest, name: str, verify: str):
        self._where = (directory, manifest, name, verify)
        self._scanned: ScannedImages | None = None
        self.checksums = [shard.checksum for shard in manifest.splits[name].shards]

    def scan(self, memory_limit: float = 0.0) -> ScannedImages:
        """Returns the result of `scan_split`, from the first call."""
        if self._scanned is None:
            self._scanned = scan_split(*self._where, memory_limit)
        return self._scanned


def scan_split(directory: Path, manifest: Manifest, split: str, verify: str,
               memory_limit: float) -> ScannedImages:
    """Reads the shards of a stored split.

    Images are kept in memory up to a limit in megabytes; `verify` is that of `Records`.

    Raises:
        UserError: If a shard is missing or damaged, or disagrees with the manifest.
    """
    with contextlib.ExitStack() as stack:
        # Remote shards are copied; the copies are gone when the files are closed.
        paths = [stack.enter_context(local_file(path))
                 for path in shard_paths(directory, manifest, split, verify)]
        return _scan_files(paths, directory, manifest, split, memory_limit)


def _scan_files(paths: Sequence[Path], directory: AnyPath, manifest: Manifest, split: str,
                memory_limit: float) -> ScannedImages:
    columns: dict[str, list] = {name: [] for name in _COLUMNS}
    shards, offsets, lengths, whole = [], [], [], []
    kept, total = [], 0
    try:
        for number, shard in enumerate(manifest.splits[split].shards):
            records = _read_records(paths[number], shard)
            while block := list(islice(records, _PARSE_BATCH)):
                try:
                    parsed = schema.parse_records([record for _, record in block])
                except (tf.errors.OpError, UnicodeDecodeError):  # the latter for its own message
                    raise _Damage(f"{shard.file} holds a record that is not an image's") from None
                for name, field in _COLUMNS.items():
                    columns[name].append(parsed[field].numpy())
                images = parsed["image/encoded"].numpy().tolist()
                shards.append(np.full(len(images), number, np.int32))
                offsets.append(np.array([start + record.find(image) for (start, record), image
                                         in zip(block, images)], np.int64))
                lengths.append(np.array(list(map(len, images)), np.int32))
                whole.append(np.array(list(map(_is_whole, images))))
                total += int(lengths[-1].sum(dtype=np.int64))
                if total > memory_limit * 1e6:
                    kept = None
                elif kept is not None:
                    kept += images
    except _Damage as error:
        raise UserError(f"{directory}: a shard of split {split} is damaged ({error}); build the "
                        "records again.") from None
    count, expected = sum(map(len, lengths)), manifest.splits[split].images
    if not count or count != expected:
        raise UserError(f"{directory}: split {split} has {count} images but its manifest says "
                        f"{expected}; build the records again.")
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    labels, identities = joined["labels"], manifest.splits[split].identities
    if labels.min() < schema.NO_LABEL or labels.max() >= identities:
        raise UserError(f"{directory}: split {split} has labels from {labels.min()} to "
                        f"{labels.max()} but its manifest says {identities} identities; build the "
                        "records again.")
    index = SplitIndex(**{**joined, "paths": np.array(list(map(os.fsdecode, joined["paths"])))})
    if min(joined["heights"].min(), joined["widths"].min()) < 1:
        raise UserError(f"{directory}: split {split} has images without height or width; build the "
                        "records again.")
    images = StoredImages(OpenFiles(paths), *map(np.concatenate, (shards, offsets, lengths)))
    return ScannedImages(index, images, kept, np.concatenate(whole))


class _Damage(Exception):
    """Describes the damage of a shard."""


def _read_records(path: Path, shard: Shard) -> Iterator[tuple[int, bytes]]:
    """Yields the position of each record's first byte in its shard, and the record.

    Raises:
        _Damage: If a record is truncated, or the shard's checksum differs from the manifest's.
    """
    offset = checksum = 0
    with open(path, "rb") as file:
        while head := file.read(_HEAD):
            length = int.from_bytes(head[:_LENGTH], "little")
            if offset + _HEAD + length + _TAIL > shard.bytes:
                raise _Damage(f"{shard.file} ends inside a record")
            record, tail = file.read(length), file.read(_TAIL)
            for part in (head, record, tail):
                checksum = zlib.crc32(part, checksum)
            yield offset + _HEAD, record
            offset += _HEAD + length + _TAIL
    if f"{checksum:08x}" != shard.checksum:
        raise _Damage(f"{shard.file} has an unexpected checksum")


def _is_whole(data: bytes) -> bool:
    try:
        return check_whole(data) in STORED_FORMATS
    except CorruptImage:
        return False


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
