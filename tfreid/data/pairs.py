"""Training batches of the pair model: images, and which two of them make up each pair."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.data.augmentation import DRAWN, draw_augmentations
from tfreid.data.image_batches import ImageBatches
from tfreid.data.pair_sampling import PairSampler
from tfreid.data.records import ImageTable
from tfreid.settings import DataConfig


class PairBatches(ImageBatches):
    """Augmented batches of pairs, the same for the same (seed, epoch) however often they are read.

    Args:
        table: The training images.
        config: `pairs` and the augmentation.
        height: Height of the network's input in pixels.
        width: Its width.
        seed: Of the sampling and the augmentation.

    Attributes:
        batch_size: Number of pairs.
        num_positive_pairs: Number of matching pairs.
        batches_per_epoch: Whole batches that show every matching pair `pairs.samples` times.
        images_per_batch: Number of images m that a batch's pairs refer to.
        table: The training images.
        error: What is wrong with the image that made a dataset fail with a `tf.errors.OpError`,
            or None.

    Raises:
        UserError: The images make no matching pair, or no non-matching one.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int):
        pairs = config.pairs
        self._sampler = PairSampler(
            table.index.labels, table.index.cameras, pairs.batch_size,
            pairs.negatives_per_positive, pairs.samples, pairs.negatives, seed,
        )
        super().__init__(table, config, height, width, self._sampler.images_per_batch)
        self.batch_size = pairs.batch_size
        self.num_positive_pairs = self._sampler.num_positive_pairs
        self.batches_per_epoch = self._sampler.batches_per_epoch
        self._augmentation = config.augmentation
        self._seed = seed

    def epoch(self, epoch: int, batches: int, first: int = 0) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch.

        Each element is (images, left, right, match): uint8 RGB [m, height, width, 3], the two
        images of each pair as int32 positions among them [n], and int32 [n], 1 for one identity
        and 0 for two.
        """
        pairs = self._sampler.epoch(epoch, batches)
        plan = {
            "index": pairs.images, "left": pairs.left, "right": pairs.right, "match": pairs.match,
            "epoch": np.full(batches, epoch), "batch": np.arange(batches),
        }
        plan = {name: values[first:] for name, values in plan.items()}
        dataset = tf.data.Dataset.from_tensor_slices(plan).map(self._augmented)
        return self.load(dataset, "left", "right", "match")

    def _augmented(self, plan):
        # Drawn batch by batch: for a whole epoch of pairs the numbers would fill the memory.
        columns = [plan[name] for name in ("epoch", "batch", "index")]
        drawn = tf.numpy_function(self._draw, columns, list(DRAWN.values()))
        return {**plan, **dict(zip(DRAWN, drawn))}

    def _draw(self, epoch, batch, index):
        random = np.random.default_rng([self._seed, int(epoch), 1, int(batch)])
        drawn = draw_augmentations(
            self._augmentation, self.images_per_batch, *self._size, random, int(epoch),
            self.table.index.sizes(index))
        return tuple(drawn.values())
