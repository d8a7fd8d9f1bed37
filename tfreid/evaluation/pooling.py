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

# Metrics that compare directions, and the unit vectors of these directions.
DIRECTIONS = {"cosine": unit_rows, "correlation": centred_unit_rows}
_JOINED = {"mean": np.add, "max": np.maximum}


def comparable_rows(features: np.ndarray, metric: str | Metric) -> np.ndarray:
    """Returns features [n, d] as unit vectors if the metric compares directions, else unchanged.

    Otherwise a long vector would dominate a mean, although the metric ignores its length.
    """
    return DIRECTIONS.get(metric, np.asarray)(features)


def pool_blocks(blocks: Iterable[tuple[np.ndarray, np.ndarray]], rows: np.ndarray,
                metric: str | Metric = "cosine", method: str = "mean") -> np.ndarray:
    """Pools the `comparable_rows` of each row's images, with one block in memory at a time.

    Args:
        blocks: Positions [n] of images and their features [n, d], each image once, in any order.
        rows: Integers [images], the row of each image; every row from 0 to the highest has one.
        metric: A name that `pairwise_distances` knows.
        method: "mean", or "max" of every dimension.

    Returns:
        float32 features [rows, d].

    Raises:
        ValueError: If the method is unknown, or the blocks do not contain each image once.
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
        raise ValueError(f"the blocks contain {seen} images instead of {len(rows)}")
    if method == "mean":
        pooled /= counts[:, np.newaxis]
    return pooled.astype(np.float32)


IMAGES, TRACKLETS = "images", "tracklets"


@dataclasses.dataclass(frozen=True)
class RankedSplit:
    """The rows of a split that are ranked, each an image or a tracklet.

    Attributes:
        name: Name of the split.
        index: Index of each row's first image, [rows].
        first: Increasing positions of these images in the split, [rows].
        rows: Row of each image of the split, [images].
        unit: What a row is, `images` or `tracklets`.
    """

    name: str
    index: SplitIndex
    first: np.ndarray
    rows: np.ndarray
    unit: str = IMAGES

    def __len__(self) -> int:
        return len(self.index)

    def frames(self, wanted: np.ndarray | None) -> tuple[np.ndarray | None, np.ndarray]:
        """Returns the positions [n] of the images of increasing rows, and their places in `wanted`.

        For None it returns None, which selects all images, and the row of each.
        """
        if wanted is None:
            return None, self.rows
        positions = np.flatnonzero(np.isin(self.rows, wanted))
        return positions, np.searchsorted(wanted, self.rows[positions])


def single_images(name: str, index: SplitIndex) -> RankedSplit:
    """Returns a split whose rows are its images."""
    places = np.arange(len(index))
    return RankedSplit(name, index, places, places)


def group_tracklets(name: str, index: SplitIndex, directory: str | Path) -> RankedSplit:
    """Returns a split whose rows are its tracklets, in the order of their first images.

    An image without a tracklet (id below 0) is a row of its own; a split without any tracklet is
    ranked image by image.

    Raises:
        UserError: If a tracklet has two identities or two cameras.
    """
    tracked = index.tracklets >= 0
    if not tracked.any():
        return single_images(name, index)
    # Images without a tracklet get negative numbers of their own.
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
            raise UserError(f"{directory}: tracklet {index.tracklets[image]} of split {name} has "
                            f"{word} {of_row[row]} in {split.index.paths[row]} but {word} "
                            f"{values[image]} in {index.paths[image]}; give every tracklet one "
                            f"{word} and a unique id, and build the records again, or set "
                            "evaluation.tracklet_pooling=none.")
    return split


MULTI_QUERY = "multi_query"


def check_multi_query(splits: Sequence[str], directory: str | Path) -> None:
    """Raises a `UserError` if the records lack the images of multi-query evaluation."""
    if MULTI_QUERY not in splits:
        raise UserError(f"{directory} has no split {MULTI_QUERY}, which evaluation.multi_query "
                        "needs; build Market-1501's records with --multi-query, or set "
                        "evaluation.multi_query=false.")


def query_groups(query: SplitIndex, images: SplitIndex,
                 directory: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the images of each multi-query: those of its identity by its camera.

    Zheng et al., "Scalable Person Re-identification", ICCV 2015, Section 5.1.

    Args:
        query: Index of the single queries, [q].
        images: Index of split `multi_query`, [n].
        directory: Folder of the records, for messages.

    Returns:
        Positions [m] of images that belong to a query, the group [m] of each, and the group [q] of
        each query. Queries of one identity by one camera share a group.

    Raises:
        UserError: If a query has no image in the split, or its camera is unknown.
    """
    numbers: dict[tuple[int, int], int] = {}
    groups = np.array([numbers.setdefault(key, len(numbers)) for key in _keys(query)])
    found = np.array([numbers.get(key, -1) if key[1] >= 0 else -1 for key in _keys(images)])
    positions = np.flatnonzero(found >= 0)
    lacking = np.flatnonzero(~np.isin(groups, found[positions]))
    if lacking.size:
        place = lacking[0]
        raise UserError(f"{directory}: split {MULTI_QUERY} has no images for {lacking.size} "
                        f"queries, first for {query.paths[place]} (person {query.ids[place]}, "
                        f"camera {query.cameras[place]}); build the records again, or set "
                        "evaluation.multi_query=false.")
    return positions, found[positions], groups


