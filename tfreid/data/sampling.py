"""P x K sampling, and plain sampling: which images make up each batch of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tfrecords.errors import UserError


class IdentitySampler:
    """Draws batches of P identities with K images each (Hermans et al. 2017, Section 3).

    Each identity's images are shuffled and split into groups of K. A batch takes one group from
    each of P distinct identities; identities with more groups left are more likely, so that an
    epoch visits all images about once. When fewer than P identities have groups left, all images
    are split again. The batches depend only on (seed, epoch).

    With cameras, each group instead takes its images from min(K, C) of its identity's C cameras,
    from each as many as from the others or one more. There are as many groups as before, so a
    camera with few images shows them more often and one with many leaves some out.

    Args:
        labels: Integer identity of every image, [images].
        identities_per_batch: P.
        images_per_identity: K. Identities with fewer images repeat some.
        seed: Non-negative integer.
        cameras: Integer camera of every image, [images], to balance groups by; those below 0 are
            unknown and count as one. None does not balance.

    Attributes:
        batch_size: P * K.

    Raises:
        UserError: If there are fewer identities than P, or no camera to balance by is known.
    """

    def __init__(self, labels: np.ndarray, identities_per_batch: int, images_per_identity: int,
                 seed: int, cameras: np.ndarray | None = None):
        labels = np.asarray(labels)
        order = np.argsort(labels, kind="stable")
        identities, starts = np.unique(labels[order], return_index=True)
        if len(identities) < identities_per_batch:
            raise UserError(f"data.identities_per_batch is {identities_per_batch} but the records "
                            f"have only {len(identities)} training identities; set it to "
                            f"{len(identities)} or less.")
        self._images = np.split(order, starts[1:])
        self._cameras = None if cameras is None else np.maximum(cameras, -1)
        if cameras is not None and self._cameras.max() < 0:
            raise UserError("data.balance_cameras is true but no training image of the records "
                            "names its camera; set it to false.")
        self._identities_per_batch = identities_per_batch
        self._images_per_identity = images_per_identity
        self.batch_size = identities_per_batch * images_per_identity
        self._seed = seed

    def epoch(self, epoch: int, batches: int) -> np.ndarray:
        """Draws one epoch: image indices [batches, P * K], grouped by identity."""
        random = np.random.default_rng([self._seed, epoch])
        return np.stack([*self.draw(random, [self._identities_per_batch] * batches)])

    def draw(self, random: np.random.Generator, counts: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the image indices [count * K] of batches of so many identities, P at most."""
        groups = self._cut(random)
        for count in counts:
            left = np.array([len(rows) for rows in groups])
            if np.count_nonzero(left) < max(1, count):
                groups = self._cut(random)
                left = np.array([len(rows) for rows in groups])
            chosen = random.choice(len(groups), count, replace=False, p=left / left.sum())
            batch = np.empty((count, self._images_per_identity), np.int64)
            for row, identity in enumerate(chosen):
                batch[row] = groups[identity].pop()
            yield batch.reshape(-1)

    def _cut(self, random: np.random.Generator) -> list[list[np.ndarray]]:
        """Returns, per identity, its shuffled images in groups of K."""
        if self._cameras is not None:
            return [self._balanced(images, random) for images in self._images]
        size = self._images_per_identity
        groups = []
        for images in self._images:
            images = random.permutation(images)
            if len(images) < size:
                images = np.concatenate([images, random.choice(images, size - len(images))])
            whole = len(images) // size
            groups.append(list(images[: whole * size].reshape(whole, size)))
        return groups

    def _balanced(self, images: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
        """Returns an identity's images in groups of K from as many cameras as it has."""
        size, cameras = self._images_per_identity, self._cameras[images]
        own = [images[cameras == camera] for camera in np.unique(cameras)]
        left = [random.permutation(rows) for rows in own]
        groups = []
        for _ in range(max(1, len(images) // size)):
            group = []
            for turn, camera in enumerate(random.permutation(len(own))[:size]):
                count = len(range(turn, size, len(own)))
                if len(left[camera]) < count:
                    left[camera] = random.permutation(own[camera])
                # A camera with fewer images repeats them.
                group.append(np.resize(left[camera], count))
                left[camera] = left[camera][count:]
            groups.append(np.concatenate(group))
        return groups


class ImageSampler:
    """Visits all images in random order, repeatedly, without regard to identity.

    The batches depend only on (seed, epoch).
    """

    def __init__(self, count: int, batch_size: int, seed: int):
        self._count = count
        self.batch_size = batch_size
        self._seed = seed

    def epoch(self, epoch: int, batches: int) -> np.ndarray:
        """Draws one epoch: image indices [batches, batch_size]."""
        random = np.random.default_rng([self._seed, epoch])
        return np.stack([*self.draw(random, [self.batch_size] * batches)])

    def draw(self, random: np.random.Generator, counts: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the image indices of batches of so many images."""
        order = deal(random, self._count, sum(counts))
        yield from np.split(order, np.cumsum(counts)[:-1])


def deal(random: np.random.Generator, things: int, count: int) -> np.ndarray:
    """Draws `count` positions: all `things` in random order before any is repeated."""
    rounds = -(-count // things)
    return np.concatenate([np.empty(0, np.int64),
                           *(random.permutation(things) for _ in range(rounds))])[:count]
