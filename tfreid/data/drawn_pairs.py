"""Randomly drawn pairs, for datasets with too many positive pairs to show them all."""

from __future__ import annotations

import numpy as np

from tfrecords.errors import UserError
from tfreid.data.pair_sampling import PairPlan, check_pairs, distinguished
from tfreid.data.sampling import deal
from tfreid.records import SplitIndex

APART = ("cameras", "tracklets", "images")


class DrawnPairSampler:
    """Draws batches with a fixed share of positive pairs, depending only on (seed, epoch).

    The first images of the pairs are all images in random order, repeatedly. The second image of a
    positive pair is one of the same identity from another camera, or else from another tracklet, or
    else any other image, as far as `apart` and the identity's images allow; that of a negative pair
    is any image of another identity. Unknown cameras and tracklets differ from all others. Drawing
    an epoch takes up to 60 bytes for each pair.

    Args:
        index: Index of the images; `labels` are the identities.
        batch_size: Number n of pairs.
        negatives_per_positive: Number of negative pairs for each positive pair; a batch has
            n / (1 + negatives_per_positive) positive pairs, rounded, at least one.
        apart: What separates the images of a positive pair: `cameras`, `tracklets` or `images`.
        seed: Non-negative integer.
        source: Origin of the images, for messages.

    Attributes:
        batches_per_epoch: Number of whole batches with as many pairs as there are images.
        images_per_batch: 2n.

    Raises:
        UserError: If there are no positive or no negative pairs.
    """

    def __init__(self, index: SplitIndex, batch_size: int, negatives_per_positive: int,
                 apart: str, seed: int, source: str = "The training records"):
        if apart not in APART:
            raise ValueError(f"apart must be one of {', '.join(APART)}, received {apart!r}")
        labels = np.unique(index.labels, return_inverse=True)[1].reshape(-1)
        groups = _groups(labels, index, apart)
        self._order = np.lexsort((groups, labels)).astype(np.int32)
        labels, groups = labels[self._order], groups[self._order]
        self._people = _ranges(labels)
        # Groups of different identities have different numbers.
        self._groups = _ranges(groups)
        partners = _sizes(self._people) - _sizes(self._groups)
        self._anchors = np.flatnonzero(partners)
        check_pairs(labels, len(self._anchors), source)
        self._batch_size = batch_size
        self._positives = max(1, round(batch_size / (1 + negatives_per_positive)))
        if self._positives == batch_size:
            raise UserError(f"data.pairs.batch_size is {batch_size}, which leaves no room for a "
                            "negative pair; increase it.")
        self._seed = seed
        self.images_per_batch = 2 * batch_size
        self.batches_per_epoch = max(1, len(labels) // batch_size)

    def epoch(self, epoch: int, batches: int) -> PairPlan:
        """Draws one epoch."""
        random = np.random.default_rng([self._seed, epoch, 0])
        size, positives = self._batch_size, self._positives
        parts = []
        for anchors, ranges, count in ((self._anchors, self._groups, positives),
                                       (np.arange(len(self._order)), self._people,
                                        size - positives)):
            first = anchors[deal(random, len(anchors), batches * count)]
            second = self._other(random, first, ranges, match=ranges is self._groups)
            parts.append(np.stack([first, second]).reshape(2, batches, count))
        pairs = np.concatenate(parts, axis=2)
        match = np.repeat(np.int32([1, 0]), [positives, size - positives])
        # Mixed, so that any part of a batch contains both kinds.
        mixed = random.permuted(np.tile(np.arange(size), (batches, 1)), axis=1)
        pairs = np.take_along_axis(self._order[pairs], mixed[np.newaxis], axis=2)
        swapped = random.random((batches, size), np.float32) < 0.5
        pairs = np.where(swapped, pairs[::-1], pairs)
        places = np.arange(size, dtype=np.int32)
        return PairPlan(
            np.concatenate(pairs, axis=1),
            np.broadcast_to(places, (batches, size)),
            np.broadcast_to(places + np.int32(size), (batches, size)),
            match[mixed],
        )

    def _other(self, random, first, left_out, match):
        """Draws for each place an image of its identity, or any, outside the range around it."""
        begins, ends = left_out[:, first]
        start, stop = self._people[:, first] if match else (0, len(self._order))
        drawn = start + random.integers(stop - start - (ends - begins), dtype=np.int64)
        return drawn + np.where(drawn >= begins, ends - begins, 0)


def _groups(labels, index, apart):
    """Numbers the groups within which images form no positive pair, distinct by identity."""
    images = np.arange(len(labels))
    if apart == "images":
        return images
    tracklets = _joined(labels, distinguished(index.tracklets))
    tracklets = np.where(_several(labels, tracklets), tracklets, len(labels) + images)
    if apart == "tracklets":
        return tracklets
    cameras = _joined(labels, distinguished(index.cameras))
    # Numbers above all of those of tracklets.
    return np.where(_several(labels, cameras), 2 * len(labels) + cameras, tracklets)


def _joined(labels, numbers):
    """Numbers the pairs (label, number) from 0."""
    numbers = np.unique(numbers, return_inverse=True)[1].reshape(-1)
    pairs = labels.astype(np.int64) * (numbers.max() + 1) + numbers
    return np.unique(pairs, return_inverse=True)[1].reshape(-1)


def _several(labels, groups):
    """Returns for each image whether its identity has several groups."""
    owners = labels[np.unique(groups, return_index=True)[1]]
    return np.bincount(owners, minlength=labels.max() + 1)[labels] > 1


def _ranges(values):
    """Returns start and end of the run of equal values around each place, [2, n]."""
    edges = np.flatnonzero(np.diff(values)) + 1
    edges = np.concatenate([[0], edges, [len(values)]])
    runs = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    return np.stack([edges[runs], edges[runs + 1]])


def _sizes(ranges):
    return ranges[1] - ranges[0]
