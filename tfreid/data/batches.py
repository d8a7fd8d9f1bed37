"""Training batches: images with their labels, or with the pairs that they form."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import DataConfig, PairDataConfig
from tfreid.data.augmentation import DRAWN, draw_augmentations
from tfreid.data.drawn_pairs import DrawnPairSampler
from tfreid.data.image_batches import ImageBatches
from tfreid.data.pair_sampling import PairSampler
from tfreid.data.sampling import IdentitySampler, ImageSampler
from tfreid.data.source_sampling import BalancedSampler, source_shares
from tfreid.records import ImageTable


class IdentityBatches(ImageBatches):
    """Augmented batches of labelled images, determined by (seed, epoch).

    Args:
        table: The training images.
        config: The sampling, its sizes and the augmentation.
        height: Height of the network's input in pixels.
        width: Width of the input.
        seed: Seed of the sampling and the augmentation.

    Attributes:
        batch_size: P * K, or `images_per_batch` if `sampling` is `images`.
        batches_per_epoch: Number of whole batches that the images fill.
        description: The numbers of images and identities.

    Raises:
        UserError: If there are fewer identities than P, or than a source's share of P, or no camera
            to balance batches by.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int):
        self._sampler = _make_image_sampler(table, config, seed)
        self.batch_size = self._sampler.batch_size
        super().__init__(table, config, height, width, self.batch_size)
        self.batches_per_epoch = len(table.index) // self.batch_size
        self.description = table.description
        self._augmentation = config.augmentation
        self._seed = seed

    def epoch(self, epoch: int, batches: int, first: int = 0,
              part: np.ndarray | slice = slice(None)) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch, or a `part` of these.

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
            name: values.reshape(batches, self.batch_size, *values.shape[1:])[first:][part]
            for name, values in plan.items()
        }
        return self.load(tf.data.Dataset.from_tensor_slices(plan), "label")


class PairBatches(ImageBatches):
    """Augmented batches of pairs, determined by (seed, epoch).

    Args:
        table: The training images.
        config: `pairs` and the augmentation.
        height: Height of the network's input in pixels.
        width: Width of the input.
        seed: Seed of the sampling and the augmentation.
        with_labels: Whether batches contain the labels of the images.

    Attributes:
        batch_size: Number of pairs.
        description: The pairs of an epoch, as text.
        batches_per_epoch: Number of batches in an epoch of the sampler.
        images_per_batch: Number m of images in a batch.

    Raises:
        UserError: If the images form no positive or no negative pair.
    """

    def __init__(self, table: ImageTable, config: DataConfig, height: int, width: int, seed: int,
                 with_labels: bool = False):
        pairs = config.pairs
        self._sampler, self.description = _make_pair_sampler(table, pairs, seed)
        # The sampler numbers images and their copies: row * copies + copy.
        self._copies = _copies(pairs)
        super().__init__(table, config, height, width, self._sampler.images_per_batch)
        self.batch_size = pairs.batch_size
        self.batches_per_epoch = self._sampler.batches_per_epoch
        self._more = ("label",) if with_labels else ()
        self._augmentation = config.augmentation
        self._seed = seed

    def epoch(self, epoch: int, batches: int, first: int = 0,
              part: np.ndarray | slice = slice(None)) -> tf.data.Dataset:
        """Returns the batches `first` to `batches` of an epoch, or a `part` of these.

        Each element is (images, first, second, match): uint8 RGB [m, height, width, 3], the two
        images of each pair as int32 positions among them [n], and int32 [n], 1 for one identity
        and 0 for two; with `with_labels` also each image's label, int32 [m].
        """
        pairs = self._sampler.epoch(epoch, batches)
        rows, copies = np.divmod(pairs.images, np.int32(self._copies))
        plan = {
            "index": rows, "copy": copies, "first": pairs.first, "second": pairs.second,
            "match": pairs.match, "label": self.table.index.labels[rows].astype(np.int32),
            "epoch": np.full(batches, epoch), "batch": np.arange(batches),
        }
        plan = {name: values[first:][part] for name, values in plan.items()}
        dataset = tf.data.Dataset.from_tensor_slices(plan).map(self._augmented)
        return self.load(dataset, "first", "second", "match", *self._more)

    def _augmented(self, plan):
        # Drawn batch by batch, because the numbers for a whole epoch would fill the memory.
        columns = [plan[name] for name in ("epoch", "batch", "index", "copy")]
        drawn = tf.numpy_function(self._draw, columns, list(DRAWN.values()))
        return {**plan, **dict(zip(DRAWN, drawn))}

    def _draw(self, epoch, batch, index, copies):
        random = np.random.default_rng([self._seed, int(epoch), 1, int(batch)])
        drawn = draw_augmentations(
            self._augmentation, self.images_per_batch, *self._size, random, int(epoch),
            self.table.index.sizes(index))
        if self._copies > 1:
            # The original first, the flipped copy last, and the shifted ones between them.
            drawn["flip"] = copies == self._copies - 1
            drawn["shift"][(copies == 0) | drawn["flip"]] = 0
        return tuple(drawn.values())


def _make_image_sampler(table: ImageTable, config: DataConfig, seed: int):
    """Returns the sampler of batches without pairs."""
    shares = source_shares(table, config.source_balance)

    def make(rows, places, source=None):
        labels = table.index.labels[rows]
        if config.sampling == "images":
            return ImageSampler(len(labels), places, seed)
        found = len(np.unique(labels))
        if source is not None and found < places:
            raise UserError(
                f"data.source_balance gives {source} up to {places} of the "
                f"{config.identities_per_batch} identities of a batch, but it has {found}; lower "
                "its share or data.identities_per_batch.")
        cameras = table.index.cameras[rows] if config.balance_cameras else None
        if cameras is not None and cameras.max() < 0 <= table.index.cameras.max():
            cameras = None  # of this source, while others name theirs
        return IdentitySampler(labels, places, config.images_per_identity, seed, cameras)

    places = (config.images_per_batch if config.sampling == "images"
              else config.identities_per_batch)
    if shares is None:
        return make(slice(None), places)
    return BalancedSampler(table, shares, places, make, seed)


def _make_pair_sampler(table: ImageTable, pairs: PairDataConfig, seed: int):
    """Returns the sampler and a description of its pairs."""
    images = f"of {len(table.index):,} images"
    if pairs.matching == "drawn":
        sampler = DrawnPairSampler(
            table.index, pairs.batch_size, pairs.negatives_per_positive, pairs.apart, seed)
        return sampler, f"pairs drawn {images}"
    labels, cameras, samples = table.index.labels, table.index.cameras, pairs.samples
    if pairs.matching == "enlarged":
        images += f", each with {pairs.samples} shifted copies and a flipped one"
        labels, samples = np.repeat(labels, _copies(pairs)), 1
        cameras = np.full(len(labels), -1)  # unknown, so that all pairs within an identity count
    sampler = PairSampler(labels, cameras, pairs.batch_size, pairs.negatives_per_positive, samples,
                          pairs.negatives, seed)
    return sampler, f"{sampler.num_positive_pairs:,} positive pairs {images}"


def _copies(pairs: PairDataConfig) -> int:
    """Returns how often each image is in its identity's set: itself, shifted, and flipped."""
    return pairs.samples + 2 if pairs.matching == "enlarged" else 1
