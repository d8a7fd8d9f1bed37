"""Training batches: a table of encoded images, an epoch's plan, and tf.data between them."""

from __future__ import annotations

import os

import cv2
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.data.augmentation import augment_batch, draw_augmentations
from tfreid.data.buffers import BatchBuffers
from tfreid.data.records import ImageTable, undecodable
from tfreid.data.sampling import IdentitySampler
from tfreid.settings import DataConfig

# As TensorFlow does when serving, take pixels as stored, whatever an EXIF tag says.
_READ_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION
# Older OpenCV decodes to BGR only.
_READ_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)


class IdentityBatches:
    """Augmented P x K batches, the same for the same (seed, epoch) however often they are read.

    Sets OpenCV to one thread: tf.data makes a batch per core at the same time.

    Args:
        table: The training images.
        config: P, K and the augmentation.
        height: Height of the network's input in pixels.
        width: Its width.
        seed: Of the sampling and the augmentation.

    Attributes:
        batch_size: P * K.
        table: The training images.
        error: What is wrong with the image that made a dataset fail with a `tf.errors.OpError`,
            or None.

    Raises:
        UserError: There are fewer identities than P.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int):
        self.batch_size = config.identities_per_batch * config.images_per_identity
        self.table = table
        self.error: UserError | None = None
        self._config = config
        self._size = (height, width)
        self._seed = seed
        self._sampler = IdentitySampler(
            table.index.labels, config.identities_per_batch, config.images_per_identity, seed
        )
        self._buffers = BatchBuffers((self.batch_size, height, width, 3))
        cv2.setNumThreads(1)

    def epoch(self, epoch: int, batches: int, first: int = 0) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch.

        Each element is (images, labels): uint8 RGB [P * K, height, width, 3] and int32 [P * K].
        """
        indices = self._sampler.epoch(epoch, batches)
        random = np.random.default_rng([self._seed, epoch, 1])
        plan = draw_augmentations(self._config.augmentation, indices.size, *self._size, random)
        plan["index"] = indices.reshape(-1)
        plan["label"] = self.table.index.labels[plan["index"]].astype(np.int32)
        plan = {
            name: values.reshape(batches, self.batch_size, *values.shape[1:])[first:]
            for name, values in plan.items()
        }
        dataset = tf.data.Dataset.from_tensor_slices(plan)
        # One more than cores, since a thread that waits for Python's lock leaves its core idle.
        workers = self._config.workers or os.cpu_count() + 1
        # By default there is a thread per core, and prefetching blocks one of them at times; and
        # autotuning falls back to one call at a time where the consumer is fast.
        options = tf.data.Options()
        options.autotune.enabled = False
        options.threading.private_threadpool_size = 2 * workers
        dataset = dataset.map(self._load, num_parallel_calls=workers).prefetch(2)
        return dataset.with_options(options)

    def _load(self, plan):
        # One call of Python a batch, and a method rather than a closure over the plan: TensorFlow
        # never lets go of a function that it was given.
        columns = [plan[name] for name in ("index", "flip", "shift", "erase", "color")]
        images = tf.numpy_function(self._make_batch, columns, tf.uint8)
        return tf.ensure_shape(images, (self.batch_size, *self._size, 3)), plan["label"]

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
