"""Hard triplet mining among random features."""

from __future__ import annotations

from typing import Any

from tfreid.benchmarks.measuring import PeakMemory, peak_megabytes, rounded, timed
from tfreid.benchmarks.ranking import market_like
from tfreid.config import Config
from tfreid.evaluation.distances import unit_rows
from tfreid.systems.triplet.mining import hardest_triplets, possible_queries
from tfreid.systems.triplet.settings import Settings as TripletSettings

_TURNS = 3


def measure_mining(config: Config | None, images: int, dimensions: int) -> dict[str, Any]:
    """Times finding the hardest triplets of every image among some.

    Training mines them for the queries that it draws only: 1,024 of 5,000 with the paper's
    settings.

    Args:
        config: Whose `triplet.margin` and `triplet.hardest` are taken; None takes the defaults.
        images: Number of images, of Market-1501's number of identities.
        dimensions: Length of their features.
    """
    settings = TripletSettings() if config is None else config.triplet
    # The number of queries decides that of identities: 715 for the paper's 5,000 images.
    _, _, _, features, labels, _ = market_like(images // 7 + 1, images, dimensions)
    features = unit_rows(features)
    queries, turns, peak = possible_queries(labels), [], 0.0
    for _ in range(_TURNS):
        with PeakMemory() as memory:
            turns.append(timed(lambda: hardest_triplets(
                features, labels, queries, settings.margin, settings.hardest)))
        peak = max(peak, memory.megabytes)
    return {
        "images": images,
        "queries": len(queries),
        "dimensions": dimensions,
        "hardest": settings.hardest,
        "seconds": rounded(min(wall for wall, _ in turns)),
        "cpu_seconds": rounded(min(processor for _, processor in turns)),
        "megabytes_above_features": rounded(peak),
        "process_megabytes": rounded(peak_megabytes()),
    }
