"""Ranks a gallery with any number of distractors, whose features are read block by block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.pool import usable_cores
from tfreid.evaluation.distances import MINKOWSKI_P, Metric, find_metric
from tfreid.evaluation.protocol import (
    FeatureDistances,
    Labels,
    Protocol,
    check_features,
    not_finite,
    repeated_rows,
)
from tfreid.evaluation.ranking import (
    RankingResult,
    check_max_rank,
    positive_ranks,
    score_ranks,
)

_LARGEST_BLOCK = 8192
_SMALLEST_BLOCK = 256
# Number of distances from all queries to a block, unless the block becomes too small.
_BLOCK_DISTANCES = 2**25
# Number of queries counted at once, whose distances to a block fit a core's cache.
_ROWS = 32
# Number of dimensions that are compared first in the search for copies of gallery images.
_PRINTED = 64

_Item = TypeVar("_Item")


def evaluate_with_distractors(query_features: np.ndarray, query_ids: np.ndarray,
                              query_cameras: np.ndarray, gallery_features: np.ndarray,
                              gallery_ids: np.ndarray, gallery_cameras: np.ndarray,
                              distractors: np.ndarray, counts: Sequence[int] | None = None,
                              seed: int = 0, metric: str = "cosine", max_rank: int = 50,
                              block_size: int | None = None, progress: bool = False,
                              p: float = MINKOWSKI_P) -> dict[int, RankingResult]:
    """Scores the ranking of a gallery with several numbers of distractors appended to it.

    The figures are those of `evaluate_ranking` on the gallery and a random sample of the
    distractors, in their order; a larger sample contains the smaller ones. This is the experiment
    of Almazan et al., "Re-ID done right" (2018), Section 4.5.

    Distractors are read once, and at most two blocks of them are in memory. The rank of a positive
    is its rank in the gallery plus the number of distractors that are nearer. A distractor with the
    features of a gallery image has the same distance, and ranks behind it. As in
    `evaluate_ranking`, distances that agree to the last digit or two may swap places with another
    block size, here even those of equal distractors.

    `distractors` are finite numbers [n, d], for example `np.load(path, mmap_mode="r")`, of
    identities that are not queried; `counts` are numbers of them, by default 0 and n; `seed`
    determines the sample, and `block_size` counts distractors. The other arguments are those of
    `evaluate_ranking`.

    Returns:
        The number of distractors -> the scores, in ascending order.

    Raises:
        UserError: As in `evaluate_ranking`, or if distractors are misshapen or not finite, or a
            count is out of range.
        ValueError: If `max_rank` or `block_size` is below 1.
    """
    check_max_rank(max_rank)
    query, gallery = check_features(query_features, gallery_features)
    dtype = _check_distractors(distractors, gallery)
    counts = check_counts((0, len(distractors)) if counts is None else counts, len(distractors))
    gallery = gallery.astype(dtype, copy=False)
    base = _Base(
        FeatureDistances(query, gallery, metric, p),
        Labels("query", len(query), query_ids, query_cameras),
        Labels("gallery", len(gallery), gallery_ids, gallery_cameras), progress,
    )
    exponent = p if metric == "minkowski" else None

    def scores(count, ranks):
        return score_ranks(ranks, max_rank, base.num_ranked + count, metric, exponent)

    scores(0, base.ranks)  # fail fast if no query has a match
    places = np.random.default_rng(seed).permutation(len(distractors))
    # A distractor is in its group's count and all larger ones; those of the last group in none.
    groups = np.searchsorted(counts, places, side="right")
    reader = _Reader(distractors, groups, len(counts), gallery, find_metric(metric, p))
    if block_size is None:
        block_size = streamed_block_size(len(base.valid))
    ahead = _count_ahead(base, query, reader, block_size, progress)
    base.add_copies(ahead, reader.copies, progress)
    nearer = [np.cumsum(own, axis=0) for own in ahead]
    results = {}
    for place, count in enumerate(counts):
        ranks = list(base.ranks)
        for index, own in zip(base.valid, nearer):
            ranks[index] = ranks[index] + own[place]
        results[count] = scores(count, ranks)
    return results


def streamed_block_size(num_queries: int) -> int:
    """Returns the default block size of `evaluate_with_distractors`."""
    return min(_LARGEST_BLOCK, max(_SMALLEST_BLOCK, _BLOCK_DISTANCES // num_queries))


def check_counts(counts: Sequence[int], total: int) -> list[int]:
    """Returns distinct numbers of distractors in ascending order.

    Raises:
        UserError: If there is none, or one is not in 0..`total`.
    """
    checked = sorted(set(counts))
    wrong = [count for count in checked if not 0 <= count <= total]
    if wrong or not checked:
        raise UserError(f"there are {total} distractors, so numbers of them must be from 0 to "
                        f"{total}, received {wrong[0] if wrong else 'none'}.")
    return checked


class _Base:
    """The ranking without distractors.

    Attributes:
        ranks: Ascending ranks of each query's positives.
        thresholds: Ascending distances of each query's positives.
        valid: Positions of the queries that have a positive.
        num_ranked: Number of gallery images that are not junk.
    """

    def __init__(self, distances: FeatureDistances, queries: Labels, gallery: Labels,
                 progress: bool):
        self._distances, self._queries, self._gallery = distances, queries, gallery
        protocol = Protocol(queries, gallery, distances)
        self.num_ranked = protocol.num_ranked
        self.ranks, self.thresholds = [], []
        for _, row, positives in protocol.rows(progress=progress):
            self.ranks.append(positive_ranks(row, positives))
            self.thresholds.append(np.sort(row[positives]))
        self.valid = np.flatnonzero([len(own) > 0 for own in self.ranks])

    def add_copies(self, ahead: list[np.ndarray], copies: np.ndarray, progress: bool) -> None:
        """Adds the `copies` [groups, g] of gallery images to the counts of `_count_ahead`."""
        known = np.flatnonzero(copies.any(axis=0))
        if not len(known):
            return
        # Appended to the gallery as images of another identity, so that they are never ignored.
        ids, count = self._gallery.ids, len(self._gallery.ids)
        stranger = 1 + max(ids.max(), self._queries.ids.max())
        labels = Labels("gallery", count + len(known), np.append(ids, 0 * known + stranger),
                        np.append(self._gallery.cameras, 0 * known - 1))

        def beside(positions):
            distances = self._distances(positions)
            return np.concatenate([distances, distances[:, known]], axis=1)

        rows = Protocol(self._queries, labels, beside).rows(
            self.valid, progress=progress, description="copies of gallery images")
        for own, (_, row, positives) in zip(ahead, rows):
            nearer = row[count:, np.newaxis] < np.sort(row[positives])
            own += copies[:, known] @ nearer


class _Block(NamedTuple):
    """Prepared features and their layout, or None, and the number of distractors read."""

    prepared: Any
    layout: BlockLayout | None
    read: int


class _Reader:
    """Reads blocks of distractors and prepares them for `metric`.

    Attributes:
        copies: int64 [groups, g], number of distractors read so far that have the features of each
            gallery image. They are in no block.
    """

    def __init__(self, distractors: np.ndarray, groups: np.ndarray, num_groups: int,
                 gallery: np.ndarray, metric: Metric):
        self._distractors, self._groups, self.metric = distractors, groups, metric
        self._gallery, self._prints = gallery, _fingerprints(gallery)
        self.copies = np.zeros((num_groups, len(gallery)), np.int64)

    def __len__(self) -> int:
        return len(self._distractors)

    def blocks(self, size: int) -> Iterator[_Block]:
        """Yields all distractors that are in any count.

        Raises:
            UserError: If features are not finite.
        """
        for start in range(0, len(self), size):
            groups = self._groups[start : start + size]
            kept = groups < len(self.copies)
            if kept.any():
                rows = np.array(self._distractors[start : start + size], self._gallery.dtype)
                broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
                if len(broken):
                    raise not_finite("distractor", self._distractors, "", start + broken[0])
                repeats, originals = self._repeats(rows)
                wanted = kept[repeats]
                np.add.at(self.copies, (groups[repeats[wanted]], originals[wanted]), 1)
                kept[repeats] = False
            if kept.any():
                layout = BlockLayout(groups[kept])
                placed = np.zeros((layout.width, rows.shape[1]), rows.dtype)
                placed[layout.columns] = rows[kept]
                yield _Block(self.metric.prepare(placed), layout, len(groups))
            else:
                yield _Block(None, None, len(groups))

    def _repeats(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the positions of rows that are in the gallery, and the first position there."""
        prints = _fingerprints(rows)
        mine = np.flatnonzero(np.isin(prints, self._prints))
        theirs = np.flatnonzero(np.isin(self._prints, prints[mine]))
        repeats, originals = repeated_rows(np.concatenate([self._gallery[theirs], rows[mine]]))
        known = (repeats >= len(theirs)) & (originals < len(theirs))
        return mine[repeats[known] - len(theirs)], theirs[originals[known]]


