"""Gives each track the number of the person it shows, one number over all cameras."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from tfrecords.errors import UserError
from tfreid.evaluation.distances import pairwise_distances

# New tracks and known people; their distances take twice 8 bytes a pair, 3.2 GB.
MOST_COMPARED = 20_000
_BLOCK_ROWS = 256
_NUMBER = re.compile(r"[0-9]{1,15}")


class Tracks(NamedTuple):
    """Tracks, each of one person by one camera.

    Attributes:
        features: Float [t, d], a feature of each, such as the mean of its embeddings.
        cameras: [t], the camera of each.
        first: Float [t], seconds at which each begins; NaN if unknown.
        last: Float [t], seconds at which each ends; NaN if unknown.
        people: Text [t], the person of a track that was numbered or named before, else empty.
    """

    features: np.ndarray
    cameras: np.ndarray
    first: np.ndarray
    last: np.ndarray
    people: np.ndarray


def identify(tracks: Tracks, threshold: float, *,
             distances: Callable[[np.ndarray, np.ndarray], np.ndarray] = pairwise_distances,
             travel: float | None = None) -> np.ndarray:
    """Gives each track the number of the person it shows.

    Tracks are joined by hierarchical clustering, as in Zhang et al., "Multi-Target, Multi-Camera
    Tracking by Hierarchical Clustering" (2017), here with complete linkage: the two clusters whose
    farthest tracks are nearest become one, so that all tracks of a person are within the threshold
    of each other, which is what a threshold calibrated on pairs means. Clusters with two tracks
    that cannot be one person are never joined: those that one camera sees at the same time, or that
    leave too little time to go from one camera to another. A person known before is one more track,
    with the mean of their features, and bound by the times of all their tracks; two known people
    are never joined.

    Args:
        tracks: The tracks.
        threshold: Largest distance of two tracks of one person.
        distances: Function of features [n, d] and [m, d] that returns their distances [n, m].
        travel: Least number of seconds between tracks of one person by different cameras; None
            allows any, for cameras that may see the same place at the same time.

    Returns:
        Text [t]: the person known before, or a number. Numbers go on after the largest that is
        known, in the order in which people are first seen.

    Raises:
        UserError: If there are more new tracks and known people than `MOST_COMPARED`, or a distance
            is not finite.
    """
    tracks = Tracks(*map(np.asarray, tracks))
    nodes = _nodes(tracks.people)
    count = len(np.unique(nodes))
    if count > MOST_COMPARED:
        raise UserError(f"{count:,} new tracks and known people are too many to compare each with "
                        f"each; number at most {MOST_COMPARED:,} of them at a time.")
    clusters = np.zeros(count, int)
    if count > 1:
        pairs = _node_distances(tracks, nodes, distances, travel)
        threshold = _made_finite(pairs, threshold)
        clusters = fcluster(linkage(pairs, "complete"), threshold, "distance")
    return _named(clusters[nodes], tracks)


def _nodes(people: np.ndarray) -> np.ndarray:
    """Returns integers [t]: the number of each new track, or of its known person, from 0 on.

    All new tracks come before all known people.
    """
    new = people == ""
    nodes = np.empty(len(people), int)
    nodes[new] = np.arange(new.sum())
    nodes[~new] = new.sum() + np.unique(people[~new], return_inverse=True)[1]
    return nodes


def _node_distances(tracks: Tracks, nodes: np.ndarray, distances: Callable,
                    travel: float | None) -> np.ndarray:
    """Returns float64 distances [n * (n - 1) / 2], infinite of nodes that cannot be one person."""
    features = _means(tracks.features, nodes)
    new, count = np.flatnonzero(tracks.people == ""), len(features)
    order, starts = _grouped(nodes)
    # Of two known people it stays infinite.
    pairs = np.full(count * (count - 1) // 2, np.inf)
    place = 0
    for first in range(0, len(new), _BLOCK_ROWS):
        rows = new[first:first + _BLOCK_ROWS]
        block = np.array(distances(features[nodes[rows]], features), np.float64)
        if not np.isfinite(block).all():
            raise UserError("distances of tracks hold NaN or infinity; check their embeddings.")
        apart = _apart(tracks, rows, travel)[:, order]
        block[np.logical_or.reduceat(apart, starts, axis=1)] = np.inf
        for row, values in enumerate(block, first + 1):
            pairs[place:place + count - row] = values[row:]
            place += count - row
    return pairs


def _apart(tracks: Tracks, rows: np.ndarray, travel: float | None) -> np.ndarray:
    """Returns which tracks the times of some others rule out, [rows, t]."""
    waits = np.maximum(tracks.first - tracks.last[rows, None],
                       tracks.first[rows, None] - tracks.last)
    least = -np.inf if travel is None else travel
    return np.where(tracks.cameras[rows, None] == tracks.cameras, waits <= 0, waits < least)


def _made_finite(pairs: np.ndarray, threshold: float) -> float:
    """Makes distances positive and finite, in place, as the clustering needs them.

    Returns:
        The threshold for the new distances; those that were infinite are above it.
    """
    lowest = min(threshold, pairs.min())
    pairs -= lowest
    np.copyto(pairs, 2.0 * (threshold - lowest) + 1.0, where=np.isinf(pairs))
    return threshold - lowest


def _grouped(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns an order [n] of integers from 0 that sorts them, and where each begins [m]."""
    order = np.argsort(rows, kind="stable")
    return order, np.searchsorted(rows[order], np.arange(rows.max(initial=-1) + 1))


def _means(features: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns float64 means [m, d] of the features [n, d] of each row, from 0."""
    order, starts = _grouped(rows)
    sums = np.add.reduceat(features[order], starts, axis=0, dtype=np.float64)
    return sums / np.bincount(rows)[:, None]


def _named(clusters: np.ndarray, tracks: Tracks) -> np.ndarray:
    """Returns the name or number of each track's person, given its cluster; see `identify`."""
    names = {cluster: person for cluster, person in zip(clusters, tracks.people) if person}
    number = max(map(int, filter(_NUMBER.fullmatch, tracks.people)), default=0)
    for place in np.argsort(tracks.first, kind="stable"):
        if clusters[place] not in names:
            number += 1
            names[clusters[place]] = str(number)
    return np.array([names[cluster] for cluster in clusters], str)
