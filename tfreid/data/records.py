"""Records read back: what is known of a split's images, or a stream of decoded ones.

Where the records hold identity splits, `split` names a view of one of them, `number` chooses which
(`data.fold`), and positions count within the view.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecords import schema
from tfrecords.errors import UserError
from tfrecords.manifest import Manifest, read_manifest, shard_paths
from tfreid.data.views import (
    View,
    available_splits,
    check_number,
    check_split,
    make_view,
    sort_splits,
    stored_split,
)
from tfreid.layers.preprocessing import InputSize, resize_images

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
_DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError)


@dataclasses.dataclass(frozen=True)
class SplitIndex:
    """What is known of a split's images without decoding them; arrays [images] in record order.

    ids: person id. labels: 0-based training label, -1 outside training. cameras: camera id, -1 if
    unknown. paths: path inside the dataset. tracklets: tracklet id, -1 where the dataset has none.
    heights, widths: of the stored images, in pixels.
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


def split_names(directory: str | Path, number: int = 0) -> list[str]:
    """Returns the names of the splits that can be read.

    Raises:
        UserError: The records are missing, or have no identity split of that number.
    """
    manifest = read_manifest(directory)
    check_number(directory, manifest, number)
    return sort_splits(available_splits(manifest))


def split_size(directory: str | Path, split: str, number: int = 0) -> tuple[int, int]:
    """Returns how many images and how many identities a split has.

    Raises:
        UserError: The records are missing, or have no such split.
    """
    manifest = _checked_manifest(directory, split, number)
    if not manifest.identity_splits:
        return manifest.splits[split].images, manifest.splits[split].identities
    index = read_index(directory, split, number=number)
    return len(index), len(np.unique(index.ids))


def describe_records(directory: str | Path, number: int = 0) -> str:
    """Returns the dataset's name, and the number of the identity split where there are several.

    Raises:
        UserError: The records are missing, or have no identity split of that number.
    """
    manifest = read_manifest(directory)
    check_number(directory, manifest, number)
    return f"{manifest.dataset}, split {number}" if manifest.identity_splits else manifest.dataset


def read_index(
    directory: str | Path, split: str, verify: str = "size", number: int = 0
) -> SplitIndex:
    """Reads ids, labels, cameras and paths of a split.

    Raises:
        UserError: The records are missing, or disagree with their manifest.
    """
    return scan_split(directory, split, verify, number)[0]


def scan_split(
    directory: str | Path,
    split: str,
    verify: str = "size",
    number: int = 0,
    visit: Callable[[dict[str, Any]], None] | None = None,
) -> tuple[SplitIndex, np.ndarray]:
    """Reads through the records of a split.

    Args:
        directory: Folder with the manifest.
        split: Name of the split.
        verify: `size` or `checksum`, as `shard_paths` takes it.
        number: Which identity split.
        visit: Is shown the records on disk, some at a time and in order: `parse_records` of them,
            and themselves as `record` [n].

    Returns:
        What is known of the split's images, and which of the records on disk they are, [images].

    Raises:
        UserError: The records are missing, or disagree with their manifest.
    """
    manifest = _checked_manifest(directory, split, number)
    index = _collect(directory, stored_split(manifest, split), verify, visit)
    if not manifest.identity_splits:
        return index, np.arange(len(index))
    view = _view(directory, manifest, split, number, index)
    return dataclasses.replace(index.take(view.positions), labels=view.labels), view.positions


def stream_images(
    directory: str | Path,
    split: str,
    height: int,
    width: int,
    batch_size: int,
    workers: int = 0,
    indices: np.ndarray | None = None,
    number: int = 0,
) -> Iterator[np.ndarray]:
    """Yields every image of a split once, in record order, decoded and resized.

    Args:
        directory: Folder with the manifest.
        split: Name of the split.
        height: Height in pixels.
        width: Width in pixels.
        batch_size: Images a batch; the last one is smaller.
        workers: Threads that decode; 0 lets tf.data choose.
        indices: Only these positions, in increasing order.
        number: Which identity split.

    Yields:
        float32 RGB batches [n, height, width, 3] in 0-255.

    Raises:
        UserError: An image cannot be decoded; the message names it.
    """
    size = InputSize(height, width)
    for _, images in stream_sized(directory, split, size, batch_size, workers, indices, number):
        yield images


