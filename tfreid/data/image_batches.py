"""From a table of encoded images to decoded, augmented batches, by tf.data and OpenCV."""

from __future__ import annotations

import os

import cv2
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.data.augmentation import augment_batch
from tfreid.data.buffers import BatchBuffers
from tfreid.data.records import ImageTable, undecodable
from tfreid.settings import DataConfig

# As TensorFlow does when serving, take pixels as stored, whatever an EXIF tag says.
_READ_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
# Older OpenCV decodes to BGR only.
_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)


class ImageBatches:
    """Makes batches of a fixed number of images; what is in them its subclasses plan.

    Sets OpenCV to one thread: tf.data makes a batch per core at the same time.

    Args:
        table: The training images.
        config: Its `workers` are the threads that decode.
        height: Height of the network's input in pixels.
        width: Its width.
        images_per_batch: Number of images.

    Attributes:
        table: The training images.
        images_per_batch: Number of images.
        error: What is wrong with the image that made a dataset fail with a `tf.errors.OpError`,
            or None.
    """

    def __init__(
        self, table: ImageTable, config: DataConfig, height: int, width: int, images_per_batch: int
    ):
        self.table = table
        self.images_per_batch = images_per_batch
        self.error: UserError | None = None
        self._size = (height, width)
        # One more than cores, since a thread that waits for Python's lock leaves its core idle.
        self._workers = config.workers or os.cpu_count() + 1
        self._buffers = BatchBuffers((images_per_batch, height, width, 3))
        cv2.setNumThreads(1)

    def load(self, plan: tf.data.Dataset, *names: str) -> tf.data.Dataset:
        """Makes the batches of a plan.

        Args:
            plan: A dictionary for each batch: `index` [m], rows of the table, and as many rows of
                `draw_augmentations`.
            names: What else of the plan to pass on.

        Returns:
            Tuples of uint8 RGB images [m, height, width, 3] and the named parts of the plan.
        """
        # By default there is a thread per core, and prefetching blocks one of them at times; and
        # autotuning falls back to one call at a time where the consumer is fast.
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 2 * self._workers
        dataset = plan.map(
            lambda batch: (self._load(batch), *(batch[name] for name in names)),
            num_parallel_calls=self._workers,
        )
        return dataset.prefetch(2).with_options(options)

    def _load(self, plan):
        # One call of Python a batch, and a method rather than a closure over the plan: TensorFlow
        # never lets go of a function that it was given.
        columns = [plan[name] for name in ("index", "flip", "shift", "erase", "color")]
        images = tf.numpy_function(self._make_batch, columns, tf.uint8)
        return tf.ensure_shape(images, (self.images_per_batch, *self._size, 3))

    def _make_batch(self, indices, flip, shift, erase, color):
        drawn = {"flip": flip, "shift": shift, "erase": erase, "color": color}
        try:
            images = map(self._decode, indices.tolist())
            return augment_batch(images, drawn, *self._size, self._buffers.take())
        except UserError as error:
            self.error = error  # TensorFlow passes on only its text, inside a traceback's.
            raise

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
