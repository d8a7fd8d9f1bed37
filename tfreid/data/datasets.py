"""Training batches as endless `tf.data.Dataset`s, for custom training loops."""

from __future__ import annotations

import itertools

import tensorflow as tf

from tfreid.config import AugmentationConfig, DataConfig, PairDataConfig
from tfreid.data.batches import IdentityBatches, PairBatches
from tfreid.data.image_batches import ImageBatches
from tfreid.records import Split


def identity_dataset(split: Split, height: int = 256, width: int = 128,
                     identities_per_batch: int = 16, images_per_identity: int = 4,
                     augmentation: AugmentationConfig | None = None,
                     seed: int = 0) -> tf.data.Dataset:
    """Makes an endless dataset of P x K batches (Hermans et al. 2017, Section 3).

    Args:
        split: Training images, `records["train"]`.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        identities_per_batch: P.
        images_per_identity: K, 2 or more. Identities with fewer images repeat some.
        augmentation: The augmentation. Defaults to flips, shifts and random erasing.
        seed: Seed of the sampling and the augmentation.

    Returns:
        Dataset of (images, labels): uint8 RGB [P * K, height, width, 3] and int32 [P * K].

    Raises:
        UserError: If the split has fewer than P identities, or an image is damaged.

    Example:
        >>> train = tfreid.Records("records/people")["train"]
        >>> batches = tfreid.identity_dataset(train, 64, 32, identities_per_batch=4)
        >>> images, labels = next(iter(batches))
        >>> images.shape, labels.shape
        (TensorShape([16, 64, 32, 3]), TensorShape([16]))
    """
    data = DataConfig(identities_per_batch=identities_per_batch,
                      images_per_identity=images_per_identity,
                      augmentation=augmentation or AugmentationConfig())
    return _endless(IdentityBatches(split.load(), data, height, width, seed))


def pair_dataset(split: Split, height: int = 256, width: int = 128,
                 pairs: PairDataConfig | None = None,
                 augmentation: AugmentationConfig | None = None, seed: int = 0) -> tf.data.Dataset:
    """Makes an endless dataset of positive and negative pairs of images.

    Args:
        split: Training images, `records["train"]`.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        pairs: The pair sampling. Defaults to all positive pairs across cameras, with two random
            negative pairs for each (Guo and Cheung 2018, Section 4.2).
        augmentation: The augmentation. Defaults to flips, shifts and random erasing.
        seed: Seed of the sampling and the augmentation.

    Returns:
        Dataset of (images, first, second, match): uint8 RGB [m, height, width, 3], the positions
        among them of the two images of each pair, int32 [n] each, and int32 [n], 1 for one identity
        and 0 for two.

    Raises:
        UserError: If the images form no positive or no negative pair, or an image is damaged.

    Example:
        >>> train = tfreid.Records("records/people")["train"]
        >>> images, first, second, match = next(iter(tfreid.pair_dataset(train, 64, 32)))
        >>> len(first) == len(match)
        True
    """
    data = DataConfig(pairs=pairs or PairDataConfig(),
                      augmentation=augmentation or AugmentationConfig())
    return _endless(PairBatches(split.load(), data, height, width, seed))


def _endless(batches: ImageBatches) -> tf.data.Dataset:
    """Chains the epochs, each of as many batches as its sampler has."""
    count = max(1, batches.batches_per_epoch)

    def read():
        for epoch in itertools.count():
            yield from batches.epoch(epoch, count)

    return tf.data.Dataset.from_generator(
        read, output_signature=batches.epoch(0, 1).element_spec).prefetch(2)
