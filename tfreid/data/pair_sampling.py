"""Pair sampling: which images make up each batch of an epoch, and which two make up each pair."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tfrecords.errors import UserError

# Number of combinations of images in memory at a time when negative pairs are chosen.
_CHUNK = 2**19


class PairPlan(NamedTuple):
    """Batches of n pairs over m images, as int32 arrays.

    Attributes:
        images: Rows of the table, [batches, m].
        first: Position, from 0 to m - 1, of the first image of each pair, [batches, n].
        second: Position of the second image, [batches, n].
        match: 1 for positive and 0 for negative pairs, [batches, n].
    """

    images: np.ndarray
    first: np.ndarray
    second: np.ndarray
    match: np.ndarray


class PairSampler:
    """Draws batches of positive and random negative pairs (Guo and Cheung 2018, Section 4.2).

    The positive pairs are all pairs of images of an identity, without pairs from a single camera if
    it was seen by several; unknown cameras differ from all others. Negative pairs come from
    two cameras too, unless only one is known.

    `dataset` mixes the positives with negatives of any two training images, so that the share of
    positives varies between batches. `batch` gives each batch a fixed number of positives, of
    distinct identities unless one has more pairs than there are batches; its negatives combine
    images of different positives.

    The batches depend only on (seed, epoch). Drawing an epoch takes up to 35 bytes for each pair:
    60 MB for Market-1501's 114,025 positives 5 times and twice as many negatives, and about 250 MB
    with half a million positives.

    Args:
        labels: Integer identity of every image, [images].
        cameras: Camera of every image, negative if unknown, [images].
        batch_size: Number n of pairs.
        negatives_per_positive: Number of negatives for each positive.
        samples: How often an epoch shows each positive.
        negatives: `dataset` or `batch`.
        seed: Non-negative integer.

    Attributes:
        num_positive_pairs: Number of positive pairs.
        batches_per_epoch: Number of whole batches in which each positive occurs `samples` times, or
            more often if that does not fill one batch; the remaining pairs are dropped.
        images_per_batch: Number m of images, twice the number of pairs for `dataset` and twice the
            number of positives for `batch`.

    Raises:
        UserError: If there are no positive or no negative pairs, or `batch` cannot form any.
    """

    def __init__(self, labels: np.ndarray, cameras: np.ndarray, batch_size: int,
                 negatives_per_positive: int, samples: int, negatives: str, seed: int):
        if negatives not in ("dataset", "batch"):
            raise ValueError(f"negatives must be 'dataset' or 'batch', received {negatives!r}")
        self._labels = np.unique(labels, return_inverse=True)[1].astype(np.int32)
        cameras = np.asarray(cameras)
        self._positives = _PositivePairs(self._labels, cameras)
        several = len(np.unique(cameras[cameras >= 0])) > 1
        self._cameras = distinguished(cameras, several)
        self._batch_size = batch_size
        self._ratio = negatives_per_positive
        self._seed = seed
        self.num_positive_pairs = len(self._positives)
        check_pairs(self._labels, self.num_positive_pairs)
        if negatives == "dataset":
            self._round = self._dataset_round
            self.images_per_batch = 2 * batch_size
            shown, filled = self.num_positive_pairs * (1 + negatives_per_positive), batch_size
        else:
            self._round = self._batch_round
            self._positives_per_batch = -(-batch_size // (1 + negatives_per_positive))
            self.images_per_batch = 2 * self._positives_per_batch
            shown, filled = self.num_positive_pairs, self._positives_per_batch
        self._samples = max(samples, -(-filled // shown))
        self.batches_per_epoch = self._samples * shown // filled
        if negatives == "batch":
            self._check_batches()

    def epoch(self, epoch: int, batches: int) -> PairPlan:
        """Draws one epoch; after `batches_per_epoch` batches, pairs are drawn again."""
        rounds = []
        for start in range(0, batches, self.batches_per_epoch):
            random = np.random.default_rng([self._seed, epoch, 0, len(rounds)])
            rounds.append(self._round(random, min(batches - start, self.batches_per_epoch)))
        return rounds[0] if len(rounds) == 1 else PairPlan(*map(np.concatenate, zip(*rounds)))

    def _dataset_round(self, random, batches):
        positives = self._samples * self.num_positive_pairs
        negatives = self._draw_negatives(random, positives * self._ratio)
        order = np.arange(positives + len(negatives), dtype=np.int32)
        random.shuffle(order)
        order = order[: batches * self._batch_size]
        match = order < positives
        pairs = np.empty((len(order), 2), np.int32)
        pairs[~match] = negatives[order[~match] - positives]
        pairs[match] = self._positives.images(order[match] % self.num_positive_pairs)
        _swap_some(random, pairs)
        size = self._batch_size
        return PairPlan(
            pairs.reshape(batches, size, 2).transpose(0, 2, 1).reshape(batches, 2 * size),
            np.broadcast_to(np.arange(size, dtype=np.int32), (batches, size)),
            np.broadcast_to(np.arange(size, 2 * size, dtype=np.int32), (batches, size)),
            match.reshape(batches, size).astype(np.int32),
        )

    def _draw_negatives(self, random, count):
        pairs = random.integers(len(self._labels), size=(count, 2), dtype=np.int32)
        pending = np.flatnonzero(self._unfit(pairs))
        while pending.size:
            pairs[pending] = random.integers(len(self._labels), size=(len(pending), 2))
            pending = pending[self._unfit(pairs[pending])]
        return pairs

    def _unfit(self, pairs):
        first, second = pairs.T
        return (self._labels[first] == self._labels[second]) | (
            self._cameras[first] == self._cameras[second])

    def _batch_round(self, random, batches):
        positives = self._positives_per_batch
        pairs = self._positives.images(self._deal(random).reshape(-1))
        _swap_some(random, pairs)
        images = pairs.reshape(-1, positives, 2).transpose(0, 2, 1)[:batches]
        places = np.arange(positives, dtype=np.int32)
        matching = np.broadcast_to(places, (batches, positives))
        first, second = np.divmod(self._choose_negatives(random, images), np.int32(positives))
        match = np.repeat(np.int32([1, 0]), [positives, self._batch_size - positives])
        return PairPlan(
            images.reshape(batches, 2 * positives),
            np.hstack([matching, first]),
            np.hstack([matching, second]) + np.int32(positives),
            np.broadcast_to(match, (batches, self._batch_size)),
        )

    def _deal(self, random):
        """Distributes positives over a round's batches, each identity's over as many as possible.

        The first place of all batches is filled before the second one, and so on. An identity can
        meet a batch again only if its positives continue at the next place, whose batches are then
        reordered.

        Returns:
            Numbers of positives [batches_per_epoch, positives per batch].
        """
        batches, places = self.batches_per_epoch, self._positives_per_batch
        deck, stops = self._deck(random)
        receivers = np.empty((places, batches), np.int32)
        receivers[0] = random.permutation(batches)
        for place in range(1, places):
            hand = np.searchsorted(stops, place * batches, "right")
            begun = place * batches - (stops[hand - 1] if hand else 0)
            due = stops[hand] - place * batches
            had = np.zeros(batches, bool)
            had[receivers[place - 1, batches - begun :]] = True
            fresh = random.permutation(batches)
            others = fresh[~had[fresh]]
            rest = random.permutation(np.concatenate([others[due:], fresh[had[fresh]]]))
            receivers[place] = np.concatenate([others[:due], rest])
        dealt = np.empty((batches, places), np.int32)
        dealt[receivers, np.arange(places)[:, None]] = deck[: batches * places].reshape(places, -1)
        return dealt

    def _deck(self, random):
        """Returns a round's positives by identity, and the ends of parts that fit one place."""
        deck, sizes = [], []
        starts = self._positives.starts
        for identity in random.permutation(np.flatnonzero(np.diff(starts))):
            numbers = np.arange(starts[identity], starts[identity + 1], dtype=np.int32)
            deck.append(random.permutation(np.tile(numbers, self._samples)))
            whole, rest = divmod(len(deck[-1]), self.batches_per_epoch)
            sizes += [self.batches_per_epoch] * whole + [rest] * (rest > 0)
        return np.concatenate(deck), np.cumsum(sizes)

    def _choose_negatives(self, random, images):
        """Combines images a_i and b_j of the positives (a, b), distinct if there are enough.

        Returns i * positives + j, int32 [batches, negatives], for images [batches, 2, positives].
        """
        count = self._batch_size - self._positives_per_batch
        chosen = np.empty((len(images), count), np.int32)
        combinations = images.shape[2] ** 2
        kept = min(count, combinations)
        chunk = max(1, _CHUNK // combinations)
        for start in range(0, len(images), chunk):
            some = images[start : start + chunk]
            first, second = some[:, 0, :, None], some[:, 1, None, :]
            keys = random.random((len(some), combinations), np.float32)
            # Different cameras are preferred, and one identity is excluded.
            keys += (self._cameras[first] == self._cameras[second]).reshape(keys.shape)
            same = (self._labels[first] == self._labels[second]).reshape(keys.shape)
            keys[same] = np.inf
            smallest = np.argpartition(keys, kept - 1, axis=1)[:, :kept]
            ranks = np.argsort(np.take_along_axis(keys, smallest, axis=1), axis=1)
            usable = np.minimum(kept, (~same).sum(axis=1, keepdims=True))
            ranks = np.take_along_axis(ranks, np.arange(count) % usable, axis=1)
            chosen[start : start + chunk] = np.take_along_axis(smallest, ranks, axis=1)
        return chosen

    def _check_batches(self):
        if self._positives_per_batch < 2:
            raise UserError(f"data.pairs.batch_size is {self._batch_size}, which leaves one "
                            "positive pair per batch and no images for negatives; set it to "
                            f"{self._ratio + 2} or more, or data.pairs.negatives to dataset.")
        largest = self._samples * np.diff(self._positives.starts).max()
        if largest > self.batches_per_epoch * (self._positives_per_batch - 1):
            raise UserError("data.pairs.negatives is batch, but one identity has so many of the "
                            "positive pairs that some batches would contain no other; set it to "
                            "dataset.")


class _PositivePairs:
    """The positive pairs, numbered by identity and computed on demand.

    Attributes:
        starts: Number of the first pair of each identity, and of all pairs, [identities + 1].
    """

    def __init__(self, labels: np.ndarray, cameras: np.ndarray):
        known = np.unique(np.stack([labels, cameras])[:, cameras >= 0], axis=1)[0]
        across = np.bincount(known, minlength=labels.max() + 1) > 1
        cameras = distinguished(cameras, across[labels])
        self._order = np.lexsort((cameras, labels)).astype(np.int32)
        labels, cameras = labels[self._order], cameras[self._order]
        # An image's partners are those of later cameras of the identity: a range in this order.
        seen = np.flatnonzero(np.diff(labels, prepend=-1) | np.diff(cameras, prepend=0))
        self._partners = np.append(seen, len(labels))[
            np.searchsorted(seen, np.arange(len(labels)), "right")]
        ends = np.searchsorted(labels, labels, "right")
        self._starts = np.concatenate([[0], np.cumsum(ends - self._partners)])
        self.starts = self._starts[np.searchsorted(labels, np.arange(labels[-1] + 2))]

    def __len__(self):
        return int(self._starts[-1])

    def images(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the two images of each numbered pair, int32 [n, 2]."""
        first = np.searchsorted(self._starts, numbers, "right") - 1
        second = self._partners[first] + numbers - self._starts[first]
        return self._order[np.stack([first, second], axis=1)]


def distinguished(cameras: np.ndarray, counts: np.ndarray | bool = True) -> np.ndarray:
    """Gives images whose camera (or tracklet) is unknown, or does not count, a unique one."""
    return np.where(counts & (cameras >= 0), cameras, -1 - np.arange(len(cameras)))


def _swap_some(random, pairs):
    swapped = random.random(len(pairs), np.float32) < 0.5
    pairs[swapped] = pairs[swapped, ::-1]


def check_pairs(labels: np.ndarray, positives: int, source: str = "The training records") -> None:
    """Raises a `UserError` if there are no pairs of one kind; `labels` count from 0."""
    if not positives:
        raise UserError(f"{source} contain no positive pair, because no identity has two images; "
                        "use a dataset with several images of each identity.")
    if labels.max() == 0:
        raise UserError(f"{source} contain no negative pair, because there is only one identity; "
                        "use a dataset with several identities.")
