"""Queries of an evaluation, ready to be drawn beside their nearest gallery images."""

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
    """Reads the images of some queries and of their first results; a tracklet shows its first.

    Args:
        ranked: An evaluation; its plain ranking is shown.
        config: Its settings.
        queries: Positions [n] of queries that have a match, among the ranked ones.

    Returns:
        For each query its row, with its average precision and the number of its relevant images.

    Raises:
        UserError: The records are missing or broken.
    """
    evaluation = config.evaluation
    top = top_matches(*ranked.arrays(), queries, metric=ranked.metric or evaluation.metric,
                      p=evaluation.minkowski_p, galleries=ranked.galleries)
    wanted = np.unique(top.indices[top.indices >= 0])
    gallery = dict(zip(wanted.tolist(),
                       read_images(config.data, "gallery", ranked.gallery_images[wanted])))
    rows = []
    for place, image in enumerate(read_images(config.data, "query", ranked.query_images[queries])):
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
    """Counts the rows of the gallery that show a query's person and count for it."""
    identity, camera = ranked.query.ids[query], ranked.query.cameras[query]
    gallery = ranked.gallery
    if ranked.galleries is not None:
        gallery = gallery.take(ranked.galleries[query])
    counts = counted(identity, camera, gallery.ids, gallery.cameras)
    return int(np.count_nonzero(counts & (gallery.ids == identity)))
