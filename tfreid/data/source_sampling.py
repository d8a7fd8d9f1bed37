"""Batches in which each of several sources has its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Union

import numpy as np

from tfrecords.errors import UserError
from tfreid.data.sampling import IdentitySampler, ImageSampler
from tfreid.records import ImageTable

Balance = Union[Literal["equal"], Sequence[float], None]


def source_shares(table: ImageTable, balance: Balance) -> np.ndarray | None:
    """Returns the shares of a table's sources, which sum to 1, or None for one dataset.

    Args:
        table: The training images.
        balance: `data.source_balance`.

    Raises:
        UserError: If there is another number of shares than of sources.
    """
    names = ("the records",) if table.sources is None else table.sources.names
    if balance is None:
        return None
    weights = np.ones(len(names)) if balance == "equal" else np.array(balance, np.float64)
    if len(weights) != len(names):
        raise UserError(f"data.source_balance has {len(weights)} numbers, but {len(names)} sources "
                        f"are trained on ({', '.join(names)}); give a number for each.")
    return None if len(names) == 1 else weights / weights.sum()


def draw_places(shares: np.ndarray, places: int, batches: int,
                random: np.random.Generator) -> np.ndarray:
    """Divides the places of batches among sources: int64 [batches, sources].

    In each batch a source has its share of the places, rounded up or down so that its mean over
    many batches is the share itself (systematic sampling): with one random u in [0, 1) per batch,
    the source between the cumulated places a and b has floor(b + u) - floor(a + u).

    Args:
        shares: float64 [sources], which sum to 1.
        places: Number of places in a batch.
        batches: Number of batches.
        random: Source of the numbers.
    """
    # Rounded, since 3 * (1 / 3) may be less than 1.
    ends = np.concatenate([[0.0], np.round(places * np.cumsum(shares), 9)])
    ends[-1] = places
    return np.diff(np.floor(ends + random.random((batches, 1))).astype(np.int64), axis=1)


class BalancedSampler:
    """Batches in which each source has its share, drawn by a sampler of its own.

    What a sampler does when it has gone over its images (those of a source with a larger share of
    the batches than of the images do so within an epoch) it does for its source alone. The images
    of a source are together in a batch. The batches depend only on (seed, epoch).

    Args:
        table: The training images.
        shares: Shares of its sources.
        places: What is divided by these: the number of identities or of images in a batch.
        make: Makes a source's sampler from the rows of its images, its most places in a batch and
            its name.
        seed: Non-negative integer.

    Attributes:
        batch_size: Number of images in a batch.
    """

    def __init__(self, table: ImageTable, shares: np.ndarray, places: int,
                 make: Callable[[np.ndarray, int, str], IdentitySampler | ImageSampler], seed: int):
        self._shares, self._places, self._seed = shares, places, seed
        self._rows = table.sources.rows()
        most = np.ceil(np.round(places * shares, 9)).astype(int).tolist()
        self._samplers = list(map(make, self._rows, most, table.sources.names))
        self.batch_size = places * (self._samplers[0].batch_size // most[0])

    def epoch(self, epoch: int, batches: int) -> np.ndarray:
        """Draws one epoch: image indices [batches, batch_size]."""
        places = draw_places(self._shares, self._places, batches,
                             np.random.default_rng([self._seed, epoch, 3]))
        drawn = []
        for number, (rows, sampler) in enumerate(zip(self._rows, self._samplers)):
            random = np.random.default_rng([self._seed, epoch, 3, number + 1])
            drawn.append([rows[batch] for batch in sampler.draw(random, places[:, number])])
        return np.stack([np.concatenate(parts) for parts in zip(*drawn)])
