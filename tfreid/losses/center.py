"""The center loss and the update of its class centers, in the two published variants.

Both pull an embedding x_i towards the center c_yi of its identity:

- "bag_of_tricks" (the published code of Luo et al., "Bag of Tricks and a Strong Baseline for Deep
  Person Re-identification", 2019): ||x - c||^2 clipped to 1e-12..1e12, averaged over the batch. The
  centers follow plain SGD with learning rate 0.5 on the gradient of that mean, without the loss's
  weight of 0.0005.
- "wen" (Wen et al., "A discriminative feature learning approach for deep face recognition",
  2016): half of ||x - c||^2, Eq. 2. The centers follow Eq. 3-4 with alpha 0.5,
  c_j -= alpha * sum_i [y_i = j] (c_j - x_i) / (1 + sum_i [y_i = j]).
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.base import FunctionLoss, check_choice, flat_labels

VARIANTS = ("bag_of_tricks", "wen")
_SMALLEST, _LARGEST = 1e-12, 1e12


def center_loss(embeddings, labels, centers, variant: str = "bag_of_tricks") -> tf.Tensor:
    """Computes each embedding's squared distance to its center, halved by the variant "wen".

    The batch's loss is the mean by "bag_of_tricks" and the sum by Eq. 2 of Wen et al.

    Args:
        embeddings: Float array [n, d].
        labels: Integers [n] or [n, 1] from 0 to c - 1.
        centers: Tensor or variable [c, d].
        variant: "bag_of_tricks" or "wen".

    Returns:
        float32 [n], one loss per image.

    Raises:
        ValueError: If `variant` is unknown.
    """
    check_choice("variant", variant, VARIANTS)
    differences = _to_centers(embeddings, flat_labels(labels), centers)
    squared = tf.reduce_sum(tf.square(differences), axis=1)
    if variant == "wen":
        return 0.5 * squared
    return tf.clip_by_value(squared, _SMALLEST, _LARGEST)


def center_terms(embeddings, labels, centers) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the sums over a batch that `center_step` needs.

    Summed over replicas, or over steps during which the centers do not move, they give exactly the
    update of one large batch; averaging finished updates would not, for the variant "wen".

    Args:
        embeddings: Float array [n, d].
        labels: Integers [n] or [n, 1] from 0 to c - 1.
        centers: Tensor or variable [c, d].

    Returns:
        float32 [c, d], the sum of c_j - x_i over the images of each identity, and float32 [c], the
        number of these images.
    """
    labels = flat_labels(labels)
    num_classes = tf.shape(centers)[0]
    differences = -_to_centers(embeddings, labels, centers)
    ones = tf.ones_like(labels, tf.float32)
    return (tf.math.unsorted_segment_sum(differences, labels, num_classes),
            tf.math.unsorted_segment_sum(ones, labels, num_classes))


def center_step(differences, counts, variant: str = "bag_of_tricks",
                alpha: float = 0.5) -> tf.Tensor:
    """Computes what `centers.assign_sub` subtracts, from the sums of `center_terms`.

    With "bag_of_tricks" and alpha 1 it is the gradient of the mean `center_loss` by the centers,
    apart from the clipping.

    Args:
        differences: [c, d], of `center_terms`.
        counts: [c], of `center_terms`.
        variant: "bag_of_tricks" or "wen".
        alpha: Learning rate of the centers. Defaults to 0.5.

    Returns:
        float32 [c, d], zero for identities that are not in the batch.

    Raises:
        ValueError: If `variant` is unknown.
    """
    check_choice("variant", variant, VARIANTS)
    if variant == "wen":
        return alpha * differences / (1.0 + counts[:, tf.newaxis])
    return alpha * tf.math.divide_no_nan(2.0 * differences, tf.reduce_sum(counts))


@keras.saving.register_keras_serializable(package="tfreid")
class CenterLoss(FunctionLoss):
    """Keras loss over `center_loss`, of labels [n] and embeddings [n, d].

    With the reduction "sum", the variant "wen" is Eq. 2 of Wen et al.

    Args:
        centers: float32 variable [c, d], which the training loop creates, updates by `center_step`
            and saves; the loss only reads it, without a gradient. It is not part of the
            configuration: set the attribute `centers` of a loss that was loaded.
        variant: "bag_of_tricks" or "wen".
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.

    Raises:
        ValueError: If `variant` is unknown, or the loss is called without centers.

    Example:
    >>> centers = np.zeros((2, 3), np.float32)
    >>> loss = tfreid.CenterLoss(centers)
    >>> round(float(loss(np.array([0, 1]), np.ones((2, 3), np.float32))), 3)
    3.0
    """

    def __init__(self, centers=None, variant: str = "bag_of_tricks",
                 reduction: str = "sum_over_batch_size", name: str = "center"):
        """Checks the settings."""
        check_choice("variant", variant, VARIANTS)
        super().__init__(reduction, name, variant=variant)
        self.centers = centers

    def call(self, y_true, y_pred):
        """Returns the loss of each image, [n]."""
        if self.centers is None:
            raise ValueError("centers is not set; assign a variable [identities, size] to the "
                             "loss's attribute centers.")
        centers = tf.stop_gradient(tf.convert_to_tensor(self.centers))
        return center_loss(y_pred, y_true, centers, **self.settings)


def _to_centers(embeddings, labels, centers):
    centers = tf.cast(centers, tf.float32)
    return tf.cast(embeddings, tf.float32) - tf.gather(centers, labels)
