"""Cross-entropies of pairs: do both images show one identity?"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, flat_floats
from tfreid.losses.classification import label_smoothed_softmax


def verification_loss(logits, matches) -> tf.Tensor:
    """Computes the binary cross-entropy of each pair.

    Bojja, "Metric Learning for Person ReIdentification task", Eq. 1.2, whose printed form lacks
    the term (1 - y) log(1 - p). Equal to `pair_softmax` of the logits 0 and `logits`.

    Args:
        logits: Float array [n] or [n, 1]: logits of a positive pair.
        matches: [n] or [n, 1] of any numeric type or bool, 1 for positive pairs.

    Returns:
        float32 [n], one loss per pair.
    """
    return tf.nn.sigmoid_cross_entropy_with_logits(
        labels=flat_floats(matches), logits=flat_floats(logits))


def pair_softmax(logits, matches) -> tf.Tensor:
    """Computes the softmax cross-entropy of each pair over the classes negative and positive.

    Guo and Cheung, "Efficient and deep person re-identification using multi-level similarity"
    (2018), Eq. 3, whose printed form lacks the logarithm and its sign.

    Args:
        logits: Float array [n, 2]: logits of a negative (column 0) and a positive pair (column 1).
        matches: [n] or [n, 1] of any numeric type or bool, 1 for positive pairs.

    Returns:
        float32 [n], one loss per pair.

    Raises:
        ValueError: If `logits` does not have two columns.
    """
    logits = tf.convert_to_tensor(logits)
    if logits.shape[-1] not in (2, None):
        raise ValueError("logits must have two columns, negative and positive. "
                         f"Received: shape {tuple(logits.shape)}")
    return label_smoothed_softmax(logits, matches, smoothing=0.0)


@keras.saving.register_keras_serializable(package="tfreid")
class VerificationLoss(FunctionLoss):
    """Keras loss over `verification_loss`, of matches [n] and logits [n].

    Args:
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Example:
    >>> loss = tfreid.VerificationLoss()
    >>> round(float(loss(np.array([1, 0]), np.zeros(2, np.float32))), 4)
    0.6931
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "verification"):
        """Keeps the settings."""
        super().__init__(reduction, name)

    def call(self, y_true, y_pred):
        """Returns the loss of each pair, [n]."""
        return verification_loss(y_pred, y_true)


@keras.saving.register_keras_serializable(package="tfreid")
class PairSoftmax(FunctionLoss):
    """Keras loss over `pair_softmax`, of matches [n] and logits [n, 2].

    Args:
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Example:
    >>> loss = tfreid.PairSoftmax()
    >>> round(float(loss(np.array([1, 0]), np.zeros((2, 2), np.float32))), 4)
    0.6931
    """

    def __init__(self, reduction: str = "sum_over_batch_size", name: str = "pair_softmax"):
        """Keeps the settings."""
        super().__init__(reduction, name)

    def call(self, y_true, y_pred):
        """Returns the loss of each pair, [n]."""
        return pair_softmax(y_pred, y_true)
