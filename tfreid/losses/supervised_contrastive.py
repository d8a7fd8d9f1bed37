"""The supervised contrastive loss.

Khosla et al., "Supervised contrastive learning" (2020), L_out of Eq. 2: with the unit vectors z,
the positives P(i) of an anchor and all images A(i) of the batch but itself,

    L = -1 / |P(i)| sum over p in P(i) of log(exp(z_i . z_p / tau)
                                              / sum over a in A(i) of exp(z_i . z_a / tau))
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_positive
from tfreid.losses.distances import candidate_cosines, masked_logsumexp


def supervised_contrastive_loss(embeddings, labels, temperature: float = 0.1,
                                **candidates) -> tf.Tensor:
    """Computes the supervised contrastive loss of each anchor.

    Args:
        embeddings: Float array [n, d] of any length.
        labels: Integers [n] or [n, 1].
        temperature: tau, above 0. Defaults to 0.1.
        **candidates: `candidates`, `candidate_labels` and `anchor_offset` of
            `tfreid.losses.distances.candidate_pairs`, to compare with the images of all replicas.

    Returns:
        float32 [n], zero for an anchor without a positive.

    Raises:
        ValueError: If `temperature` is not a finite number above 0, or only one of `candidates` and
            `candidate_labels` is given.
    """
    check_positive("temperature", temperature)
    cosines, positives, negatives = candidate_cosines(embeddings, labels, **candidates)
    logits = cosines / temperature
    counts = tf.reduce_sum(tf.cast(positives, tf.float32), axis=1)
    totals = tf.reduce_sum(tf.where(positives, logits, 0.0), axis=1)
    losses = (masked_logsumexp(logits, tf.logical_or(positives, negatives))
              - tf.math.divide_no_nan(totals, counts))
    return tf.where(counts > 0.0, losses, 0.0)


@keras.saving.register_keras_serializable(package="tfreid")
class SupervisedContrastiveLoss(FunctionLoss):
    """Keras loss over `supervised_contrastive_loss`, of labels [n] and embeddings [n, d].

    Args:
        temperature: As in `supervised_contrastive_loss`.
        reduction: As in `keras.losses.Loss`. Defaults to the mean over the anchors of the batch.
        name: Name of the loss.

    Raises:
        ValueError: If `temperature` is not a finite number above 0.

    Example:
    >>> loss = tfreid.SupervisedContrastiveLoss(temperature=0.1)
    >>> labels, embeddings = np.array([0, 0, 1, 1]), np.eye(4, dtype=np.float32)
    >>> round(float(loss(labels, embeddings)), 3)
    1.099
    """

    def __init__(self, temperature: float = 0.1, reduction: str = "sum_over_batch_size",
                 name: str = "supervised_contrastive"):
        """Checks the settings."""
        check_positive("temperature", temperature)
        super().__init__(reduction, name, temperature=temperature)

    def call(self, y_true, y_pred, **candidates):
        """Returns the loss of each anchor, [n]; `candidates` as in the function."""
        return supervised_contrastive_loss(y_pred, y_true, **self.settings, **candidates)
