"""Queries of an evaluation with their nearest gallery images, to be drawn."""

from __future__ import annotations

import numpy as np

from tfreid.config import Config
from tfreid.evaluation.features import Ranked
from tfreid.evaluation.picture_images import read_images
from tfreid.evaluation.protocol import counted
from tfreid.evaluation.ranking import RankingResult, top_matches
from tfreid.visualization.ranked_list import RankedImage, RankedRow


def spread_queries(result: RankingResult, count: int) -> np.ndarray:
    """Chooses queries that have a match, evenly spread: increasing positions [n], n <= count."""
    valid = np.flatnonzero(result.first_match_rank > 0)
    return valid[np.unique(np.linspace(0, len(valid) - 1, min(count, len(valid))).astype(int))]


def worst_queries(result: RankingResult, count: int) -> np.ndarray:
    """Chooses the queries of the lowest average precision: positions [n], n <= count, worst first.

    Queries without a match have none and are left out.
    """
    order = np.argsort(result.average_precision, kind="stable")  # NaN comes last
    return order[: min(count, result.num_valid_queries)]


def ranked_rows(ranked: Ranked, config: Config, queries: np.ndarray) -> list[RankedRow]:
    """Reads the images of some queries and of their first results.

    A tracklet is shown by its first image.

    Args:
        ranked: An evaluation; its ranking without expansion or re-ranking is shown.
        config: Its settings.
        queries: Positions [n] of queries that have a match, among the ranked ones.

    Returns:
        A row for each query, with its average precision and the number of its relevant images.
    """
    evaluation = config.evaluation
    top = top_matches(*ranked.arrays(), queries, metric=ranked.metric or evaluation.metric,
                      p=evaluation.minkowski_p, galleries=ranked.galleries)
    wanted = np.unique(top.indices[top.indices >= 0])
    gallery = dict(zip(wanted.tolist(),
                       read_images(ranked.records["gallery"], ranked.gallery_images[wanted])))
    rows = []
    images = read_images(ranked.records["query"], ranked.query_images[queries])
    for place, image in enumerate(images):
        results = [
            RankedImage(gallery[index], bool(match), int(ranked.gallery.cameras[index]), distance)
            for index, distance, match in zip(
                top.indices[place].tolist(), top.distances[place].tolist(), top.is_match[place]
            )
            if index >= 0
        ]
        query = queries[place]
        rows.append(RankedRow(
            image, int(ranked.query.ids[query]), int(ranked.query.cameras[query]), results,
            float(ranked.result.average_precision[query]), _relevant(ranked, query),
        ))
    return rows


def _relevant(ranked, query) -> int:
    """Counts the gallery rows of a query's identity that its ranking counts."""
    identity, camera = ranked.query.ids[query], ranked.query.cameras[query]
    gallery = ranked.gallery
    if ranked.galleries is not None:
        gallery = gallery.take(ranked.galleries[query])
    counts = counted(identity, camera, gallery.ids, gallery.cameras)
    return int(np.count_nonzero(counts & (gallery.ids == identity)))
