"""Images for pictures: from files, and from the test images of records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.images import CorruptImage, inspect_image
from tfreid.config import DataConfig
from tfreid.data.records import SplitIndex, decode_image, read_encoded, read_index
from tfreid.evaluation.protocol import counted
from tfreid.visualization.ranked_list import camera_name


def read_image_file(path: str | Path) -> np.ndarray:
    """Reads a JPEG or PNG file as uint8 RGB [h, w, 3].

    Raises:
        UserError: It cannot be read, or holds no whole image.
    """
    try:
        return decode_image(read_file(path)).numpy()
    except tf.errors.InvalidArgumentError:
        raise _no_image(path, "cannot be decoded") from None


def read_file(path: str | Path) -> bytes:
    """Reads a JPEG or PNG file as it is.

    Raises:
        UserError: It cannot be read, or holds no whole image.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path.") from None
    try:
        inspect_image(data)
    except CorruptImage as error:
        raise _no_image(path, error) from None
    return data


def read_test_indices(data: DataConfig) -> tuple[SplitIndex, SplitIndex]:
    """Reads what the records say of their queries and of their gallery.

    Raises:
        UserError: `data.records` is not set, or the records are missing or broken.
    """
    if data.records is None:
        raise UserError("data.records is not set; give the folder of the records to draw from.")
    queries, gallery = (read_index(data.records, split, data.verify, data.fold)
                        for split in ("query", "gallery"))
    return queries, gallery


def read_images(data: DataConfig, split: str, positions: np.ndarray) -> list[np.ndarray]:
    """Reads images of a split, uint8 RGB [h, w, 3], in the order of their positions.

    Raises:
        UserError: The records are missing or broken.
    """
    increasing, places = np.unique(positions, return_inverse=True)
    images = [decode_image(encoded).numpy()
              for encoded in read_encoded(data.records, split, increasing, data.fold)]
    return [images[place] for place in places]


def image_label(index: SplitIndex, position: int) -> str:
    """Returns the person and the camera of an image, in words."""
    return f"person {index.ids[position]}, {camera_name(index.cameras[position])}"


def draw_queries(
    queries: SplitIndex, gallery: SplitIndex, count: int, random: np.random.Generator
) -> list[int]:
    """Draws queries that have a match by another camera, as many as there are up to `count`.

    Raises:
        UserError: No query has one.
    """
    drawn = []
    for query in random.permutation(len(queries)).tolist():
        identity, camera = queries.ids[query], queries.cameras[query]
        counts = counted(identity, camera, gallery.ids, gallery.cameras)
        if np.any(counts & (gallery.ids == identity)):
            drawn.append(query)
        if len(drawn) == count:
            break
    if not drawn:
        raise UserError("no query has a match by another camera; check the identities and cameras "
                        "of the records.")
    return drawn


def find_query(queries: SplitIndex, wanted: str) -> int:
    """Finds a query by its position, path or file name.

    Raises:
        UserError: There is none, or several have that name.
    """
    if wanted.isdecimal():
        found = [int(wanted)] if int(wanted) < len(queries) else []
    else:
        found = [place for place, path in enumerate(queries.paths)
                 if wanted in (path, Path(path).name)]
    if len(found) != 1:
        raise UserError(f"--query {wanted} names {len(found)} of the {len(queries)} queries; give "
                        f"0 to {len(queries) - 1}, or a path in the dataset such as "
                        f"{queries.paths[0]}.")
    return found[0]


def _no_image(path, reason) -> UserError:
    return UserError(f"{path}: {reason}; give a whole JPEG or PNG.")
