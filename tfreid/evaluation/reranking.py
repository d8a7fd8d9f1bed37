"""Re-ranking by k-reciprocal nearest neighbours (Zhong et al., CVPR 2017), sparse and blocked."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from tqdm import tqdm

from tfrecords.errors import UserError
from tfreid.evaluation.pooling import DIRECTIONS
from tfreid.evaluation.protocol import check_features, repeated_rows

# Transforms after which the squared Euclidean distance agrees with the metric.
_PREPARED = {**DIRECTIONS, "euclidean": lambda features: features}
_BLOCK_ROWS = 512
# Number of groups of columns that bound the distance of the nearest ones; see _candidates.
_GROUPS = 512
# Extra candidates, because float32 products may order close neighbours incorrectly.
_MARGIN = 8
_PAIRS_AT_ONCE = 2**14


def k_reciprocal_rerank(query_features: np.ndarray, gallery_features: np.ndarray, k1: int = 20,
                        k2: int = 6, lambda_value: float = 0.3, metric: str = "euclidean",
                        progress: bool = False) -> np.ndarray:
    """Computes re-ranked distances from queries to gallery by k-reciprocal encoding.

    The algorithm is that of Zhong et al., "Re-ranking Person Re-identification with k-reciprocal
    Encoding" (CVPR 2017), as in its authors' code. Queries and gallery form one set of images.
    With d(i, j) the squared Euclidean distance divided by the largest one of row i:

    - R(i, k): those of i's k + 1 nearest images, including i, that have i among theirs (Eq. 3);
    - R*(i): the union of R(i, k1) and of every R(c, k1 / 2), for c in R(i, k1), more than two
      thirds of which is in R(i, k1) (Eq. 4); k1 / 2 is rounded half to even;
    - the encoding of i is exp(-d(i, j)) for j in R*(i), divided by its sum (Eq. 7), then
      averaged over the k2 nearest images, including i (Eq. 11);
    - the Jaccard distance is 1 - s / (2 - s), where s sums the minima of two encodings (Eq. 10);
    - the result is (1 - lambda) * Jaccard + lambda * d (Eq. 12).

    Ties are broken by position, queries first, but an image is always its own nearest neighbour.
    Encodings are sparse and distances computed in blocks, so memory beyond the result grows with
    the number of images, not with its square. Neither identities nor cameras are used; remove junk
    beforehand.

    Args:
        query_features: Finite numbers [q, d].
        gallery_features: Finite numbers [g, d].
        k1: Number of reciprocal neighbours, 1 or more.
        k2: Number of images that an encoding is averaged over, 1 or more.
        lambda_value: Weight of the original distance, in 0..1.
        metric: "euclidean", "cosine" or "correlation". For the last two the features are scaled
            to unit length, where the squared Euclidean distance is twice the metric's.
        progress: Whether to show progress bars.

    Returns:
        float32 distances [q, g]; smaller is more alike.

    Raises:
        UserError: If features are empty, misshapen or not finite, or the metric is another one.
        ValueError: If `k1` or `k2` is below 1, or `lambda_value` outside 0..1.

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
    """Raises a `UserError` if re-ranking does not support a metric."""
    if metric not in _PREPARED:
        raise UserError(f"re-ranking needs squared Euclidean distances, so {metric!r} is not "
                        f"supported; choose one of {', '.join(sorted(_PREPARED))} as "
                        "evaluation.metric, or set evaluation.reranking=false.")


