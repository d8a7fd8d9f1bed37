"""A split's encoded images as a table: in memory, or read from disk where they would not fit."""

from __future__ import annotations

import dataclasses
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.images import CorruptImage, check_whole
from tfrecords.manifest import read_manifest, shard_paths
from tfreid.data.records import SplitIndex, decode_image, scan_split, undecodable
from tfreid.data.views import stored_split
from tfreid.layers.preprocessing import resize_images

# TFRecord has a length and its checksum before each record and a checksum behind it.
_HEAD, _FRAME = 12, 16
# Share of the memory that is free when training starts; the network and its batches need the rest.
_FREE_SHARE = 0.5
_FREE, _LIMIT, _USED = (Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max"),
                        Path("/sys/fs/cgroup/memory.current"))


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """A split's image files.

    encoded: one a row of the index. megabytes: their size. limit: the megabytes that they exceed,
    so that `encoded` reads them from disk; None where they are in memory.
    """

    encoded: Sequence[bytes]
    index: SplitIndex
    megabytes: float
    limit: float | None = None

    @property
    def place(self) -> str:
        """Says where the images are."""
        if self.limit is None:
            return f"in memory ({self.megabytes:.0f} MB)"
        return (f"streamed from disk ({self.megabytes:,.0f} MB, above the memory limit of "
                f"{self.limit:,.0f} MB)")

    def take(self, rows: np.ndarray) -> ImageTable:
        """Returns the table of some rows, whose images stay where they are."""
        if isinstance(self.encoded, StoredImages):
            encoded = self.encoded.take(rows)
            megabytes = encoded.megabytes
        else:
            encoded = [self.encoded[row] for row in rows.tolist()]
            megabytes = sum(map(len, encoded)) / 1e6
        return ImageTable(encoded, self.index.take(rows), megabytes, self.limit)


class OpenFiles:
    """Files that stay open as long as somebody reads them.

    Args:
        paths: Their paths.
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths = list(paths)
        self._descriptors = [os.open(path, os.O_RDONLY) for path in self._paths]
        weakref.finalize(self, _close, self._descriptors)

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Reads bytes of a file, from any thread.

        Raises:
            UserError: The file ends before.
        """
        data = os.pread(self._descriptors[number], length, offset)
        if len(data) != length:
            raise UserError(f"{self._paths[number]} has become shorter since training began; build "
                            "the records again.")
        return data


