"""Scalars that show how training goes: distances, norms, active triplets, and a collapse."""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses.base import flat_labels
from tfreid.losses.distances import candidate_pairs
from tfreid.losses.triplet import triplet_terms

# Equal lengths and a cosine of 0.99875 between any two images give 0.05, unrelated directions 1.41.
COLLAPSE_SPREAD = 0.05


def batch_statistics(embeddings, labels, margin: float | str = 0.3,
                     normalize: bool = False) -> dict[str, tf.Tensor]:
    """Computes the scalars to plot for one batch.

    Args:
        embeddings: Float array [n, d].
        labels: Integers [n] or [n, 1].
        margin: Margin of the batch-hard loss; with "soft" every valid anchor is active.
        normalize: Whether distances and triplets are of vectors normalised to unit length.

    Returns:
        float32 scalars without a gradient; a mean over nothing is zero.
        `distance/positive_mean`, `distance/negative_mean`: mean distance of positive and negative
            pairs.
        `embedding/norm`: mean length before normalisation.
        `embedding/spread`: mean distance of all pairs divided by the mean length, both before
            normalisation; `collapsed` reads it.
        `triplet/active_share`: share of anchors with a positive batch-hard loss, among those with a
            positive and a negative.
    """
    embeddings = tf.stop_gradient(tf.cast(embeddings, tf.float32))
    raw, positives, negatives = _pairs(embeddings, labels, normalize=False)
    measured = _pairs(embeddings, labels, normalize=True)[0] if normalize else raw
    norm = tf.reduce_mean(tf.norm(embeddings, axis=1))
    losses, valid = triplet_terms(embeddings, labels, margin, normalize=normalize)
    return {
        "distance/positive_mean": _masked_mean(measured, positives),
        "distance/negative_mean": _masked_mean(measured, negatives),
        "embedding/norm": norm,
        "embedding/spread": tf.math.divide_no_nan(
            _masked_mean(raw, tf.logical_or(positives, negatives)), norm),
        "triplet/active_share": _masked_mean(tf.cast(losses > 0.0, tf.float32), valid > 0.0),
    }


def collapsed(statistics: dict[str, tf.Tensor]) -> tf.Tensor:
    """Returns whether all embeddings of a batch are nearly the same, or not numbers.

    In a collapse of batch-hard training all distances vanish, the loss stays at the margin (0.693
    for the soft one), and the gradient is zero. The spread falls below `COLLAPSE_SPREAD` at any
    scale of the embeddings.

    Args:
        statistics: Result of `batch_statistics` on at least two images, or means of these results.

    Returns:
        bool scalar.
    """
    # Not "spread < threshold": that would be false for NaN.
    return tf.logical_not(statistics["embedding/spread"] >= COLLAPSE_SPREAD)


def positive_distances(embeddings, labels, normalize: bool = False) -> tf.Tensor:
    """Returns the Euclidean distances of all positive pairs, float32 [pairs], each pair once."""
    measured, positives, _ = _pairs(embeddings, labels, normalize)
    return tf.boolean_mask(measured, positives)


def negative_distances(embeddings, labels, normalize: bool = False) -> tf.Tensor:
    """Returns the Euclidean distances of all negative pairs, float32 [pairs], each pair once."""
    measured, _, negatives = _pairs(embeddings, labels, normalize)
    return tf.boolean_mask(measured, negatives)


def pair_statistics(right, matches, distance=None) -> dict[str, tf.Tensor]:
    """Computes accuracy and mean distance of pairs, separately for positive and negative pairs.

    Args:
        right: bool [n], whether the network's verdict on each pair is right.
        matches: [n] or [n, 1] of any numeric type, 1 for positive pairs.
        distance: float32 [n], or None for a network without a distance.

    Returns:
        Scalars: `accuracy/pairs`, and `matching` and `non_matching` (positive and negative pairs)
        of `accuracy` and of `distance`, which are 0 in a batch without these pairs.
    """
    matches = flat_labels(matches)
    values = {"accuracy": tf.cast(right, tf.float32)}
    if distance is not None:
        values["distance"] = distance
    scalars = {"accuracy/pairs": tf.reduce_mean(values["accuracy"])}
    for kind, is_kind in (("matching", matches == 1), ("non_matching", matches == 0)):
        for name, value in values.items():
            scalars[f"{name}/{kind}"] = _masked_mean(value, is_kind)
    return scalars


def _pairs(embeddings, labels, normalize):
    """Returns [n, n] distances and masks of positives and negatives above the diagonal."""
    measured, *masks = candidate_pairs(embeddings, labels, normalize)
    index = tf.range(tf.shape(measured)[0])
    once = index[:, tf.newaxis] < index[tf.newaxis, :]
    return measured, *(tf.logical_and(once, mask) for mask in masks)


def _masked_mean(values, mask):
    # Selected, not multiplied by the mask: NaN outside the mask must not count.
    total = tf.reduce_sum(tf.where(mask, values, 0.0))
    return tf.math.divide_no_nan(total, tf.reduce_sum(tf.cast(mask, tf.float32)))
