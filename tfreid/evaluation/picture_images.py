"""Images for pictures: from files and from records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.images import CorruptImage, inspect_image
from tfreid.evaluation.protocol import counted
from tfreid.records import Split, SplitIndex, decode_image
from tfreid.visualization.ranked_list import camera_name


def read_image_file(path: str | Path) -> np.ndarray:
    """Reads a JPEG or PNG file as uint8 RGB [h, w, 3].

    Raises:
        UserError: If it cannot be read, or holds no whole image.
    """
    try:
        return decode_image(read_file(path)).numpy()
    except tf.errors.InvalidArgumentError:
        raise _no_image(path, "cannot be decoded") from None


def read_file(path: str | Path) -> bytes:
    """Reads a JPEG or PNG file as it is.

    Raises:
        UserError: If it cannot be read, or holds no whole image.
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


def read_images(split: Split, positions: np.ndarray) -> list[np.ndarray]:
    """Reads the images at some positions of a split, in any order, as uint8 RGB [h, w, 3]."""
    return [decode_image(split.encoded[position]).numpy() for position in positions]


def image_label(index: SplitIndex, position: int) -> str:
    """Describes an image by its identity and camera."""
    return f"person {index.ids[position]}, {camera_name(index.cameras[position])}"


def draw_queries(
    queries: SplitIndex, gallery: SplitIndex, count: int, random: np.random.Generator
) -> list[int]:
    """Draws at most `count` queries that have a match by another camera.

    Raises:
        UserError: If no query has one.
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
        UserError: If there is none, or several have that name.
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