def _count_ahead(base: _Base, query: np.ndarray, reader: _Reader, block_size: int,
                 progress: bool) -> list[np.ndarray]:
    """Counts per valid query the distractors nearer than its positives: [groups, positives]."""
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, received {block_size}")
    # Queries with similar numbers of positives are counted together.
    sizes = [len(base.thresholds[index]) for index in base.valid]
    order = np.argsort(sizes, kind="stable")
    metric, queries = reader.metric, base.valid[order]
    prepared = metric.prepare(query[queries])
    shares = [slice(start, start + _ROWS) for start in range(0, len(queries), _ROWS)]
    counters = [ThresholdCounts([base.thresholds[index] for index in queries[share]],
                                len(reader.copies)) for share in shares]
    with tqdm(total=len(reader), desc="ranking distractors", unit="image", disable=not progress,
              leave=False) as bar, ThreadPoolExecutor(usable_cores()) as pool:
        for block in _one_ahead(reader.blocks(block_size)):
            if block.layout is not None:
                distances = metric.between(prepared, block.prepared)
                # The list waits for the threads and passes on their errors.
                list(pool.map(ThresholdCounts.add, counters, [distances[own] for own in shares],
                              itertools.repeat(block.layout)))
            bar.update(block.read)
    ahead: list = [None] * len(queries)
    for place, own in zip(order, itertools.chain(*(counter.below() for counter in counters))):
        ahead[place] = own
    return ahead


