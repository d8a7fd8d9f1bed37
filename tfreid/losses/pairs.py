"""Which images of a batch are an anchor's positives and negatives, and how far away they are."""

from __future__ import annotations

import tensorflow as tf

from tfreid.losses import distances as distance_functions
from tfreid.losses.classification import flat_labels


def candidate_pairs(embeddings, labels, normalize: bool = False, candidates=None,
                    candidate_labels=None, anchor_offset=0
                    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes every anchor's distance to every candidate, and what the candidate is to it.

    Args:
        embeddings: [n, d] of any floating type, the anchors.
        labels: [n] or [n, 1] integers.
        normalize: whether vectors are scaled to length one before distances are taken.
        candidates: [m, d], where positives and negatives are sought; the anchors themselves by
            default. To search across replicas, give the embeddings gathered from all of them.
        candidate_labels: [m], required with `candidates` and only then.
        anchor_offset: int or scalar tensor; anchor i is candidate `anchor_offset + i`, and is
            never its own positive.

    Returns:
        distances: [n, m] float32, Euclidean.
        positives, negatives: [n, m] bool, the candidates of the same and of another identity.

    Raises:
        ValueError: only one of `candidates` and `candidate_labels`.
    """
    if (candidates is None) != (candidate_labels is None):
        missing = "candidates" if candidates is None else "candidate_labels"
        raise ValueError("candidates and candidate_labels are given together or not at all. "
                         f"Received: {missing}=None")
    if normalize:
        embeddings = distance_functions.unit_length(embeddings)
        candidates = None if candidates is None else distance_functions.unit_length(candidates)
    distances = distance_functions.pairwise_euclidean(embeddings, candidates)
    return distances, *relations(labels, candidate_labels, anchor_offset)


def relations(labels, candidate_labels=None, anchor_offset=0) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the masks of `candidate_pairs` alone; arguments as there."""
    anchors = flat_labels(labels)[:, tf.newaxis]
    others = flat_labels(labels if candidate_labels is None else candidate_labels)[tf.newaxis, :]
    same = tf.equal(anchors, others)
    itself = tf.equal(tf.range(tf.size(anchors))[:, tf.newaxis] + tf.cast(anchor_offset, tf.int32),
                      tf.range(tf.size(others))[tf.newaxis, :])
    return tf.logical_and(same, tf.logical_not(itself)), tf.logical_not(same)
