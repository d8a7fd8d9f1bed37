"""How many distances of a block lie below each of many thresholds, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Comparisons are summed as bytes, eight to a word, in runs of words too short to overflow a byte.
_WORD = 8
_WORDS_OF_A_RUN = 255
# Comparing costs one pass over the block per threshold; above this many, sorting is cheaper.
_MOST_COMPARED = 256


class BlockLayout:
    """Where the images of a block stand among its columns.

    Images of one group stand side by side, and every group fills whole words of eight columns.

    Args:
        groups: group of each image, [n], 0 or above.

    Attributes:
        width: columns, a multiple of eight.
        columns: int64 [n], the column of each image.
        groups: int64 [m], the groups that occur, ascending.
        slices: the columns of each of these groups.
        idle: int64, columns that no image stands in.
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
        """Counts the marked columns [rows, width] of each group that occurs: int64 [rows, m]."""
        # Adding words of eight flags is many times as fast as counting flags row by row.
        lanes = np.add.reduceat(mask.view(np.uint64), self._runs, axis=1)
        lanes = lanes.view(np.uint8).reshape(len(mask), len(self._runs), _WORD)
        return np.add.reduceat(lanes.sum(axis=2, dtype=np.int64), self._first_runs, axis=1)


class ThresholdCounts:
    """Counts distances below the thresholds of a few rows, over any number of blocks.

    Args:
        thresholds: per row its thresholds in any order, all of one dtype; at least one each.
        groups: number of groups.
    """

    def __init__(self, thresholds: Sequence[np.ndarray], groups: int):
        self._sizes = [len(own) for own in thresholds]
        # Farthest first: below minus infinity, which fills up the shorter rows, lies nothing.
        self._thresholds = np.full((len(thresholds), max(self._sizes)), -np.inf,
                                   thresholds[0].dtype)
        for row, own in enumerate(thresholds):
            self._thresholds[row, : len(own)] = np.sort(own)[::-1]
        self._counts = np.zeros((groups, *self._thresholds.shape), np.int64)

    def add(self, distances: np.ndarray, layout: BlockLayout) -> None:
        """Counts a block in.

        Args:
            distances: [rows, width]; idle columns are overwritten.
            layout: of the block.
        """
        distances[:, layout.idle] = np.inf
        if self._thresholds.shape[1] > _MOST_COMPARED:
            self._add_sorted(distances, layout)
        else:
            self._add_compared(distances, layout)

    def below(self) -> list[np.ndarray]:
        """Returns per row int64 [groups, thresholds]: distances below each, nearest first."""
        return [self._counts[:, row, size - 1 :: -1]
                for row, size in enumerate(self._sizes)]

    def _add_compared(self, distances, layout):
        rows = np.arange(len(distances))
        for place in range(self._thresholds.shape[1]):
            found = layout.count(distances < self._thresholds[rows, place, np.newaxis])
            self._counts[layout.groups[:, np.newaxis], rows, place] += found.T
            # Below a nearer threshold lies nothing that is not below a farther one.
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