def _one_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Computes the next item in a thread while the current one is used."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = pool.submit(next, items, None)
            yield item


def _fingerprints(rows: np.ndarray) -> np.ndarray:
    """Returns a hash [n] of each row."""
    # Adding zero makes -0.0 and 0.0 the same bits.
    bits = (rows[:, :_PRINTED] + 0).view(np.uint32 if rows.dtype == np.float32 else np.uint64)
    return np.bitwise_xor.reduce(bits, axis=1)


def _check_distractors(distractors: np.ndarray, gallery: np.ndarray) -> np.dtype:
    """Returns the common dtype of gallery and distractors."""
    if distractors.ndim != 2 or distractors.shape[1] != gallery.shape[1]:
        raise UserError(f"the distractor features must be a matrix with {gallery.shape[1]} columns "
                        f"like the gallery features, received shape {distractors.shape}; extract "
                        "both with the same model.")
    if distractors.dtype.kind not in "fiu":
        raise UserError(f"the distractor features must be numbers, received {distractors.dtype}.")
    own = np.float64 if distractors.dtype == np.float64 else np.float32
    return np.promote_types(gallery.dtype, own)


# Comparisons are summed as bytes, eight in a word, in runs of words that cannot overflow a byte.
_WORD = 8
_WORDS_OF_A_RUN = 255
# Comparing needs one pass over the block per threshold; above this many, sorting is faster.
_MOST_COMPARED = 256


