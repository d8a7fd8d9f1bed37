"""The contrastive loss: pulls positive pairs together and pushes negative ones a margin apart.

    L = y d^2 + (1 - y) max(0, margin - d)^2,    y = 1 for a positive pair, d its distance

Two scales are published, both with margin 1:

- "half": half of L, averaged over the batch (Guo and Cheung, "Efficient and deep person
  re-identification using multi-level similarity", 2018, Eq. 4-5, on unit vectors, so that d is at
  most 2);
- "mean": L itself, averaged over the batch (Bojja, "Metric Learning for Person ReIdentification
  task", Eq. 1.1).
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_choice, check_margin, flat_floats

SCALES = ("half", "mean")


def contrastive_from_distance(distance, matches, margin: float = 1.0,
                              scale: str = "half") -> tf.Tensor:
    """Computes the contrastive loss of each pair.

    `tfreid.losses.distances.paired_euclidean` computes distances with finite gradients. At
    distance 0 the gradient is zero, also of a negative pair, which has no direction to part in.

    Args:
        distance: Float array [n] or [n, 1]: Euclidean distances, not squared.
        matches: [n] or [n, 1] of any numeric type or bool, 1 for positive pairs.
        margin: Distance from which negative pairs cost nothing. Defaults to 1.
        scale: "half" or "mean"; see the module. Defaults to "half".

    Returns:
        float32 [n], one loss per pair.

    Raises:
        ValueError: If `margin` is not a finite number above 0, or `scale` is unknown.
    """
    _check(margin, scale)
    distance, matches = flat_floats(distance), flat_floats(matches)
    losses = (matches * tf.square(distance)
              + (1.0 - matches) * tf.square(tf.nn.relu(margin - distance)))
    return 0.5 * losses if scale == "half" else losses


@keras.saving.register_keras_serializable(package="tfreid")
class ContrastiveLoss(FunctionLoss):
    """Keras loss over `contrastive_from_distance`, of matches [n] and distances [n].

    Args:
        margin: As in `contrastive_from_distance`.
        scale: As in `contrastive_from_distance`.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `margin` is not a finite number above 0, or `scale` is unknown.

    Example:
    >>> loss = tfreid.ContrastiveLoss(margin=1.0)
    >>> match, distance = np.array([1, 0]), np.array([0.5, 0.25], np.float32)
    >>> round(float(loss(match, distance)), 4)
    0.2031
    """

    def __init__(self, margin: float = 1.0, scale: str = "half",
                 reduction: str = "sum_over_batch_size", name: str = "contrastive"):
        """Checks the settings."""
        _check(margin, scale)
        super().__init__(reduction, name, margin=margin, scale=scale)

    def call(self, y_true, y_pred):
        """Returns the loss of each pair, [n]."""
        return contrastive_from_distance(y_pred, y_true, **self.settings)


def _check(margin: float, scale: str) -> None:
    check_margin(margin)
    check_choice("scale", scale, SCALES)
