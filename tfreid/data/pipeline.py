"""Training batches: a table of encoded images, an epoch's plan, and tf.data between them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.config import DataConfig
from tfreid.data.augmentation import augment, draw_augmentations
from tfreid.data.records import ImageTable, decode_image
from tfreid.data.sampling import IdentitySampler


class IdentityBatches:
    """Augmented P x K batches, the same ones for the same (seed, epoch) however often they are read.

    Args:
        table: The training images.
        config: P, K and the augmentation.
        height: Height of the network's input in pixels.
        width: Its width.
        seed: Of the sampling and the augmentation.

    Raises:
        UserError: There are fewer identities than P.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int):
        self.batch_size = config.identities_per_batch * config.images_per_identity
        self.table = table
        self._config = config
        self._size = (height, width)
        self._seed = seed
        self._sampler = IdentitySampler(
            table.index.labels, config.identities_per_batch, config.images_per_identity, seed
        )

    def batches_in_one_pass(self) -> int:
        """Returns how many batches go about once over the images."""
        return max(1, len(self.table.index) // self.batch_size)

    def epoch(self, epoch: int, batches: int, first: int = 0) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch.

        Each element is (images, labels): float32 RGB [P * K, height, width, 3] in 0-255 and int32
        [P * K].
        """
        indices = self._sampler.epoch(epoch, batches)
        random = np.random.default_rng([self._seed, epoch, 1])
        plan = draw_augmentations(self._config.augmentation, indices.size, *self._size, random)
        plan["index"] = indices.reshape(-1)
        plan["label"] = self.table.index.labels[plan["index"]].astype(np.int32)
        start = first * self.batch_size
        dataset = tf.data.Dataset.from_tensor_slices({k: v[start:] for k, v in plan.items()})
        dataset = dataset.map(
            self._load, num_parallel_calls=self._config.workers or tf.data.AUTOTUNE
        )
        return dataset.batch(self.batch_size, drop_remainder=True).prefetch(2)

    def _load(self, row):
        image = decode_image(tf.gather(self.table.encoded, row["index"]))
        image = augment(image, row, self._config.augmentation, *self._size)
        return image, row["label"]