def _centred(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Joins, centres and scales the features so that float32 squares lose the least precision."""
    features = np.concatenate([query, gallery])
    # This changes neither ranks nor distances relative to the largest one.
    mean = features.mean(axis=0, dtype=np.float64)
    largest = max(np.abs(features.max(axis=0) - mean).max(),
                  np.abs(features.min(axis=0) - mean).max())
    scale = 1.0 / largest if largest > 0 else 1.0
    centred = np.empty(features.shape, np.float32)
    np.subtract(features, mean, out=centred, dtype=np.float64, casting="same_kind")
    return np.multiply(centred, scale, out=centred, casting="same_kind")


def _neighbours(features: np.ndarray, num_query: int, count: int,
                progress: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds every image's nearest images, itself first.

    Returns:
        int32 positions [n, count], or [n, n] of fewer images; float32 largest squared distance of
        each image [n]; float32 distances [q, g], relative to the query's largest one.
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
            # Scaling the block is cheaper than scaling the product.
            distances = (-2.0 * block) @ features.T
            distances += squares
            distances += squares[rows, np.newaxis]
            np.maximum(distances, 0.0, out=distances)
            distances[:, repeats] = distances[:, originals]
            furthest[rows] = distances.max(axis=1)
            queries = rows[rows < num_query]
            normalized[queries] = distances[: len(queries), num_query:]
            # Smaller than every distance, so that an image is its own first neighbour.
            distances[rows - start, rows] = -1.0
            neighbours[rows] = _nearest(features, distances, rows, count)
            bar.update(len(block))
    normalized /= np.where(furthest > 0, furthest, 1.0)[:num_query, np.newaxis]
    return neighbours, furthest, normalized


def _nearest(features: np.ndarray, distances: np.ndarray, rows: np.ndarray,
             count: int) -> np.ndarray:
    """Returns the positions [rows, count] of each image's nearest ones; ties by position.

    `distances` [rows, n] are approximate; an image's distance to itself is the smallest.
    """
    places, found = _candidates(distances, min(count + _MARGIN, len(features)))
    exact = _squared_distances(features, rows[places], found)
    exact[found == rows[places]] = -1.0
    order = np.lexsort((found, exact, places))
    first = np.searchsorted(places, np.arange(len(rows)))
    return found[order[first[:, np.newaxis] + np.arange(count)]]


def _candidates(distances: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column, in order, of each row's `count` smallest values and a few more."""
    total = distances.shape[1]
    groups = min(total, max(_GROUPS, 4 * count))
    dealt = total // groups * groups
    # The count-th smallest of the groups' minima is at least the row's count-th smallest value.
    # A group takes every groups-th column, because neighbours are often adjacent.
    minima = distances[:, :dealt].reshape(len(distances), -1, groups).min(axis=1)
    minima.partition(count - 1, axis=1)
    mask = distances <= minima[:, count - 1 : count]
    # There are many more only if many distances are equal.
    for row in np.flatnonzero(np.count_nonzero(mask, axis=1) > 4 * count):
        mask[row] = False
        mask[row, np.argsort(distances[row], kind="stable")[:count]] = True
    rows, columns = np.divmod(np.flatnonzero(mask), total)
    return rows, columns


def _squared_distances(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Computes squared Euclidean distances [pairs] from differences, which is exact if small."""
    distances = np.empty(len(first), np.float32)
    for start in range(0, len(first), _PAIRS_AT_ONCE):
        pairs = slice(start, start + _PAIRS_AT_ONCE)
        difference = features[first[pairs]]
        difference -= features[second[pairs]]
        np.einsum("pd,pd->p", difference, difference, out=distances[pairs])
    return distances


def _encodings(features: np.ndarray, neighbours: np.ndarray, furthest: np.ndarray,
               k1: int) -> sparse.csr_matrix:
    """Encodes every image by its expanded k-reciprocal set: float32 [n, n] with row sums of 1."""
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
    """Returns int32 [n, n] with ones where two images are neighbours of each other."""
    forward = _membership(neighbours).astype(np.int32)
    return forward.multiply(forward.T).tocsr()


def _membership(neighbours: np.ndarray) -> sparse.csr_matrix:
    """Returns float32 [n, n] with ones at each row's neighbours."""
    total, count = neighbours.shape
    ends = np.arange(0, neighbours.size + 1, count)
    ones = np.ones(neighbours.size, np.float32)
    return sparse.csr_matrix((ones, neighbours.ravel(), ends), (total, total))


def _blend(distances: np.ndarray, encodings: sparse.csr_matrix, lambda_value: float,
           progress: bool) -> None:
    """Turns original distances [q, g] into final ones, in place (Eq. 10 and 12)."""
    num_query, num_gallery = distances.shape
    queries = encodings[:num_query].tocsr()
    # For each member the gallery images whose encoding contains it, and its weight there.
    holders = encodings[num_query:].tocsc()
    distances *= np.float32(lambda_value)
    for query in tqdm(range(num_query), desc="Jaccard distances", unit="query",
                      disable=not progress, leave=False):
        own = slice(queries.indptr[query], queries.indptr[query + 1])
        members = queries.indices[own]
        first, last = holders.indptr[members], holders.indptr[members + 1]
        lengths = last - first
        # The ranges first..last of all members, concatenated.
        offsets = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
        held = offsets + np.arange(lengths.sum())
        smaller = np.minimum(np.repeat(queries.data[own], lengths), holders.data[held])
        shared = np.bincount(holders.indices[held], smaller, minlength=num_gallery)
        shared = np.minimum(shared, 1.0)  # rounding may exceed 1 slightly
        distances[query] += (1.0 - lambda_value) * (1.0 - shared / (2.0 - shared))
