"""From a table of encoded images to decoded, augmented batches, by tf.data and OpenCV."""

from __future__ import annotations

import collections
import os
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import DataConfig
from tfreid.data.augmentation import DRAWN, augment_batch, resize
from tfreid.layers.preprocessing import InputSize
from tfreid.records import ImageTable, undecodable
from tfreid.records.images import chunks_by_size

# Records hold upright images; as in evaluations no tag turns them.
_READ_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
# Older OpenCV decodes to BGR only.
_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)
# Number of batches prepared in advance.
_AHEAD = 2


class ImageLoader:
    """Decodes and augments the images of a table with `config.workers` threads.

    Sets OpenCV to one thread, because several batches are made at the same time.

    Attributes:
        table: The training images.
        error: The cause if a dataset failed with a `tf.errors.OpError`, or None.
    """

    def __init__(self, table: ImageTable, config: DataConfig):
        self.table = table
        self.error: UserError | None = None
        # One more than cores, since a thread that waits for Python's lock leaves a core idle.
        self._workers = config.workers or os.cpu_count() + 1
        self._erasing_color = config.augmentation.erasing_color
        cv2.setNumThreads(1)

    def map_plan(self, plan: tf.data.Dataset, make: Callable) -> tf.data.Dataset:
        """Applies `make`, which calls Python, to the elements of a plan in parallel."""
        # The default of one thread per core is too few, because prefetching may block one, and
        # autotuning falls back to one call at a time if the consumer is fast.
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 2 * self._workers
        return plan.map(make, num_parallel_calls=self._workers).prefetch(_AHEAD).with_options(
            options)

    def augment(self, rows: np.ndarray, drawn: tuple[np.ndarray, ...], targets) -> None:
        """Writes the augmented images at some rows [n] of the table to uint8 `targets`.

        `drawn` are the arrays of `DRAWN` with n rows each.
        """
        try:
            augment_batch(map(self._decode, rows.tolist()), dict(zip(DRAWN, drawn)), targets,
                          self._erasing_color)
        except UserError as error:
            self.error = error  # TensorFlow passes on only its text.
            raise

    def batches_by_size(self, rows: np.ndarray, size: InputSize,
                        batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields int64 places [n] in `rows` and uint8 RGB images [n, h, w, 3] of one size each.

        Raises:
            UserError: If an image cannot be decoded.
        """
        heights, widths = (np.broadcast_to(side, len(rows))
                           for side in size.of(*self.table.index.sizes(rows)))
        coming = collections.deque()
        with ThreadPoolExecutor(self._workers) as pool:
            for chunk in chunks_by_size(heights, widths, batch_size):
                coming.append((chunk, [pool.submit(
                    lambda place: resize(self._decode(rows[place]), int(heights[place]),
                                         int(widths[place])), place) for place in chunk]))
                if len(coming) > _AHEAD:
                    yield _gathered(*coming.popleft())
            while coming:
                yield _gathered(*coming.popleft())

    def _decode(self, index):
        encoded = np.frombuffer(self.table.encoded[index], np.uint8)
        try:
            if _READ_RGB is None:
                image = cv2.imdecode(encoded, cv2.IMREAD_COLOR | _READ_AS_STORED)
                cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
            else:
                image = cv2.imdecode(encoded, _READ_RGB | _READ_AS_STORED)
        except cv2.error:
            image = None
        if image is None:
            raise undecodable([self.table.index.paths[index]])
        return image


class ImageBatches(ImageLoader):
    """Makes batches of a fixed number of images of one size, as subclasses plan them.

    Attributes:
        images_per_batch: Number of images.
        state: None; see `tfreid.training.interfaces.Batches`.
        batches_per_preparation: None, likewise.
    """

    state = None
    batches_per_preparation = None

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int,
                 images_per_batch: int):
        super().__init__(table, config)
        self.images_per_batch = images_per_batch
        self._size = (height, width)
        self._buffers = BatchBuffers((images_per_batch, height, width, 3))

    def prepare(self, epoch: int, batches: int, first: int, model) -> dict[str, float]:
        """Does nothing, because batches depend only on (seed, epoch)."""
        return {}

    def load(self, plan: tf.data.Dataset, *names: str) -> tf.data.Dataset:
        """Returns batches of uint8 RGB images [m, height, width, 3] and the named parts of a plan.

        The plan has, for each batch, `index` [m], rows of the table, and as many rows of
        `draw_augmentations`.
        """
        return self.map_plan(
            plan, lambda batch: (self._load(batch), *(batch[name] for name in names)))

    def _load(self, plan):
        # A method instead of a closure over the plan, because TensorFlow keeps every function.
        columns = [plan[name] for name in ("index", *DRAWN)]
        images = tf.numpy_function(self._make_batch, columns, tf.uint8)
        return tf.ensure_shape(images, (self.images_per_batch, *self._size, 3))

    def _make_batch(self, rows, *drawn):
        batch = self._buffers.take()
        self.augment(rows, drawn, batch)
        return batch


def _gathered(places, images):
    return places, np.stack([image.result() for image in images])


# TensorFlow does not copy an array whose address is a multiple of this.
_ALIGNMENT = 64


class BatchBuffers:
    """Provides uint8 arrays of one shape and reuses their memory when they are no longer in use.

    Clearing new memory for each batch would take a tenth of the pipeline's time.
    """

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._free: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """Returns an array with arbitrary content, from any thread."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._aligned()
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return lent

    def _aligned(self):
        size = int(np.prod(self._shape))
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        return memory[start : start + size].reshape(self._shape)
