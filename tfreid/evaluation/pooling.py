"""One feature for several images: of a tracklet, of a query, or of the nearest neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.evaluation.distances import MINKOWSKI_P, Metric, centred_unit_rows, unit_rows
from tfreid.evaluation.protocol import FeatureDistances, check_features
from tfreid.evaluation.ranking import nearest_positions
from tfreid.records import SplitIndex

# Metrics that compare directions, and how features become the vectors whose directions they are.
DIRECTIONS = {"cosine": unit_rows, "correlation": centred_unit_rows}
_JOINED = {"mean": np.add, "max": np.maximum}


def comparable_rows(features: np.ndarray, metric: str | Metric) -> np.ndarray:
    """Returns features that may be averaged: unit vectors where the metric compares directions.

    A long vector would otherwise outweigh the others in a mean, although its length means nothing
    to the metric. "cosine" takes unit vectors, "correlation" unit vectors of the rows less their
    mean, and every other metric the features as they are.

    Args:
        features: numbers [n, d].
        metric: a name that `pairwise_distances` knows.
    """
    return DIRECTIONS.get(metric, np.asarray)(features)


def pool_blocks(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    rows: np.ndarray,
    metric: str | Metric = "cosine",
    method: str = "mean",
) -> np.ndarray:
    """Pools the features of each row's images, block by block.

    Beside the result only one block of features is in memory, in whatever order images come. Images
    are pooled as `comparable_rows` gives them.

    Args:
        blocks: positions [n] of images, and their features [n, d]; each image once.
        rows: integers [images], the row of each image; every row from 0 to the highest has one.
        metric: a name that `pairwise_distances` knows.
        method: "mean", or "max" of every dimension.

    Returns:
        float32 features [rows, d].

    Raises:
        ValueError: the method is unknown, or the blocks do not hold each image once.
    """
    if method not in _JOINED:
        raise ValueError(f"method must be one of {', '.join(_JOINED)}, received {method!r}")
    join, pooled, seen = _JOINED[method], None, 0
    counts = np.bincount(rows)
    for places, features in blocks:
        seen += len(places)
        if pooled is None:
            start = 0.0 if method == "mean" else -np.inf
            pooled = np.full((len(counts), features.shape[1]), start)
        order = np.argsort(rows[places], kind="stable")
        present, first = np.unique(rows[places][order], return_index=True)
        sums = join.reduceat(comparable_rows(features, metric)[order], first, axis=0,
                             dtype=np.float64)
        pooled[present] = join(pooled[present], sums)
    if seen != len(rows):
        raise ValueError(f"the blocks hold {seen} images, and there are {len(rows)}")
    if method == "mean":
        pooled /= counts[:, np.newaxis]
    return pooled.astype(np.float32)


IMAGES, TRACKLETS = "images", "tracklets"


@dataclasses.dataclass(frozen=True)
class RankedSplit:
    """The rows of a split that are ranked.

    name: of the split. index: what is known of each row [rows], by its first image. first: position
    in the split of that image, [rows], increasing. rows: row of each image of the split, [images].
    unit: what a row is, `images` or `tracklets`.
    """

    name: str
    index: SplitIndex
    first: np.ndarray
    rows: np.ndarray
    unit: str = IMAGES

    def __len__(self) -> int:
        return len(self.index)

    def frames(self, wanted: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
        """Finds the images of some rows, of increasing numbers, or of all where that is None.

        Returns:
            Positions [n] of the images, None for all of the split, and the place among the wanted
            rows [n] that each belongs to.
        """
        if wanted is None:
            return None, self.rows
        positions = np.flatnonzero(np.isin(self.rows, wanted))
        return positions, np.searchsorted(wanted, self.rows[positions])


def single_images(name: str, index: SplitIndex) -> RankedSplit:
    """Makes every image of a split a row."""
    places = np.arange(len(index))
    return RankedSplit(name, index, places, places)


def group_tracklets(name: str, index: SplitIndex, directory: str | Path) -> RankedSplit:
    """Makes every tracklet of a split a row, in the order of their first images.

    An image without a tracklet (id below 0) is a row of its own; a split without any tracklet is
    ranked image by image.

    Args:
        name: Of the split.
        index: What is known of its images.
        directory: The records, for messages.

    Raises:
        UserError: A tracklet shows two persons, or was taken by two cameras.
    """
    tracked = index.tracklets >= 0
    if not tracked.any():
        return single_images(name, index)
    # Below zero there is a number for each image that is alone.
    keys = np.where(tracked, index.tracklets, -1 - np.arange(len(index)))
    _, first, rows = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    split = RankedSplit(name, index.take(first[order]), first[order],
                        place[rows], TRACKLETS)
    for word, values, of_row in (("person", index.ids, split.index.ids),
                                 ("camera", index.cameras, split.index.cameras)):
        wrong = np.flatnonzero(values != of_row[split.rows])
        if wrong.size:
            image, row = wrong[0], split.rows[wrong[0]]
            raise UserError(
                f"{directory}: tracklet {index.tracklets[image]} of split {name} is of {word} "
                f"{of_row[row]} in {split.index.paths[row]} and of {word} {values[image]} in "
                f"{index.paths[image]}; give every tracklet one {word} and an id of its own, and "
                "build the records again, or set evaluation.tracklet_pooling=none."
            )
    return split


MULTI_QUERY = "multi_query"


def check_multi_query(splits: Sequence[str], directory: str | Path) -> None:
    """Raises a `UserError` where records have no images to make such queries of.

    Args:
        splits: Names of the splits of the records.
        directory: The records.
    """
    if MULTI_QUERY not in splits:
        raise UserError(
            f"{directory} holds no split {MULTI_QUERY}, which evaluation.multi_query averages; "
            "build Market-1501's records with --multi-query, or set evaluation.multi_query=false."
        )


def query_groups(
    query: SplitIndex, images: SplitIndex, directory: str | Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the images that make up each query: those of its person by its camera.

    Zheng et al., "Scalable Person Re-identification", ICCV 2015, Section 5.1.

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
            f"{directory}: split {MULTI_QUERY} shows no image of person {query.ids[place]} by "
            f"camera {query.cameras[place]}, which {query.paths[place]} is a query for "
            f"({lacking.size} such queries); build the records again, or set "
            "evaluation.multi_query=false."
        )
    return positions, found[positions], groups


def _keys(index: SplitIndex) -> list[tuple[int, int]]:
    return list(zip(index.ids.tolist(), index.cameras.tolist()))


# Distances held at once, where a few queries have no more.
_BLOCK_ELEMENTS = 2**22
_MOST_ROWS = 256


def expand_features(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    query_neighbours: int = 5,
    gallery_neighbours: int = 10,
    metric: str = "cosine",
    p: float = MINKOWSKI_P,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Expands queries and gallery by their nearest neighbours.

    Almazan et al., "Re-ID done right" (2018), footnote 2: "We expand both the query and the dataset
    by averaging the representation of the first 5 and 10 closest neighbors, respectively."
    Neighbours are images of the gallery, nearest first by the features as they were; equally
    distant ones come in gallery order, and identical features are always equally distant. So a
    gallery image is its own first neighbour, and a query, which is in no gallery, is replaced by
    its neighbours. (Counting the query itself as the first of the 5 changes little: OSNet x0.25
    on Market-1501 has rank-1 92.73 %, rank-5 96.44 % and mAP 87.52 % without it, and 92.70 %,
    96.62 % and 87.40 % with it.) A shorter gallery is averaged whole.

    What is averaged are the rows of `comparable_rows`: unit vectors for "cosine". Only the
    distances of a block of images are in memory at a time. Neither identities nor cameras are
    used; junk must be left out before.

    Args:
        query_features: finite numbers [q, d].
        gallery_features: finite numbers [g, d].
        query_neighbours: gallery images that a query becomes the mean of.
        gallery_neighbours: gallery images, itself among them, that a gallery image becomes the
            mean of; 1 leaves the gallery as it is.
        metric: a name that `pairwise_distances` knows.
        p: exponent of the "minkowski" distance.
        progress: show progress bars.

    Returns:
        float32 features [q, d] and [g, d].

    Raises:
        UserError: features that are empty, misshapen or not finite, or an unknown metric.
        ValueError: a number of neighbours below 1.

    Example:

    >>> random = np.random.default_rng(0)
    >>> query, gallery = random.random((2, 4)), random.random((12, 4))
    >>> expanded = tfreid.expand_features(query, gallery)
    >>> [side.shape for side in expanded]
    [(2, 4), (12, 4)]
    """
    if min(query_neighbours, gallery_neighbours) < 1:
        raise ValueError("query_neighbours and gallery_neighbours must be at least 1, received "
                         f"{query_neighbours} and {gallery_neighbours}")
    query, gallery = (comparable_rows(side, metric)
                      for side in check_features(query_features, gallery_features))
    with tqdm(total=len(query) + len(gallery), desc="expansion", unit="image",
              disable=not progress, leave=False) as bar:
        return (
            _averaged(FeatureDistances(query, gallery, metric, p), len(query), gallery,
                      query_neighbours, False, bar),
            _averaged(FeatureDistances(gallery, gallery, metric, p), len(gallery), gallery,
                      gallery_neighbours, True, bar),
        )


def _averaged(
    distances: FeatureDistances,
    count: int,
    gallery: np.ndarray,
    neighbours: int,
    in_gallery: bool,
    bar: tqdm,
) -> np.ndarray:
    """Returns float32 means [count, d] of the gallery features that are nearest to each image."""
    means = np.empty((count, gallery.shape[1]), np.float32)
    block = max(1, min(_MOST_ROWS, _BLOCK_ELEMENTS // len(gallery)))
    for start in range(0, count, block):
        images = np.arange(start, min(start + block, count))
        found = distances(images)
        if in_gallery:
            # An image comes before its copies, and is itself where the metric would say otherwise.
            found[images - start, images] = np.finfo(found.dtype).min
        for image, row in zip(images, found):
            # In one order, so that images with the same neighbours become equal to the last digit.
            nearest = np.sort(nearest_positions(row, neighbours))
            means[image] = gallery[nearest].mean(axis=0, dtype=np.float64)
        bar.update(len(images))
    return means
