"""Distances below thresholds, counted block by block, against plain comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.evaluation import streaming
from tfreid.evaluation.streaming import BlockLayout, ThresholdCounts


def test_groups_fill_whole_words():
    layout = BlockLayout(np.array([3, 0, 3] + [0] * 8))
    assert layout.groups.tolist() == [0, 3]
    # Nine images of group 0 fill two words, two of group 3 a third.
    assert layout.columns.tolist() == [16, 0, 17, 1, 2, 3, 4, 5, 6, 7, 8]
    assert layout.slices == [slice(0, 9), slice(16, 18)]
    assert layout.width == 24
    assert layout.idle.tolist() == [*range(9, 16), *range(18, 24)]


def test_flags_are_counted_by_group():
    random = np.random.default_rng(0)
    # More than 255 words of one group: no byte of a sum may overflow.
    groups = random.permutation(np.repeat([0, 2, 5], [5000, 3, 40]))
    layout = BlockLayout(groups)
    for mask in (np.ones((2, layout.width), bool), random.random((2, layout.width)) < 0.3):
        mask[:, layout.idle] = False
        flags = mask[:, layout.columns]
        expected = [[row[groups == group].sum() for group in (0, 2, 5)] for row in flags]
        np.testing.assert_array_equal(layout.count(mask), expected)


@pytest.mark.parametrize("most_compared", [256, 0])
def test_counts_over_blocks(monkeypatch, most_compared):
    monkeypatch.setattr(streaming, "_MOST_COMPARED", most_compared)
    random = np.random.default_rng(1)
    # Whole numbers make ties; the last row's threshold is below everything.
    thresholds = [random.integers(0, 20, size).astype(np.float32) for size in (4, 1, 7)]
    thresholds.append(np.float32([-1]))
    counts = ThresholdCounts(thresholds, groups=3)
    blocks = []
    for size in (50, 1, 33):
        groups, distances = random.integers(0, 3, size), random.integers(0, 20, (4, size))
        blocks.append((groups, distances))
        layout = BlockLayout(groups)
        # Idle columns hold whatever the product left there.
        placed = np.zeros((4, layout.width), np.float32)
        placed[:, layout.columns] = distances
        counts.add(placed, layout)
    for row, found in enumerate(counts.below()):
        expected = [[sum(np.sum(distances[row, groups == group] < threshold)
                         for groups, distances in blocks) for threshold in
                     np.sort(thresholds[row])] for group in range(3)]
        np.testing.assert_array_equal(found, expected)
