"""Ranking, re-ranking, mining and streamed ranking of random features."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfreid.benchmarks.measuring import PeakMemory, peak_megabytes, rounded, timed
from tfreid.config import Config
from tfreid.evaluation.distances import unit_rows
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.evaluation.streaming import evaluate_with_distractors, streamed_block_size
from tfreid.systems.base import MARKET_IDENTITIES
from tfreid.systems.triplet.mining import hardest_triplets, possible_queries
from tfreid.systems.triplet.settings import Settings as TripletSettings

_TURNS = 5
_SLOW_TURNS = 2
_MINING_TURNS = 3
# The two sides of a ratio alternate, so that other work on the machine slows both.
_STREAMING_TURNS = 3
_NUM_COUNTS = 6


def measure_evaluation(config: Config | None, queries: int, gallery: int,
                       dimensions: int) -> dict[str, Any]:
    """Times `evaluate_ranking` on random features of Market-like identities and cameras.

    The metric is that of the configuration, or the function's default.
    """
    sides = market_like(queries, gallery, dimensions)
    return _ranking_figures(
        sides, lambda: evaluate_ranking(*sides, **_metric(config)), _TURNS)


def measure_reranking(config: Config | None, queries: int, gallery: int,
                      dimensions: int) -> dict[str, Any]:
    """Times `k_reciprocal_rerank` like `measure_evaluation`."""
    sides = market_like(queries, gallery, dimensions)
    settings = () if config is None else (
        config.evaluation.reranking_k1, config.evaluation.reranking_k2,
        config.evaluation.reranking_lambda, config.evaluation.metric)
    return _ranking_figures(
        sides, lambda: k_reciprocal_rerank(sides[0], sides[3], *settings), _SLOW_TURNS)


def measure_mining(config: Config | None, images: int, dimensions: int) -> dict[str, Any]:
    """Times the search for the hardest triplets of all images, by the `triplet` settings.

    Training mines only for the queries that it draws: 1,024 of 5,000 with the paper's settings.
    """
    settings = TripletSettings() if config is None else config.triplet
    # The number of queries determines that of identities: 715 for the paper's 5,000 images.
    _, _, _, features, labels, _ = market_like(images // 7 + 1, images, dimensions)
    features, queries = unit_rows(features), possible_queries(labels)
    seconds, peak = _measured(lambda: hardest_triplets(
        features, labels, queries, settings.margin, settings.hardest), _MINING_TURNS)
    return {"images": images, "queries": len(queries), "dimensions": dimensions,
            "hardest": settings.hardest, "seconds": rounded(seconds[:, 0].min()),
            "cpu_seconds": rounded(seconds[:, 1].min()),
            "megabytes_above_features": rounded(peak),
            "process_megabytes": rounded(peak_megabytes())}


def measure_streaming(config: Config | None, queries: int, gallery: int, distractors: int,
                      dimensions: int) -> dict[str, Any]:
    """Times a curve of six numbers of distractors and `queries @ block.T` of the same blocks.

    Once with Market-like features, where few distractors are nearer than a match, and once with
    noise, where most are. The features of the distractors are on disk; the metric is that of the
    configuration, or the function's default.
    """
    sides = market_like(queries, gallery, dimensions)
    random = np.random.default_rng(1)
    noise = [random.standard_normal(sides[side].shape, np.float32) for side in (0, 3)]
    size = streamed_block_size(queries)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "distractors.npy"
        _write_noise(path, distractors, dimensions, size)
        megabytes = (sides[0].nbytes + sides[3].nbytes + path.stat().st_size) / 1e6
        return {
            "queries": queries, "gallery": gallery, "distractors": distractors,
            "counts": _NUM_COUNTS, "dimensions": dimensions, "block_size": size,
            "features_megabytes": rounded(megabytes),
            "market_like": _streaming_figures(sides, path, _metric(config), size),
            "random": _streaming_figures([noise[0], *sides[1:3], noise[1], *sides[4:]], path,
                                         _metric(config), size),
            "process_megabytes": rounded(peak_megabytes()),
        }


def market_like(queries: int, gallery: int, dimensions: int) -> list[np.ndarray]:
    """Makes features, identities and cameras of queries, then of a gallery."""
    random = np.random.default_rng(0)
    identities = max(1, min(MARKET_IDENTITIES - 1, queries, gallery))
    # Images of one identity form a cluster, distractors do not.
    centers = random.standard_normal((identities + 1, dimensions), np.float32)
    centers[0] = 0.0
    sides = []
    for count, distractors in ((queries, 0.0), (gallery, 0.18)):
        # Every identity occurs; Market's distractors have the identity 0.
        ids = np.concatenate([np.arange(identities),
                              random.integers(0, identities, count - identities)]) + 1
        ids[identities:][random.random(count - identities) < distractors] = 0
        features = random.standard_normal((count, dimensions), np.float32)
        features += centers[ids]
        sides += [features, ids, random.integers(1, 7, count)]
    return sides


def _metric(config: Config | None) -> dict[str, Any]:
    return {} if config is None else {"metric": config.evaluation.metric,
                                      "p": config.evaluation.minkowski_p}


def _measured(work: Callable[[], Any], turns: int) -> tuple[np.ndarray, float]:
    """Returns wall and processor seconds [turns, 2], and the peak megabytes that work adds."""
    seconds, peak = [], 0.0
    for _ in range(turns):
        with PeakMemory() as memory:
            seconds.append(timed(work))
        peak = max(peak, memory.megabytes)
    return np.array(seconds), peak


def _ranking_figures(sides, work, turns) -> dict[str, Any]:
    seconds, peak = _measured(work, turns)
    return {
        "queries": len(sides[0]), "gallery": len(sides[3]), "dimensions": sides[0].shape[1],
        "seconds": rounded(seconds[:, 0].min()),
        "seconds_of_each": [rounded(wall) for wall in seconds[:, 0]],
        "cpu_seconds": rounded(seconds[:, 1].min()),
        "features_megabytes": rounded((sides[0].nbytes + sides[3].nbytes) / 1e6),
        "megabytes_above_features": rounded(peak),
        "process_megabytes": rounded(peak_megabytes()),
    }


def _streaming_figures(sides, path, settings, size) -> dict[str, Any]:
    turns, peak = [], 0.0
    for _ in range(_STREAMING_TURNS):
        bare = timed(lambda: _bare_product(sides[0], sides[3], path, size))
        (ours,), megabytes = _measured(lambda: _evaluate(sides, path, settings), 1)
        turns.append((ours, bare))
        peak = max(peak, megabytes)
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
    """Writes standard normal features, like those of Market-like distractors."""
    random = np.random.default_rng(2)
    features = np.lib.format.open_memmap(path, "w+", np.float32, (count, dimensions))
    for start in range(0, count, size):
        block = features[start : start + size]
        block[:] = random.standard_normal(block.shape, np.float32)
    features.flush()
