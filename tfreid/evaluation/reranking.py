"""Re-ranking by k-reciprocal nearest neighbours (Zhong et al., CVPR 2017), sparse and blocked."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.evaluation.pooling import DIRECTIONS
from tfreid.evaluation.protocol import check_features, repeated_rows

# How features are brought to where squared Euclidean distance agrees with the metric.
_PREPARED = {**DIRECTIONS, "euclidean": lambda features: features}
_BLOCK_ROWS = 512
# Columns are dealt to this many groups to bound the distance of the nearest ones; see _candidates.
_GROUPS = 512
# Neighbours looked at beyond those wanted, so that float32 products need not order them right.
_MARGIN = 8
_PAIRS_AT_ONCE = 2**14


def k_reciprocal_rerank(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    metric: str = "euclidean",
    progress: bool = False,
) -> np.ndarray:
    """Computes re-ranked distances from queries to gallery by k-reciprocal encoding.

    The algorithm is that of Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
    Encoding" (CVPR 2017), as its authors published it. All images, queries and gallery, form one
    set. With d(i, j) the squared Euclidean distance divided by the largest one of row i:

    - R(i, k): those of i's k + 1 nearest images, itself among them, that have i among theirs
      (Eq. 3);
    - R*(i): R(i, k1) joined by R(c, k1 / 2) of every c in R(i, k1) more than two thirds of which
      lie in R(i, k1) (Eq. 4); k1 / 2 is rounded half to even;
    - the encoding of i is exp(-d(i, j)) for j in R*(i), divided by its sum (Eq. 7), then
      averaged over the k2 nearest images, itself among them (Eq. 11);
    - the Jaccard distance is 1 - s / (2 - s), where s sums the minima of two encodings (Eq. 10);
    - the result is (1 - lambda) * Jaccard + lambda * d (Eq. 12).

    Equally distant images are neighbours in their order, queries first, but an image is always its
    own nearest. Fewer images than k1 + 1 are all neighbours. Encodings are sparse and distances
    computed in blocks, so memory beyond the result grows with the number of images, not with its
    square. Neither identities nor cameras are used; junk must be left out before.

    Args:
        query_features: finite numbers [q, d].
        gallery_features: finite numbers [g, d].
        k1: reciprocal neighbours, 1 or more.
        k2: images an encoding is averaged over, 1 or more; 1 leaves it as it is.
        lambda_value: share of the original distance, 0..1.
        metric: "euclidean" takes the features as they are, "cosine" as unit vectors, "correlation"
            as unit vectors of the rows less their mean; the squared Euclidean distance of unit
            vectors is twice the cosine distance, so the first neighbours are the metric's own.
        progress: show progress bars.

    Returns:
        float32 distances [q, g]; smaller is more alike.

    Raises:
        UserError: features that are empty, misshapen or not finite, or a metric that no squared
            Euclidean distance agrees with.
        ValueError: `k1` or `k2` below 1, or `lambda_value` outside 0..1.

    Example:

    >>> random = np.random.default_rng(0)
    >>> query, gallery = random.random((2, 4)), random.random((12, 4))
    >>> tfreid.k_reciprocal_rerank(query, gallery, k1=5, k2=2).shape
    (2, 12)
    """
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 and k2 must be at least 1, received {k1} and {k2}")
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value must be from 0 to 1, received {lambda_value}")
    check_rerankable(metric)
    query, gallery = check_features(query_features, gallery_features)
    features = _centred(_PREPARED[metric](query), _PREPARED[metric](gallery))
    count = max(k1 + 1, k2)
    neighbours, furthest, distances = _neighbours(features, len(query), count, progress)
    encodings = _encodings(features, neighbours[:, : k1 + 1], furthest, k1)
    if k2 > 1:
        nearest = neighbours[:, :k2]
        encodings = _membership(nearest) @ encodings / np.float32(nearest.shape[1])
    _blend(distances, encodings, lambda_value, progress)
    return distances


def check_rerankable(metric: str) -> None:
    """Raises a `UserError` where re-ranking cannot go with a metric."""
    if metric not in _PREPARED:
        raise UserError(
            f"re-ranking works on squared Euclidean distances, which {metric!r} has no part in; "
            f"choose one of {', '.join(sorted(_PREPARED))} as evaluation.metric, or set "
            "evaluation.reranking=false."
        )


def _centred(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Joins the features and moves and scales them to where float32 squares lose least."""
    features = np.concatenate([query, gallery])
    # Ranks and shares of the largest distance do not change with either.
    mean = features.mean(axis=0, dtype=np.float64)
    largest = max(np.abs(features.max(axis=0) - mean).max(),
                  np.abs(features.min(axis=0) - mean).max())
    scale = 1.0 / largest if largest > 0 else 1.0
    centred = np.empty(features.shape, np.float32)
    np.subtract(features, mean, out=centred, dtype=np.float64, casting="same_kind")
    return np.multiply(centred, scale, out=centred, casting="same_kind")


