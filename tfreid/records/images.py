"""Encoded images of records: in memory or on disk, and decoded batch by batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.layers.preprocessing import InputSize, resize_images
from tfreid.records.shards import SplitIndex, StoredImages

_FREE, _LIMIT, _USED = (Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max"),
                        Path("/sys/fs/cgroup/memory.current"))


@dataclasses.dataclass(frozen=True)
class ImageTable:
    """Image files and what is known of them.

    Attributes:
        encoded: JPEG or PNG files, one for each row of the index.
        index: What is known of them.
        megabytes: Their size.
        limit: The megabytes that they exceed, so that `encoded` reads them from disk; None where
            they are in memory.
    """

    encoded: Sequence[bytes]
    index: SplitIndex
    megabytes: float
    limit: float | None = None

    @property
    def place(self) -> str:
        """Where the images are, for messages."""
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


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG or PNG to uint8 RGB [h, w, 3], in a tf.data graph or a served one."""
    # The accurate transform is every other library's default; TensorFlow's is a fast one, a grey
    # level off, which costs weights trained elsewhere 0.2 points. The operation also reads PNG.
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def undecodable(paths: Sequence[str]) -> UserError:
    """Returns the error that names images which cannot be decoded."""
    others = f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return UserError(
        f"{paths[0]}{others}: the image cannot be decoded; replace or remove the file and build "
        "the records again."
    )


def chunks_by_size(heights: np.ndarray, widths: np.ndarray, most: int) -> list[np.ndarray]:
    """Divides images into chunks of one size.

    Args:
        heights: Heights, [n].
        widths: Widths, [n].
        most: Images in a chunk, at most.

    Returns:
        Increasing places of the images in each chunk; images of one size stay in order.
    """
    order = np.lexsort((widths, heights))
    ends = np.flatnonzero(np.diff(heights[order]) | np.diff(widths[order])) + 1
    return [alike[start : start + most] for alike in np.split(order, ends)
            for start in range(0, len(alike), most)]


def decode_batches(
    encoded: Sequence[bytes],
    names: Sequence[str],
    size: InputSize,
    batch_size: int,
    workers: int = 0,
    stored_sizes: tuple[np.ndarray, np.ndarray] | None = None,
    positions: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields images decoded and resized, in batches of images of one size.

    Args:
        encoded: JPEG or PNG files.
        names: What to call them in messages.
        size: What they are resized to.
        batch_size: Images in a batch; the last one of each size is smaller.
        workers: Threads that decode; 0 lets tf.data choose.
        stored_sizes: Heights and widths of the files, which `size.longest_side` needs.
        positions: Which files, in any order; None takes all.

    Yields:
        int64 places [n] in `positions`, in order where `size` is fixed, and float32 RGB images
        [n, h, w, 3] in 0-255.

    Raises:
        UserError: If an image cannot be decoded; the message names it.
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
    """Returns the memory that this process may still take, infinity where the system hides it."""
    found = [float("inf")]
    found += [int(line.split()[1]) * 1024 / 1e6 for line in _lines(_FREE)
              if line.startswith("MemAvailable:")]
    limit, used = ("".join(_lines(path)) for path in (_LIMIT, _USED))
    if limit.isdigit() and used.isdigit():  # of a container that has one
        found.append((int(limit) - int(used)) / 1e6)
    return min(found)


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


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
