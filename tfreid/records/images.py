"""Encoded images of records: in memory or on disk, and decoded batch by batch."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.layers.preprocessing import InputSize, resize_images
from tfreid.records.shards import SplitIndex, StoredImages

_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


class JoinedImages(Sequence):
    """Image files of several sequences, one after the other, each read on demand.

    Args:
        parts: The sequences.
        kept: Positions [n] of those that count. Defaults to all.
    """

    def __init__(self, parts: Sequence[Sequence[bytes]], kept: np.ndarray | None = None):
        self._parts, self._starts = parts, np.cumsum([0, *map(len, parts)])
        self._kept = np.arange(self._starts[-1]) if kept is None else kept

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, row: int) -> bytes:
        position = self._kept[row]
        part = int(np.searchsorted(self._starts, position, "right")) - 1
        return self._parts[part][int(position - self._starts[part])]


@dataclasses.dataclass(frozen=True)
class ImageSources:
    """Which of several records the images of a table are from.

    Attributes:
        names: Names of the records.
        of_image: Number of each image's records, from 0, [images].
    """

    names: tuple[str, ...]
    of_image: np.ndarray

    def rows(self) -> list[np.ndarray]:
        """Returns the increasing rows of each records' images."""
        return [np.flatnonzero(self.of_image == number) for number in range(len(self.names))]


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Image files and their metadata.

    Attributes:
        encoded: JPEG or PNG files, one for each row of the index.
        index: Their metadata.
        megabytes: Their size.
        limit: The memory limit in megabytes if `encoded` reads from disk, or None if the images
            are in memory.
        sources: The records of each image, or None if all are of the same.
    """

    encoded: Sequence[bytes]
    index: SplitIndex
    megabytes: float
    limit: float | None = None
    sources: ImageSources | None = None

    @property
    def description(self) -> str:
        """The numbers of images and labels, as text; also those of each source."""
        counted = _counted(self.index.labels)
        if self.sources is None:
            return counted
        parts = (f"{name}: {_counted(self.index.labels[rows])}"
                 for name, rows in zip(self.sources.names, self.sources.rows()))
        return f"{counted} ({'; '.join(parts)})"

    @property
    def place(self) -> str:
        """Where the images are, as text."""
        if self.limit is None:
            return f"in memory ({self.megabytes:.0f} MB)"
        return (f"streamed from disk ({self.megabytes:,.0f} MB, above the memory limit of "
                f"{self.limit:,.0f} MB)")

    def take(self, rows: np.ndarray) -> ImageTable:
        """Returns the table of some rows, with their images on disk or in memory as before."""
        if isinstance(self.encoded, StoredImages):
            encoded = self.encoded.take(rows)
            megabytes = encoded.megabytes
        else:
            encoded = [self.encoded[row] for row in rows.tolist()]
            megabytes = sum(map(len, encoded)) / 1e6
        sources = self.sources and dataclasses.replace(
            self.sources, of_image=self.sources.of_image[rows])
        return ImageTable(encoded, self.index.take(rows), megabytes, self.limit, sources)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG or PNG to uint8 RGB [h, w, 3], in a tf.data graph or a served one."""
    # The accurate transform is the default of other libraries. TensorFlow's faster default is a
    # grey level off, which costs weights trained elsewhere 0.2 points. This also reads PNG.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def undecodable(paths: Sequence[str]) -> UserError:
    """Returns the error for images that cannot be decoded."""
    others = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return UserError(
        f"{paths[0]}{others}: the image cannot be decoded; replace or remove the file and build "
        "the records again."
    )


def spread_positions(total: int, count: int) -> np.ndarray:
    """Returns at most `count` of `total` positions, increasing and evenly spread."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))


def chunks_by_size(heights: np.ndarray, widths: np.ndarray, most: int) -> list[np.ndarray]:
    """Divides images into chunks of one size: increasing positions of at most `most` images."""
    order = np.lexsort((widths, heights))
    ends = np.flatnonzero(np.diff(heights[order]) | np.diff(widths[order])) + 1
    return [alike[start : start + most] for alike in np.split(order, ends)
            for start in range(0, len(alike), most)]


def decode_batches(encoded: Sequence[bytes], names: Sequence[str], size: InputSize, batch_size: int,
                   workers: int = 0, stored_sizes: tuple[np.ndarray, np.ndarray] | None = None,
                   positions: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields decoded images as `tfreid.records.Split.batches` does.

    Args:
        encoded: JPEG or PNG files.
        names: Names of the files in messages.
        size: The size that images are resized to.
        batch_size: Number of images in a batch.
        workers: Number of decoding threads; 0 lets tf.data choose.
        stored_sizes: Heights and widths of the files, needed for `size.longest_side`.
        positions: Positions of the files. Defaults to all.

    Yields:
        Places and images.

    Raises:
        UserError: If an image cannot be decoded.
    """
    positions = np.arange(len(encoded)) if positions is None else np.asarray(positions)
    sizes = size.of(*(side[positions] for side in stored_sizes or ())) if (
        size.longest_side) else (size.height, size.width)
    heights, widths = (np.broadcast_to(side, len(positions)) for side in sizes)
    failures = []

    def read():
        try:
            for places in chunks_by_size(heights, widths, batch_size):
                yield (places, [encoded[position] for position in positions[places]],
                       heights[places[0]], widths[places[0]])
        except UserError as error:
            failures.append(error)  # TensorFlow passes on only its text
            raise

    signature = (tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.string),
                 tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32))
    chunks = tf.data.Dataset.from_generator(read, output_signature=signature)
    calls = workers or tf.data.AUTOTUNE
    if size.longest_side is None:
        images = chunks.map(lambda places, files, *_: (places, files)).unbatch().map(
            lambda place, file: (place, resize_images(
                decode_image(file), size.height, size.width)), num_parallel_calls=calls)
        batches = images.batch(batch_size)
    else:
        batches = chunks.map(_decode_chunk, num_parallel_calls=calls)
    try:
        for places, batch in batches.prefetch(2):
            yield places.numpy(), batch.numpy()
    except tf.errors.OpError:
        if failures:
            raise failures[0] from None
        raise _first_undecodable(encoded, names, positions) from None


def free_megabytes() -> float:
    """Returns the memory that this process may still allocate."""
    free = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # unless a container has a limit
        free = min(free, int(_LIMIT.read_text()) - int(_USED.read_text()))
    return free / 1e6


def _counted(labels: np.ndarray) -> str:
    return f"{len(labels)} images of {len(np.unique(labels))} identities"


def _decode_chunk(places, files, height, width):
    return places, tf.map_fn(
        lambda file: resize_images(decode_image(file), height, width), files,
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32))


def _first_undecodable(encoded, names, positions) -> UserError:
    for position in positions.tolist():
        try:
            decode_image(encoded[position])
        except tf.errors.InvalidArgumentError:
            return undecodable([names[position]])
    return UserError(f"an image among {names[positions[0]]} and those after it cannot be decoded.")