class BlockLayout:
    """The columns of a block's images: groups are contiguous and fill whole words of columns.

    Args:
        groups: Group of each image, [n], 0 or above.

    Attributes:
        width: Number of columns, a multiple of eight.
        columns: int64 [n], the column of each image.
        groups: int64 [m], the groups that occur, ascending.
        slices: The columns of each of these groups.
        idle: int64, the unused columns.
    """

    def __init__(self, groups: np.ndarray):
        order = np.argsort(groups, kind="stable")
        self.groups, sizes = np.unique(groups, return_counts=True)
        words = -(-sizes // _WORD)
        first_words = np.cumsum(words) - words
        before = np.cumsum(sizes) - sizes
        self.columns = np.empty(len(groups), np.int64)
        self.columns[order] = (np.arange(len(groups))
                               + np.repeat(_WORD * first_words - before, sizes))
        self.width = int(_WORD * words.sum())
        self.slices = [slice(_WORD * first, _WORD * first + size)
                       for first, size in zip(first_words, sizes)]
        self.idle = np.setdiff1d(np.arange(self.width), self.columns)
        runs = [np.arange(first, first + count, _WORDS_OF_A_RUN)
                for first, count in zip(first_words, words)]
        self._runs = np.concatenate(runs)
        self._first_runs = np.cumsum([0, *map(len, runs[:-1])])

    def count(self, mask: np.ndarray) -> np.ndarray:
        """Counts the true columns of a mask [rows, width] in each group: int64 [rows, m]."""
        # Adding words of eight flags is many times faster than counting flags row by row.
        lanes = np.add.reduceat(mask.view(np.uint64), self._runs, axis=1)
        lanes = lanes.view(np.uint8).reshape(len(mask), len(self._runs), _WORD)
        return np.add.reduceat(lanes.sum(axis=2, dtype=np.int64), self._first_runs, axis=1)


class ThresholdCounts:
    """Counts distances below the thresholds of a few rows, over any number of blocks.

    Args:
        thresholds: One or more thresholds for each row, in any order, all of one dtype.
        groups: Number of groups.
    """

    def __init__(self, thresholds: Sequence[np.ndarray], groups: int):
        self._sizes = [len(own) for own in thresholds]
        # Largest first; shorter rows are padded with minus infinity, which counts nothing.
        self._thresholds = np.full((len(thresholds), max(self._sizes)), -np.inf,
                                   thresholds[0].dtype)
        for row, own in enumerate(thresholds):
            self._thresholds[row, : len(own)] = np.sort(own)[::-1]
        self._counts = np.zeros((groups, *self._thresholds.shape), np.int64)

    def add(self, distances: np.ndarray, layout: BlockLayout) -> None:
        """Counts a block of distances [rows, width], whose idle columns are overwritten."""
        distances[:, layout.idle] = np.inf
        if self._thresholds.shape[1] > _MOST_COMPARED:
            self._add_sorted(distances, layout)
        else:
            self._add_compared(distances, layout)

    def below(self) -> list[np.ndarray]:
        """Returns for each row the counts below its ascending thresholds, int64 [groups, n]."""
        return [self._counts[:, row, size - 1 :: -1]
                for row, size in enumerate(self._sizes)]

    def _add_compared(self, distances, layout):
        rows = np.arange(len(distances))
        for place in range(self._thresholds.shape[1]):
            found = layout.count(distances < self._thresholds[rows, place, np.newaxis])
            self._counts[layout.groups[:, np.newaxis], rows, place] += found.T
            # Rows without a count have none at smaller thresholds either.
            alive = found.any(axis=1)
            if not alive.any():
                return
            if 2 * np.count_nonzero(alive) <= len(rows):
                rows, distances = rows[alive], distances[alive]

    def _add_sorted(self, distances, layout):
        for row, (own, thresholds) in enumerate(zip(distances, self._thresholds)):
            for group, columns in zip(layout.groups, layout.slices):
                nearer = own[columns]
                nearer = np.sort(nearer[nearer < thresholds[0]])
                self._counts[group, row] += np.searchsorted(nearer, thresholds)
