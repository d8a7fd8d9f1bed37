"""Queries that are made of several images: those of the query's person by the query's camera."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfreid.records import SplitIndex

SPLIT = "multi_query"


def check_multi_query(splits: Sequence[str], directory: str | Path) -> None:
    """Raises a `UserError` where records have no images to make such queries of.

    Args:
        splits: Names of the splits of the records.
        directory: The records.
    """
    if SPLIT not in splits:
        raise UserError(
            f"{directory} holds no split {SPLIT}, which evaluation.multi_query averages; build "
            "Market-1501's records with --multi-query, or set evaluation.multi_query=false."
        )


def query_groups(
    query: SplitIndex, images: SplitIndex, directory: str | Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the images that make up each query (Zheng et al., "Scalable Person Re-identification",
    ICCV 2015, Section 5.1): those of its person by its camera.

    Args:
        query: Of the single queries, [q].
        images: Of split `multi_query`, [n].
        directory: The records, for messages.

    Returns:
        Positions [m] of the images that belong to a query, the group [m] of each, and the group
        [q] of each query. Queries of one person by one camera share a group.

    Raises:
        UserError: A query has no such image, or its camera is unknown.
    """
    numbers: dict[tuple[int, int], int] = {}
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in _keys(query)])
    found = np.array([numbers.get(key, -1) if key[1] >= 0 else -1 for key in _keys(images)])
    positions = np.flatnonzero(found >= 0)
    lacking = np.flatnonzero(~np.isin(groups, found[positions]))
    if lacking.size:
        place = lacking[0]
        raise UserError(
            f"{directory}: split {SPLIT} shows no image of person {query.ids[place]} by camera "
            f"{query.cameras[place]}, which {query.paths[place]} is a query for ({lacking.size} "
            "such queries); build the records again, or set evaluation.multi_query=false."
        )
    return positions, found[positions], groups


def _keys(index: SplitIndex) -> list[tuple[int, int]]:
    return list(zip(index.ids.tolist(), index.cameras.tolist()))
