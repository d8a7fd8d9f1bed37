"""Ranking and re-ranking of random features."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfreid.benchmarks.measuring import PeakMemory, peak_megabytes, rounded, timed
from tfreid.benchmarks.networks import MARKET_IDENTITIES
from tfreid.config import Config
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.evaluation.reranking import k_reciprocal_rerank

_TURNS = 5
_SLOW_TURNS = 2


def measure_evaluation(
    config: Config | None, queries: int, gallery: int, dimensions: int
) -> dict[str, Any]:
    """Times `evaluate_ranking` on random features of Market-like identities and cameras.

    Args:
        config: Whose metric is taken; None takes the function's own.
        queries: Number of queries.
        gallery: Number of gallery images.
        dimensions: Length of the features.
    """
    sides = market_like(queries, gallery, dimensions)
    settings = {} if config is None else {"metric": config.evaluation.metric,
                                          "p": config.evaluation.minkowski_p}
    return _measured(sides, lambda: evaluate_ranking(*sides, **settings), _TURNS)


def measure_reranking(
    config: Config | None, queries: int, gallery: int, dimensions: int
) -> dict[str, Any]:
    """Times `k_reciprocal_rerank` on random features of Market-like identities.

    Args as those of `measure_evaluation`.
    """
    sides = market_like(queries, gallery, dimensions)
    settings = () if config is None else (
        config.evaluation.reranking_k1, config.evaluation.reranking_k2,
        config.evaluation.reranking_lambda, config.evaluation.metric)
    return _measured(sides, lambda: k_reciprocal_rerank(sides[0], sides[3], *settings),
                     _SLOW_TURNS)


def market_like(queries: int, gallery: int, dimensions: int) -> list[np.ndarray]:
    """Makes features, identities and cameras of queries, then of a gallery."""
    random = np.random.default_rng(0)
    identities = max(1, min(MARKET_IDENTITIES - 1, queries, gallery))
    # Images of one identity lie together, distractors anywhere.
    centers = random.standard_normal((identities + 1, dimensions), np.float32)
    centers[0] = 0.0
    sides = []
    for count, distractors in ((queries, 0.0), (gallery, 0.18)):
        # Every identity is there; Market's distractors have the identity 0.
        ids = np.concatenate([np.arange(identities),
                              random.integers(0, identities, count - identities)]) + 1
        ids[identities:][random.random(count - identities) < distractors] = 0
        features = random.standard_normal((count, dimensions), np.float32)
        features += centers[ids]
        sides += [features, ids, random.integers(1, 7, count)]
    return sides


def _measured(sides, work, turns) -> dict[str, Any]:
    """Times some work on features and watches the memory it takes above them."""
    seconds, peak = [], 0.0
    for _ in range(turns):
        with PeakMemory() as memory:
            seconds.append(timed(work))
        peak = max(peak, memory.megabytes)
    return {
        "queries": len(sides[0]),
        "gallery": len(sides[3]),
        "dimensions": sides[0].shape[1],
        "seconds": rounded(min(wall for wall, _ in seconds)),
        "seconds_of_each": [rounded(wall) for wall, _ in seconds],
        "cpu_seconds": rounded(min(processor for _, processor in seconds)),
        "features_megabytes": rounded((sides[0].nbytes + sides[3].nbytes) / 1e6),
        "megabytes_above_features": rounded(peak),
        "process_megabytes": rounded(peak_megabytes()),
    }
