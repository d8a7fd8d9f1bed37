"""Numbers that tell how training goes: distances, norms, active triplets, and a collapse."""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses import distances, triplet
from tfreid.losses.classification import flat_labels

# Equal lengths and a cosine of 0.99875 between any two images give 0.05. Unrelated directions
# give 1.41.
COLLAPSE_SPREAD = 0.05


def batch_statistics(embeddings, labels, margin: float | str = 0.3,
                     normalize: bool = False) -> dict[str, tf.Tensor]:
    """Computes the scalars worth plotting for one batch.

    Args:
        embeddings: [n, d] of any floating type.
        labels: [n] or [n, 1] integers.
        margin: that of the batch-hard loss; with "soft" every valid anchor is active.
        normalize: whether the distances and the triplets see vectors scaled to length one.

    Returns:
        Scalars, float32, all without a gradient; a mean over nothing is zero.
        `distance/positive_mean`, `distance/negative_mean`: mean distance of pairs of one
            identity and of two.
        `embedding/norm`: mean length before any scaling.
        `embedding/spread`: mean distance of all pairs over the mean length, both before any
            scaling; what `collapsed` reads.
        `triplet/active_share`: of the anchors that have a positive and a negative, the share
            whose batch-hard loss is above zero.
    """
    embeddings = tf.stop_gradient(tf.cast(embeddings, tf.float32))
    raw, positives, negatives = _pairs(embeddings, labels, normalize=False)
    measured = _pairs(embeddings, labels, normalize=True)[0] if normalize else raw
    norm = tf.reduce_mean(tf.norm(embeddings, axis=1))
    losses, valid = triplet.triplet_terms(embeddings, labels, margin, normalize=normalize)
    return {
        "distance/positive_mean": _masked_mean(measured, positives),
        "distance/negative_mean": _masked_mean(measured, negatives),
        "embedding/norm": norm,
        "embedding/spread": tf.math.divide_no_nan(
            _masked_mean(raw, tf.logical_or(positives, negatives)), norm),
        "triplet/active_share": _masked_mean(tf.cast(losses > 0.0, tf.float32), valid > 0.0),
    }


def collapsed(statistics: dict[str, tf.Tensor]) -> tf.Tensor:
    """Tells whether all embeddings of a batch have become nearly the same, or are not numbers.

    Batch-hard training that collapses draws every distance to zero, where the loss stays at the
    margin (0.693 for the soft one) and the gradient vanishes. The spread falls below
    `COLLAPSE_SPREAD` whatever the scale of the embeddings.

    Args:
        statistics: result of `batch_statistics` on a batch of two images or more, or means of
            such results.

    Returns:
        [] bool.
    """
    # Not "spread < threshold": that would be false for NaN.
    return tf.logical_not(statistics["embedding/spread"] >= COLLAPSE_SPREAD)


def positive_distances(embeddings, labels, normalize: bool = False) -> tf.Tensor:
    """Lists the Euclidean distance of each pair of images of one identity, once per pair.

    Args as in `batch_statistics`.

    Returns:
        [number of such pairs] float32, for a histogram.
    """
    measured, positives, _ = _pairs(embeddings, labels, normalize)
    return tf.boolean_mask(measured, positives)


def negative_distances(embeddings, labels, normalize: bool = False) -> tf.Tensor:
    """Lists the Euclidean distance of each pair of images of two identities, once per pair.

    Args as in `batch_statistics`.

    Returns:
        [number of such pairs] float32, for a histogram.
    """
    measured, _, negatives = _pairs(embeddings, labels, normalize)
    return tf.boolean_mask(measured, negatives)


def _pairs(embeddings, labels, normalize):
    """Returns [n, n] distances and masks of positives and negatives above the diagonal."""
    if normalize:
        embeddings = distances.unit_length(embeddings)
    labels = flat_labels(labels)
    same = tf.equal(labels[:, tf.newaxis], labels[tf.newaxis, :])
    index = tf.range(tf.size(labels))
    once = index[:, tf.newaxis] < index[tf.newaxis, :]
    return (distances.pairwise_euclidean(embeddings), tf.logical_and(once, same),
            tf.logical_and(once, tf.logical_not(same)))


def _masked_mean(values, mask):
    # Selected, not multiplied by the mask: NaN outside the mask must not count.
    total = tf.reduce_sum(tf.where(mask, values, 0.0))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(mask, tf.float32)))


def pair_statistics(right, matches, distance=None) -> dict[str, tf.Tensor]:
    """Computes accuracy and mean distance of pairs, of matching and of non-matching ones apart.

    Args:
        right: [n] bool, whether each pair is judged rightly.
        matches: [n] or [n, 1] of any numeric type, 1 where both images show one identity.
        distance: [n] float32, or None where there is no distance.

    Returns:
        Scalars: `accuracy/pairs`, and `matching` and `non_matching` of `accuracy` and of
        `distance`, which are 0 where the batch has no such pair.
    """
    matches = tf.cast(tf.reshape(matches, [-1]), tf.int32)
    values = {"accuracy": tf.cast(right, tf.float32)}
    if distance is not None:
        values["distance"] = distance
    scalars = {"accuracy/pairs": tf.reduce_mean(values["accuracy"])}
    for kind, is_kind in (("matching", matches == 1), ("non_matching", matches == 0)):
        weights = tf.cast(is_kind, tf.float32)
        for name, value in values.items():
            scalars[f"{name}/{kind}"] = tf.math.divide_no_nan(
                tf.reduce_sum(weights * value), tf.reduce_sum(weights))
    return scalars
