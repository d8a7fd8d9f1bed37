"""The evaluation protocol: which gallery images count for a query, and at which distance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Callable

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.evaluation.distances import MINKOWSKI_P, Metric, find_metric

# Batches of other sizes may round otherwise; features of any use differ by far more.
_ROUNDING = 1e-6


class Labels:
    """Checked identities and cameras [images] of the queries or of the gallery."""

    def __init__(self, name: str, count: int, ids, cameras):
        self.ids = _integers(f"{name} identities", count, ids)
        self.cameras = _integers(f"{name} cameras", count, cameras)
        if name == "query" and self.ids.min() < 0:
            raise UserError(f"query {int(np.argmin(self.ids))} has the identity {self.ids.min()}, "
                            "which marks junk; remove junk images from the queries.")


def check_features(query_features, gallery_features) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features as float32 or float64 matrices.

    Raises:
        UserError: If they are empty, misshapen, not numbers or not finite.
    """
    query = _finite_matrix("query", query_features)
    gallery = _finite_matrix("gallery", gallery_features)
    if gallery.shape[1] != query.shape[1]:
        raise UserError(f"the query features have {query.shape[1]} dimensions and the gallery "
                        f"features {gallery.shape[1]}; extract both with the same model.")
    return query, gallery


def check_spread(features: np.ndarray) -> None:
    """Refuses gallery features [n, d] that are all equal, up to rounding.

    A network with damaged weights, or one whose training collapsed, ranks by the order of images.

    Raises:
        UserError: If they are.
    """
    low, high = features.min(axis=0), features.max(axis=0)
    largest = max(np.abs(low).max(), np.abs(high).max())
    if len(features) > 1 and (high - low).max() <= _ROUNDING * largest:
        raise UserError(f"all {len(features)} gallery features are equal, so that nothing can be "
                        "ranked by them; the training of the weights has collapsed, or they are "
                        "damaged: give others.")


def not_finite(name: str, features: np.ndarray, count: str, first: int) -> UserError:
    """Returns the error for features with NaN or infinity, which names the file they are in.

    Args:
        name: Whose features they are.
        features: The features; a memory map has the name of its file.
        count: How many rows are broken.
        first: The first of them.
    """
    path = getattr(features, "filename", None)
    fix = (f"delete {path} and the .json beside it, so that they are extracted again" if path
           else "check the model's weights")
    return UserError(f"the {name} features hold NaN or infinity {count}(first: row {first}); "
                     f"{fix}.")


