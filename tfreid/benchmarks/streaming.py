"""Ranking of distractors that are read from disk, beside the bare matrix product."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tfreid.benchmarks.measuring import PeakMemory, peak_megabytes, rounded, timed
from tfreid.benchmarks.ranking import market_like
from tfreid.config import Config
from tfreid.evaluation.streaming import evaluate_with_distractors, streamed_block_size

# Both sides of a ratio take turns, so that other work on the machine slows both.
_TURNS = 3
_NUM_COUNTS = 6


def measure_streaming(
    config: Config | None, queries: int, gallery: int, distractors: int, dimensions: int
) -> dict[str, Any]:
    """Times a curve of six numbers of distractors beside `queries @ block.T` of the same blocks.

    Once with Market-like features, where few distractors are nearer than a match, and once with
    features that tell nobody apart, where most are.

    Args:
        config: Whose metric is taken; None takes the function's own.
        queries: Number of queries.
        gallery: Number of gallery images.
        distractors: Number of distractors, whose features are put on disk.
        dimensions: Length of the features.
    """
    sides = market_like(queries, gallery, dimensions)
    random = np.random.default_rng(1)
    noise = [random.standard_normal(sides[side].shape, np.float32) for side in (0, 3)]
    settings = {} if config is None else {"metric": config.evaluation.metric,
                                          "p": config.evaluation.minkowski_p}
    size = streamed_block_size(queries)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "distractors.npy"
        _write_noise(path, distractors, dimensions, size)
        return {
            "queries": queries,
            "gallery": gallery,
            "distractors": distractors,
            "counts": _NUM_COUNTS,
            "dimensions": dimensions,
            "block_size": size,
            "features_megabytes": rounded(
                sum(side.nbytes for side in (sides[0], sides[3])) / 1e6 +
                path.stat().st_size / 1e6),
            "market_like": _measured(sides, path, settings, size),
            "random": _measured([noise[0], *sides[1:3], noise[1], *sides[4:]], path, settings,
                                size),
            "process_megabytes": rounded(peak_megabytes()),
        }


def _measured(sides, path, settings, size) -> dict[str, Any]:
    turns, peak = [], 0.0
    for _ in range(_TURNS):
        bare = timed(lambda: _bare_product(sides[0], sides[3], path, size))
        with PeakMemory() as memory:
            ours = timed(lambda: _evaluate(sides, path, settings))
        turns.append((ours, bare))
        peak = max(peak, memory.megabytes)
    seconds = np.array(turns)  # [turns, ours or bare, wall or processor]
    medians, ratios = np.median(seconds, axis=0), seconds[:, 0] / seconds[:, 1]
    return {
        "seconds": rounded(medians[0, 0]),
        "bare_product_seconds": rounded(medians[1, 0]),
        "ratio": rounded(np.median(ratios[:, 0])),
        "ratios": [rounded(ratio) for ratio in ratios[:, 0]],
        "cpu_seconds": rounded(medians[0, 1]),
        "cpu_time_ratio": rounded(np.median(ratios[:, 1])),
        "megabytes_above_features": rounded(peak),
    }


def _evaluate(sides, path, settings) -> None:
    distractors = np.load(path, mmap_mode="r")
    counts = np.linspace(0, len(distractors), _NUM_COUNTS).astype(int).tolist()
    evaluate_with_distractors(*sides, distractors, counts, **settings)


def _bare_product(query, gallery, path, size) -> None:
    distractors = np.load(path, mmap_mode="r")
    for images in (gallery, distractors):
        for start in range(0, len(images), size):
            query @ images[start : start + size].T


def _write_noise(path: Path, count: int, dimensions: int, size: int) -> None:
    """Writes standard normal features; those of Market-like distractors are no other."""
    random = np.random.default_rng(2)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (count, dimensions))
    for start in range(0, count, size):
        block = features[start : start + size]
        block[:] = random.standard_normal(block.shape, np.float32)
    features.flush()