def _keys(index: SplitIndex) -> list[tuple[int, int]]:
    return list(zip(index.ids.tolist(), index.cameras.tolist()))


# Number of distances in memory at a time.
_BLOCK_ELEMENTS = 2**22
_MOST_ROWS = 256


def expand_features(query_features: np.ndarray, gallery_features: np.ndarray,
                    query_neighbours: int = 5, gallery_neighbours: int = 10, metric: str = "cosine",
                    p: float = MINKOWSKI_P, progress: bool = False,
                    method: str = "added") -> tuple[np.ndarray, np.ndarray]:
    """Expands queries and gallery by their nearest neighbours.

    Almazan et al., "Re-ID done right" (2018), footnote 2: "We expand both the query and the dataset
    by averaging the representation of the first 5 and 10 closest neighbors, respectively." The two
    methods are two readings of it:

    - "added", that of the same laboratory's public code for image retrieval: a gallery image
      becomes the mean of itself and its nearest others, then a query the mean of itself and its
      nearest images of this expanded gallery;
    - "replaced": a query becomes the mean of its nearest gallery images, a gallery image likewise,
      itself the first of them, all with the original features.

    Equally near images come in gallery order. For "cosine" and "correlation", unit vectors are
    averaged. Neither identities nor cameras are used; remove junk beforehand.

    Args:
        query_features: Finite numbers [q, d].
        gallery_features: Finite numbers [g, d].
        query_neighbours: Number of neighbours of a query.
        gallery_neighbours: Number of neighbours of a gallery image.
        metric: A name that `pairwise_distances` knows.
        p: Exponent of the "minkowski" distance.
        progress: Whether to show progress bars.
        method: "added" or "replaced".

    Returns:
        float32 features [q, d] and [g, d].

    Raises:
        UserError: If features are empty, misshapen or not finite, or the metric is unknown.
        ValueError: If a number of neighbours is below 1, or the method is unknown.

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
    if method not in ("added", "replaced"):
        raise ValueError(f"method must be added or replaced, received {method!r}")
    added = method == "added"
    query, gallery = (comparable_rows(side, metric)
                      for side in check_features(query_features, gallery_features))
    with tqdm(total=len(query) + len(gallery), desc="expansion", unit="image",
              disable=not progress, leave=False) as bar:
        expanded = _averaged(FeatureDistances(gallery, gallery, metric, p), len(gallery), gallery,
                             gallery_neighbours + added, bar, in_gallery=True)
        searched = comparable_rows(expanded, metric) if added else gallery
        return _averaged(FeatureDistances(query, searched, metric, p), len(query), searched,
                         query_neighbours, bar, own=query if added else None), expanded


def _averaged(distances: FeatureDistances, count: int, gallery: np.ndarray, neighbours: int,
              bar: tqdm, in_gallery: bool = False, own: np.ndarray | None = None) -> np.ndarray:
    """Returns float32 means [count, d] of the gallery features that are nearest to each image.

    With `own` [count, d], the image's own feature is one more of them.
    """
    means = np.empty((count, gallery.shape[1]), np.float32)
    block = max(1, min(_MOST_ROWS, _BLOCK_ELEMENTS // len(gallery)))
    for start in range(0, count, block):
        images = np.arange(start, min(start + block, count))
        found = distances(images)
        if in_gallery:
            # An image is its own first neighbour, before its copies, with every metric.
            found[images - start, images] = np.finfo(found.dtype).min
        for image, row in zip(images, found):
            # Sorted, so that images with the same neighbours get exactly equal features.
            averaged = gallery[np.sort(nearest_positions(row, neighbours))]
            if own is not None:
                averaged = np.concatenate([averaged, own[image : image + 1]])
            means[image] = averaged.mean(axis=0, dtype=np.float64)
        bar.update(len(images))
    return means
