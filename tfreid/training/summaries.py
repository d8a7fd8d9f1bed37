"""TensorBoard summaries of a run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from tfrecords.errors import find_os_error, printable
from tfrecords.writing import whole_file, write_whole
from tfreid.evaluation.evaluator import Projection
from tfreid.layers.preprocessing import InputSize
from tfreid.losses.statistics import negative_distances, positive_distances

_GRID_IMAGES = 32
_GRID_COLUMNS = 8
# Pixels in the projector: height and width of a thumbnail, and the largest sprite it reads.
_THUMBNAIL = (64, 32)
_SPRITE = 8192


class Summaries:
    """Writes a run's scalars, histograms, images and projector files into a folder.

    Training goes on when they cannot be written, for example on a full disk: that is a warning, and
    curves are written again after the next `flush`. A deleted folder is made again.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._writer: tf.summary.SummaryWriter | None = None
        self._paused = False

    def attempt(self, write: Callable[..., None], *arguments: Any) -> None:
        """Calls a function that writes files into the folder; its failure to is a warning."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            write(*arguments)
        except (OSError, tf.errors.OpError, RuntimeError) as error:
            found = find_os_error(error)
            if found is None:
                raise
            warnings.warn(f"{self._directory}: files for TensorBoard could not be written "
                          f"({found.strerror}); training goes on without them", stacklevel=3)
            self._writer, self._paused = None, True

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Writes one point of each curve."""
        self._write(step, lambda: [tf.summary.scalar(*item) for item in values.items()])

    def text(self, tag: str, text: str, step: int) -> None:
        """Writes a line of text."""
        self._write(step, lambda: tf.summary.text(tag, text))

    def distances(self, features: tf.Tensor, labels: tf.Tensor, normalize: bool, step: int) -> None:
        """Writes histograms of the distances of a batch's pairs; features [n, d], labels [n]."""
        kinds = {"positive": positive_distances, "negative": negative_distances}
        self._write(step, lambda: [
            tf.summary.histogram(f"distance/{name}", distances(features, labels, normalize))
            for name, distances in kinds.items()])

    def images(self, tag: str, images: tf.Tensor, step: int, columns: int = _GRID_COLUMNS) -> None:
        """Writes a grid of the first images of [n, h, w, 3]: uint8, or floats in 0-1."""
        images = tf.image.convert_image_dtype(images[:_GRID_IMAGES], tf.uint8, saturate=True)
        self._write(step, lambda: tf.summary.image(tag, _grid(images.numpy(), columns)[None]))

    def _write(self, step, write):
        """Calls a function in which `tf.summary` writes, unless that is paused."""
        if not self._directory.is_dir():  # deleted, which an open writer would not notice
            self._writer = None
        if not self._paused:
            self.attempt(self._write_to_events, step, write)

    def _write_to_events(self, step, write):
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._directory))
        with self._writer.as_default(step=step):
            write()

    def projector(self, projection: Projection, count: int) -> None:
        """Writes the features, identities, cameras and thumbnails of at most `count` images.

        Thumbnails of many images are smaller, for TensorBoard to read the picture of all.
        """
        features, split = projection
        index, names = split.index, (split.person_names, split.camera_names)
        count = min(count, len(index))
        with whole_file(self._directory / "gallery.tsv") as temporary:
            np.savetxt(temporary, features[:count], "%.5g", "\t")
        rows = zip(*([printable(str(known.get(value, value))) for value in values[:count].tolist()]
                      for known, values in zip(names, (index.ids, index.cameras))))
        labels = "".join(f"{identity}\t{camera}\n" for identity, camera in
                         [("identity", "camera"), *rows])
        write_whole(self._directory / "gallery_labels.tsv", labels.encode())
        columns = int(np.ceil(np.sqrt(count)))
        height, width = _thumbnail(columns)
        ((_, images),) = split.batches(
            InputSize(height, width), count, positions=np.arange(count))
        thumbnails = np.clip(images, 0, 255).astype(np.uint8)
        sprite = _grid(thumbnails, columns, square=True)
        write_whole(self._directory / "gallery.png",
                    cv2.imencode(".png", sprite[..., ::-1])[1].tobytes())
        config = projector.ProjectorConfig()
        embedding = config.embeddings.add()
        embedding.tensor_name = "gallery"
        embedding.tensor_path = "gallery.tsv"
        embedding.metadata_path = "gallery_labels.tsv"
        embedding.sprite.image_path = "gallery.png"
        embedding.sprite.single_image_dim.extend([width, height])
        projector.visualize_embeddings(str(self._directory), config)

    def flush(self) -> None:
        """Writes everything to disk, and resumes after a failure."""
        self._paused = False
        if self._writer is not None:
            self.attempt(self._writer.flush)


def _thumbnail(columns: int) -> tuple[int, int]:
    """Returns height and width of the thumbnails of a square sprite of so many columns."""
    height, width = _THUMBNAIL
    scale = min(1.0, _SPRITE / (columns * height))
    return max(1, int(height * scale)), max(1, int(width * scale))


def _grid(images: np.ndarray, columns: int, square: bool = False) -> np.ndarray:
    """Tiles images [n, h, w, 3] row by row, into a square for the projector."""
    count, height, width, _ = images.shape
    rows = columns if square else -(-count // columns)
    grid = np.zeros((rows * columns, height, width, 3), np.uint8)
    grid[:count] = images
    grid = grid.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, 3)