def _neighbours(
    features: np.ndarray, num_query: int, count: int, progress: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds every image's nearest images, itself first.

    Returns:
        int32 positions [n, count], or all n where there are fewer; float32 largest squared
        distance [n] of each image; float32 distances [q, g] of the queries over that largest one.
    """
    total = len(features)
    count = min(count, total)
    squares = np.einsum("nd,nd->n", features, features)
    repeats, originals = repeated_rows(features)
    neighbours = np.empty((total, count), np.int32)
    furthest = np.empty(total, np.float32)
    normalized = np.empty((num_query, total - num_query), np.float32)
    with tqdm(total=total, desc="neighbours", unit="image", disable=not progress,
              leave=False) as bar:
        for start in range(0, total, _BLOCK_ROWS):
            block = features[start : start + _BLOCK_ROWS]
            rows = np.arange(start, start + len(block))
            # A factor of two is cheaper on the block than on the product.
            distances = (-2.0 * block) @ features.T
            distances += squares
            distances += squares[rows, np.newaxis]
            np.maximum(distances, 0.0, out=distances)
            distances[:, repeats] = distances[:, originals]
            furthest[rows] = distances.max(axis=1)
            queries = rows[rows < num_query]
            normalized[queries] = distances[: len(queries), num_query:]
            # Below every distance, so that an image is its own first neighbour.
            distances[rows - start, rows] = -1.0
            neighbours[rows] = _nearest(features, distances, rows, count)
            bar.update(len(block))
    normalized /= np.where(furthest > 0, furthest, 1.0)[:num_query, np.newaxis]
    return neighbours, furthest, normalized


def _nearest(
    features: np.ndarray, distances: np.ndarray, rows: np.ndarray, count: int
) -> np.ndarray:
    """Returns the nearest `count` images of some, themselves first; ties by position.

    Args:
        features: float32 [n, d].
        distances: float32 squared distances [rows, n], right to a few digits; an image's own is
            below all others.
        rows: positions [rows] of the images.
        count: neighbours of each.

    Returns:
        positions [rows, count].
    """
    places, found = _candidates(distances, min(count + _MARGIN, len(features)))
    exact = _squared_distances(features, rows[places], found)
    exact[found == rows[places]] = -1.0
    order = np.lexsort((found, exact, places))
    first = np.searchsorted(places, np.arange(len(rows)))
    return found[order[first[:, np.newaxis] + np.arange(count)]]


def _candidates(distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Finds columns that hold each row's `count` smallest values, and perhaps a few more.

    Returns:
        Row and column of each, sorted by row, then by column.
    """
    total = distances.shape[1]
    groups = min(total, max(_GROUPS, 4 * count))
    dealt = total // groups * groups
    # The count-th smallest of the groups' minima cannot lie below the row's count-th smallest.
    # Every groups-th column is in one group, since neighbours often stand side by side.
    minima = distances[:, :dealt].reshape(len(distances), -1, groups).min(axis=1)
    minima.partition(count - 1, axis=1)
    mask = distances <= minima[:, count - 1 : count]
    # Only where many distances are equal are there more than a few.
    for row in np.flatnonzero(np.count_nonzero(mask, axis=1) > 4 * count):
        mask[row] = False
        mask[row, np.argsort(distances[row], kind="stable")[:count]] = True
    rows, columns = np.divmod(np.flatnonzero(mask), total)
    return rows, columns


def _squared_distances(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Computes squared Euclidean distances of pairs by differences, so small ones come right.

    Args:
        features: float32 [n, d].
        first: positions [pairs].
        second: positions [pairs].

    Returns:
        float32 [pairs].
    """
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        pairs = slice(start, start + _PAIRS_AT_ONCE)
        difference = features[first[pairs]]
        difference -= features[second[pairs]]
        np.einsum("pd,pd->p", difference, difference, out=distances[pairs])
    return distances


def _encodings(
    features: np.ndarray, neighbours: np.ndarray, furthest: np.ndarray, k1: int
) -> sparse.csr_matrix:
    """Encodes every image by its expanded k-reciprocal set: float32 [n, n], rows sum to one."""
    reciprocal = _reciprocal(neighbours)
    half = _reciprocal(neighbours[:, : int(np.around(k1 / 2)) + 1])
    # `half` is symmetric: entry (i, c) counts the members of R(c, k1 / 2) that are in R(i, k1).
    shared = (reciprocal @ half).multiply(reciprocal).tocoo()
    sizes = np.diff(half.indptr)
    joins = 3 * shared.data > 2 * sizes[shared.col]
    added = sparse.csr_matrix(
        (np.ones(joins.sum(), np.int32), (shared.row[joins], shared.col[joins])), half.shape
    )
    expanded = (reciprocal + added @ half).tocoo()
    share = _squared_distances(features, expanded.row, expanded.col)
    share /= np.where(furthest > 0, furthest, 1.0)[expanded.row]
    weights = np.exp(-share)
    sums = np.bincount(expanded.row, weights, minlength=len(features))
    weights /= sums[expanded.row].astype(np.float32)
    return sparse.csr_matrix((weights, (expanded.row, expanded.col)), expanded.shape)


def _reciprocal(neighbours: np.ndarray) -> sparse.csr_matrix:
    """Returns, as ones in int32 [n, n], which images are among each other's neighbours."""
    forward = _membership(neighbours).astype(np.int32)
    return forward.multiply(forward.T).tocsr()


def _membership(neighbours: np.ndarray) -> sparse.csr_matrix:
    """Returns float32 [n, n] with ones at each row's neighbours."""
    total, count = neighbours.shape
    ends = np.arange(0, neighbours.size + 1, count)
    ones = np.ones(neighbours.size, np.float32)
    return sparse.csr_matrix((ones, neighbours.ravel(), ends), (total, total))


def _blend(
    distances: np.ndarray, encodings: sparse.csr_matrix, lambda_value: float, progress: bool
) -> None:
    """Turns original distances [q, g] into final ones, in place (Eq. 10 and 12)."""
    num_query, num_gallery = distances.shape
    queries = encodings[:num_query].tocsr()
    # Column by column: which gallery images hold a member, and how much of it.
    holders = encodings[num_query:].tocsc()
    distances *= np.float32(lambda_value)
    for query in tqdm(range(num_query), desc="Jaccard distances", unit="query",
                      disable=not progress, leave=False):
        own = slice(queries.indptr[query], queries.indptr[query + 1])
        members = queries.indices[own]
        first, last = holders.indptr[members], holders.indptr[members + 1]
        lengths = last - first
        # The positions first..last of all members, one after the other.
        offsets = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        held = offsets + np.arange(lengths.sum())
        smaller = np.minimum(np.repeat(queries.data[own], lengths), holders.data[held])
        shared = np.bincount(holders.indices[held], smaller, minlength=num_gallery)
        shared = np.minimum(shared, 1.0)  # rounding adds up to a little more
        distances[query] += (1.0 - lambda_value) * (1.0 - shared / (2.0 - shared))