def stream_sized(
    directory: str | Path,
    split: str,
    size: InputSize,
    batch_size: int,
    workers: int = 0,
    indices: np.ndarray | None = None,
    number: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields every image of a split once, with its place, in batches of images of one size.

    Where images keep their aspect ratio, those that come out alike are batched together: the order
    is then not that of the records, and up to a batch of encoded images for each size is in memory.

    Args:
        directory: Folder with the manifest.
        split: Name of the split.
        size: What images are resized to.
        batch_size: Images a batch; the last one of each size is smaller.
        workers: Threads that decode; 0 lets tf.data choose.
        indices: Only these positions, in increasing order.
        number: Which identity split.

    Yields:
        int64 places [n] in `indices`, or in the split where that is None, and float32 RGB images
        [n, h, w, 3] in 0-255.

    Raises:
        UserError: An image cannot be decoded; the message names it.
    """
    stored, positions = _locate(directory, split, number, indices)
    images = _records(directory, stored, positions).enumerate()
    calls = workers or tf.data.AUTOTUNE
    if size.longest_side is None:
        batches = images.map(
            lambda place, row: (place, _decoded(row, size)), num_parallel_calls=calls
        ).batch(batch_size)
    else:
        batches = _grouped(images, size, batch_size).map(
            lambda places, rows: (places, _decoded_alike(rows, size)), num_parallel_calls=calls)
    try:
        for places, batch in batches.prefetch(2):
            yield places.numpy(), batch.numpy()
    except _DAMAGE:
        raise _undecodable(directory, stored, positions) from None


def read_encoded(
    directory: str | Path, split: str, indices: np.ndarray, number: int = 0
) -> list[bytes]:
    """Reads the image files at some positions of a split, in increasing order.

    Raises:
        UserError: The records are missing, or disagree with their manifest.
    """
    stored, positions = _locate(directory, split, number, indices)
    try:
        return [row["image/encoded"].numpy() for row in _records(directory, stored, positions)]
    except _DAMAGE as error:
        raise _damaged(directory, stored, error) from None


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


def _checked_manifest(directory, split, number) -> Manifest:
    manifest = read_manifest(directory)
    check_number(directory, manifest, number)
    check_split(directory, manifest, split)
    return manifest


def _view(directory, manifest, split, number, index) -> View:
    view = make_view(manifest, split, number, index.ids, index.cameras)
    if not len(view):
        raise UserError(f"{directory}: no image belongs to {split} of identity split {number}; "
                        "build the records again.")
    return view


def _locate(directory, split, number, indices):
    """Returns the split on disk and the positions in it; None stands for all."""
    manifest = _checked_manifest(directory, split, number)
    stored = stored_split(manifest, split)
    if not manifest.identity_splits:
        return stored, indices
    index = _collect(directory, stored, "size")
    positions = _view(directory, manifest, split, number, index).positions
    if indices is None:
        return stored, positions
    indices = np.asarray(indices)
    return stored, positions[indices[indices < len(positions)]]


def _collect(directory, split, verify, visit=None) -> SplitIndex:
    """Returns what is known of all images of a stored split."""
    columns: dict[str, list] = {name: [] for name in _COLUMNS}
    for parsed in _parsed(directory, split, verify, with_records=visit is not None):
        for name, field in _COLUMNS.items():
            columns[name].append(parsed[field].numpy())
        if visit is not None:
            visit(parsed)
    joined = {name: np.concatenate(parts) for name, parts in columns.items() if parts}
    index = SplitIndex(**{**joined, "paths": joined["paths"].astype(str)}) if joined else None
    expected = read_manifest(directory).splits[split].images
    if index is None or len(index) != expected:
        raise UserError(
            f"{directory}: split {split} holds {0 if index is None else len(index)} images but its "
            f"manifest says {expected}; build the records again."
        )
    return index


def _parsed(directory, split, verify="size", with_records=False):
    paths = [str(path) for path in shard_paths(directory, read_manifest(directory), split, verify)]
    dataset = tf.data.TFRecordDataset(paths).batch(_PARSE_BATCH).map(
        lambda records: {**schema.parse_records(records),
                         **({"record": records} if with_records else {})})
    try:
        yield from dataset
    except _DAMAGE as error:
        raise _damaged(directory, split, error) from None


def _records(directory, split, indices=None):
    """Returns the parsed records of a stored split, or those at some positions, one by one."""
    paths = [str(path) for path in shard_paths(directory, read_manifest(directory), split, "size")]
    rows = tf.data.TFRecordDataset(paths).batch(_PARSE_BATCH).map(_image_fields).unbatch()
    if indices is None:
        return rows
    wanted = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(indices, tf.int64), tf.ones(len(indices), tf.int32)
        ),
        default_value=0,
    )
    chosen = rows.enumerate().filter(lambda position, _: wanted.lookup(position) > 0)
    return chosen.map(lambda _, row: row).take(len(indices))


def _image_fields(serialized):
    parsed = schema.parse_records(serialized)
    return {name: parsed[name] for name in ("image/encoded", "image/height", "image/width")}


def _decoded(row, size):
    image = decode_image(row["image/encoded"])
    return resize_images(image, *size.of(row["image/height"], row["image/width"]))


def _grouped(images, size, batch_size):
    """Batches numbered records whose images come out at one size."""

    def key(_, row):
        height, width = size.of(row["image/height"], row["image/width"])
        return height * size.longest_side + width

    return images.group_by_window(key, lambda _, alike: alike.batch(batch_size), batch_size)


def _decoded_alike(rows, size):
    target = size.of(rows["image/height"][0], rows["image/width"][0])
    return tf.map_fn(
        lambda image: resize_images(decode_image(image), *target), rows["image/encoded"],
        fn_output_signature=tf.TensorSpec([None, None, 3], tf.float32))


def _damaged(directory, split, error):
    return UserError(
        f"{directory}: a shard of split {split} is damaged ({error.message.splitlines()[0]}); "
        "build the records again."
    )


def _undecodable(directory, split, positions):
    """Decodes images one by one, to name the one that a stream failed on."""
    wanted = None if positions is None else set(np.asarray(positions).tolist())
    position = 0
    for parsed in _parsed(directory, split):
        for image, path in zip(parsed["image/encoded"], parsed["image/path"].numpy().astype(str)):
            if wanted is None or position in wanted:
                try:
                    decode_image(image)
                except tf.errors.InvalidArgumentError:
                    return undecodable([path])
            position += 1
    return UserError(f"{directory}: an image of split {split} cannot be decoded.")