class FeatureDistances:
    """Distances from blocks of queries to a gallery that is prepared once.

    Features [q, d] and [g, d] are checked before; `metric` and `p` are those of `find_metric`.
    """

    def __init__(self, query_features: np.ndarray, gallery_features: np.ndarray,
                 metric: str | Metric, p: float = MINKOWSKI_P):
        self._metric = find_metric(metric, p)
        self._query = query_features
        self._gallery = self._metric.prepare(gallery_features)
        self._repeats, self._originals = repeated_rows(gallery_features)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Returns the distances [n, g] from the queries at some positions, in a new array."""
        block = self._metric.prepare(self._query[positions])
        distances = self._metric.between(block, self._gallery)
        # A matrix product rounds by position, so equal features need not come out equal.
        distances[:, self._repeats] = distances[:, self._originals]
        return distances


class Protocol:
    """The rules of `evaluate_ranking`, applied query by query.

    Args:
        queries: Labels of the queries.
        gallery: Labels of the gallery.
        distances: Positions [n] among the queries -> float distances [n, g] that may be changed.
        galleries: For each query the positions of the gallery images that it ranks. Defaults to
            all images.

    Attributes:
        num_ranked: Number of gallery images that are not junk, or its mean over the queries if
            they have galleries of their own.

    Raises:
        UserError: If a query has no gallery, or a gallery contains an invalid position.
    """

    def __init__(self, queries: Labels, gallery: Labels,
                 distances: Callable[[np.ndarray], np.ndarray],
                 galleries: Sequence[np.ndarray] | None = None):
        self.queries, self.gallery = queries, gallery
        self._distances = distances
        self._junk = np.flatnonzero(gallery.ids < 0)
        self._by_identity = np.argsort(gallery.ids, kind="stable")
        self._sorted_ids = gallery.ids[self._by_identity]
        self._galleries = galleries
        self.num_ranked: int | float = len(gallery.ids) - len(self._junk)
        if galleries is not None:
            _check_galleries(galleries, len(queries.ids), len(gallery.ids))
            self.num_ranked = float(np.mean([np.count_nonzero(gallery.ids[positions] >= 0)
                                             for positions in galleries]))

    @property
    def own_galleries(self) -> bool:
        """Whether each query has a gallery of its own."""
        return self._galleries is not None

    def rows(self, wanted: np.ndarray | None = None, block_size: int | None = None,
             progress: bool = False,
             description: str = "ranking") -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields for each query its index, its distances [g] and its positives' positions.

        Ignored gallery images have an infinite distance.
        """
        wanted = np.arange(len(self.queries.ids)) if wanted is None else wanted
        if block_size is None:
            block_size = min(256, max(16, 2**25 // len(self.gallery.ids)))
        if block_size < 1:
            raise ValueError(f"block_size must be at least 1, received {block_size}")
        with tqdm(total=len(wanted), desc=description, unit="query", disable=not progress,
                  leave=False) as bar:
            for start in range(0, len(wanted), block_size):
                block = wanted[start : start + block_size]
                distances = self._distances(block)
                distances[:, self._junk] = np.inf
                for query, row in zip(block, distances):
                    yield query, row, self._split(query, row)
                bar.update(len(block))

    def _split(self, query: int, row: np.ndarray) -> np.ndarray:
        """Sets the distances of ignored images, except junk, to infinity; returns the positives."""
        identity, camera = self.queries.ids[query], self.queries.cameras[query]
        first = np.searchsorted(self._sorted_ids, identity, side="left")
        last = np.searchsorted(self._sorted_ids, identity, side="right")
        same_identity = self._by_identity[first:last]
        ignored = (self.gallery.cameras[same_identity] == camera) & (camera >= 0)
        if self._galleries is not None:
            outside = np.ones(len(row), bool)
            outside[self._galleries[query]] = False
            row[outside] = np.inf
            ignored |= outside[same_identity]
        row[same_identity[ignored]] = np.inf
        return same_identity[~ignored]


def counted(identity: int, camera: int, ids: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Returns which gallery images [g] count for a query.

    Junk does not count, nor do images of the query's identity by its own camera.
    """
    own = (ids == identity) & (cameras == camera) & (camera >= 0)
    return (ids >= 0) & ~own


def matches(identity: int, camera: int, ids: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Returns which gallery images [g] are positives of a query."""
    return counted(identity, camera, ids, cameras) & (ids == identity)


def feature_protocol(query_features: np.ndarray, query_ids: np.ndarray, query_cameras: np.ndarray,
                     gallery_features: np.ndarray, gallery_ids: np.ndarray,
                     gallery_cameras: np.ndarray, metric: str | Metric = "cosine",
                     p: float = MINKOWSKI_P,
                     galleries: Sequence[np.ndarray] | None = None) -> Protocol:
    """Checks the arguments of `evaluate_ranking` and returns the protocol over their distances.

    Raises:
        UserError: As in `evaluate_ranking`.
    """
    query_features, gallery_features = check_features(query_features, gallery_features)
    return Protocol(
        Labels("query", len(query_features), query_ids, query_cameras),
        Labels("gallery", len(gallery_features), gallery_ids, gallery_cameras),
        FeatureDistances(query_features, gallery_features, metric, p),
        galleries,
    )


def repeated_rows(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the positions of rows that occurred before, and the first position of each."""
    seen: dict[bytes, int] = {}
    first = np.empty(len(features), np.int64)
    for index, row in enumerate(features):
        # Adding zero makes -0.0 and 0.0 the same bytes.
        first[index] = seen.setdefault(hashlib.blake2b(row + 0, digest_size=16).digest(), index)
    repeats = np.flatnonzero(first != np.arange(len(first)))
    return repeats, first[repeats]


def _finite_matrix(name: str, features) -> np.ndarray:
    source = features
    features = np.ascontiguousarray(features)
    if features.ndim != 2 or 0 in features.shape:
        raise UserError(f"the {name} features must be a non-empty matrix with one row per image, "
                        f"received shape {features.shape}.")
    if features.dtype not in (np.float32, np.float64):
        try:
            features = features.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(f"the {name} features must be numbers, received "
                            f"{features.dtype}.") from error
    # A row's sum is finite if its entries are, and needs no mask of the whole matrix.
    with np.errstate(invalid="ignore"):
        sums = features.sum(axis=1, dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(sums))
    if len(broken):
        raise not_finite(name, source, f"in {len(broken)} of {len(features)} rows ", broken[0])
    return features


def _integers(name: str, count: int, values) -> np.ndarray:
    labels = np.asarray(values)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(f"the {name} must be {count} integers, one per feature row, received "
                        f"{labels.dtype} of shape {labels.shape}.")
    return labels.astype(np.int64)


def _check_galleries(galleries: Sequence[np.ndarray], num_query: int, num_gallery: int) -> None:
    if len(galleries) != num_query:
        raise UserError(f"there are {len(galleries)} galleries for {num_query} queries; give each "
                        "query its own.")
    for query, positions in enumerate(map(np.asarray, galleries)):
        fits = positions.ndim == 1 and (positions.dtype.kind in "iu" or not positions.size)
        distinct = np.unique(positions)
        if not fits or len(distinct) < len(positions) or (
                distinct.size and (distinct[0] < 0 or distinct[-1] >= num_gallery)):
            raise UserError(f"the gallery of query {query} must be distinct positions from 0 to "
                            f"{num_gallery - 1}.")