class StoredImages(Sequence):
    """Image files inside shards, each read from disk when it is asked for, from any thread.

    Args:
        files: The shards.
        shards: Which of them holds each image, [images].
        offsets: Its first byte there, [images].
        lengths: Its number of bytes, [images].
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
        """The size of all of them."""
        return float(self._lengths.sum(dtype=np.int64)) / 1e6


def load_table(
    directory: str | Path,
    split: str = "train",
    verify: str = "size",
    number: int = 0,
    memory_limit: float | None = None,
    choose: Callable[[SplitIndex], np.ndarray] | None = None,
) -> ImageTable:
    """Makes the table of a split's encoded images: about the size of its shards.

    Args:
        directory: Folder with the manifest.
        split: Name of the split.
        verify: `size` or `checksum`, as `shard_paths` takes it.
        number: Which identity split.
        memory_limit: Megabytes of images up to which they are held in memory; None is half of what
            is free. Beyond it they stay on disk; the table is the same.
        choose: From what is known of all images to the positions of those that are wanted. The
            labels are then counted anew from 0. None takes all.

    Raises:
        UserError: The records are missing, or disagree with their manifest, or an image is cut off.
    """
    locator = _Locator()
    index, positions = scan_split(directory, split, verify, number, locator.visit)
    stored = locator.images(directory, split).take(positions)
    # OpenCV would fill up the missing part with grey.
    damaged = np.flatnonzero(locator.damaged()[positions])
    if damaged.size:
        raise undecodable(index.paths[damaged].tolist())
    if choose is not None:
        rows = choose(index)
        stored, index = stored.take(rows), index.take(rows)
        labels = np.unique(index.labels, return_inverse=True)[1].astype(index.labels.dtype)
        index = dataclasses.replace(index, labels=labels.reshape(-1))
    limit = _FREE_SHARE * free_megabytes() if memory_limit is None else memory_limit
    if stored.megabytes > limit:
        return ImageTable(stored, index, stored.megabytes, limit)
    return ImageTable(list(stored), index, stored.megabytes)


def decode_in_batches(
    encoded: Sequence[bytes], names: Sequence[str], height: int, width: int, batch_size: int,
    workers: int = 0,
) -> Iterator[np.ndarray]:
    """Yields images in order, decoded and resized as those of records are.

    Args:
        encoded: JPEG or PNG files [n].
        names: What to call them in messages.
        height: Height in pixels.
        width: Width in pixels.
        batch_size: Images a batch; the last one is smaller.
        workers: Threads that decode; 0 lets tf.data choose.

    Yields:
        float32 RGB batches [b, height, width, 3] in 0-255.

    Raises:
        UserError: An image cannot be decoded; the message names it.
    """
    files = tf.data.Dataset.from_generator(
        lambda: iter(encoded), output_signature=tf.TensorSpec([], tf.string))
    images = files.map(lambda file: resize_images(decode_image(file), height, width),
                       num_parallel_calls=workers or tf.data.AUTOTUNE)
    try:
        for batch in images.batch(batch_size).prefetch(2):
            yield batch.numpy()
    except tf.errors.InvalidArgumentError:
        raise undecodable([name for name, file in zip(names, encoded)
                           if not _decodes(file)]) from None


def free_megabytes() -> float:
    """Returns the memory that this process may still take, infinity where the system hides it."""
    found = [float("inf")]
    lines = _lines(_FREE)
    found += [int(line.split()[1]) * 1024 / 1e6 for line in lines
              if line.startswith("MemAvailable:")]
    limit, used = ("".join(_lines(path)) for path in (_LIMIT, _USED))
    if limit.isdigit() and used.isdigit():  # of a container that has one
        found.append((int(limit) - int(used)) / 1e6)
    return min(found)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


class _Locator:
    """Finds where in its shard each image of a stored split lies, and which are cut off."""

    def __init__(self):
        self._sizes: list[np.ndarray] = []
        self._starts: list[np.ndarray] = []
        self._lengths: list[np.ndarray] = []
        self._damaged: list[np.ndarray] = []

    def visit(self, parsed) -> None:
        """Takes records in the order in which they lie on disk."""
        records, images = parsed["record"].numpy(), parsed["image/encoded"].numpy()
        self._sizes.append(np.array([len(record) for record in records], np.int64))
        self._starts.append(np.array(
            [record.find(image) for record, image in zip(records, images)], np.int64))
        self._lengths.append(np.array([len(image) for image in images], np.int32))
        self._damaged.append(np.array([not _is_whole(image) for image in images]))

    def damaged(self) -> np.ndarray:
        """Tells which images are cut off, [images]."""
        return np.concatenate(self._damaged)

    def images(self, directory: str | Path, split: str) -> StoredImages:
        """Returns all images of the stored split."""
        manifest = read_manifest(directory)
        split = stored_split(manifest, split)
        counts = [shard.images for shard in manifest.splits[split].shards]
        shards = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        ends = np.cumsum(np.concatenate(self._sizes) + _FRAME)
        begins = np.concatenate([[0], ends[:-1]])
        # Every shard counts its bytes from its own beginning.
        begins -= begins[np.searchsorted(shards, shards)]
        offsets = begins + _HEAD + np.concatenate(self._starts)
        files = OpenFiles(shard_paths(directory, manifest, split))
        return StoredImages(files, shards, offsets, np.concatenate(self._lengths))


def _is_whole(data: bytes) -> bool:
    try:
        return bool(check_whole(data))
    except CorruptImage:
        return False


def _decodes(data: bytes) -> bool:
    try:
        decode_image(data)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)
