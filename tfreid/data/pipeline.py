"""Training batches of the embedding model: images and their labels."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.config import DataConfig
from tfreid.data.augmentation import draw_augmentations
from tfreid.data.image_batches import ImageBatches
from tfreid.data.sampling import IdentitySampler, ImageSampler
from tfreid.records import ImageTable


class IdentityBatches(ImageBatches):
    """Augmented batches, the same for the same (seed, epoch) however often they are read.

    Args:
        table: The training images.
        config: The sampling, its sizes and the augmentation.
        height: Height of the network's input in pixels.
        width: Its width.
        seed: Of the sampling and the augmentation.

    Attributes:
        batch_size: P * K, or `images_per_batch` where `sampling` is `images`.
        batches_per_epoch: As many as there are images for.
        description: Counts images and identities.
        table: The training images.
        error: What is wrong with the image that made a dataset fail with a `tf.errors.OpError`,
            or None.

    Raises:
        UserError: There are fewer identities than P.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int):
        if config.sampling == "images":
            self._sampler = ImageSampler(len(table.index), config.images_per_batch, seed)
        else:
            self._sampler = IdentitySampler(
                table.index.labels, config.identities_per_batch, config.images_per_identity, seed)
        self.batch_size = self._sampler.batch_size
        super().__init__(table, config, height, width, self.batch_size)
        self.batches_per_epoch = len(table.index) // self.batch_size
        self.description = (
            f"{len(table.index)} images of {table.index.labels.max() + 1} identities")
        self._augmentation = config.augmentation
        self._seed = seed

    def epoch(self, epoch: int, batches: int, first: int = 0) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch.

        Each element is (images, labels): uint8 RGB [n, height, width, 3] and int32 [n].
        """
        indices = self._sampler.epoch(epoch, batches)
        random = np.random.default_rng([self._seed, epoch, 1])
        rows = indices.reshape(-1)
        plan = draw_augmentations(
            self._augmentation, indices.size, *self._size, random, epoch,
            self.table.index.sizes(rows))
        plan["index"] = rows
        plan["label"] = self.table.index.labels[rows].astype(np.int32)
        plan = {
            name: values.reshape(batches, self.batch_size, *values.shape[1:])[first:]
            for name, values in plan.items()
        }
        return self.load(tf.data.Dataset.from_tensor_slices(plan), "label")
