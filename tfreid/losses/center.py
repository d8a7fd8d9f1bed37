"""The center loss and the update of its class centers, in the two published variants.

Both pull an embedding x_i to the center c_yi of its identity; they differ in scale and in how the
centers move:

- "bag_of_tricks" (the strong baseline of Luo et al., 2019, in practice): ||x - c||^2 held between
  1e-12 and 1e12, averaged over the batch. The centers follow plain SGD with learning rate 0.5 on
  the gradient of that mean. The weight beta of the loss (0.0005) is divided out of this gradient,
  so it never appears here.
- "wen" (Wen et al., "A discriminative feature learning approach for deep face recognition",
  2016): half of ||x - c||^2, Eq. 2; the centers follow Eq. 3-4,
  c_j -= alpha * sum_i [y_i = j] (c_j - x_i) / (1 + sum_i [y_i = j]), with alpha 0.5.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from tfreid.losses.classification import flat_labels

VARIANTS = ("bag_of_tricks", "wen")
_SMALLEST, _LARGEST = 1e-12, 1e12


def center_loss(embeddings, labels, centers, variant: str = "bag_of_tricks") -> tf.Tensor:
    """Computes each embedding's squared distance to its center, halved by the variant "wen".

    The mean over the batch is the loss of "bag_of_tricks"; Eq. 2 of Wen et al. adds instead.

    Args:
        embeddings: [n, d] of any floating type.
        labels: [n] or [n, 1] integers from 0 to c - 1.
        centers: [c, d] tensor or variable.
        variant: "bag_of_tricks" or "wen".

    Returns:
        [n] float32.

    Raises:
        ValueError: an unknown variant.
    """
    _check_variant(variant)
    differences = _to_centers(embeddings, flat_labels(labels), centers)
    squared = tf.reduce_sum(tf.square(differences), axis=1)
    if variant == "wen":
        return 0.5 * squared
    return tf.clip_by_value(squared, _SMALLEST, _LARGEST)


def center_terms(embeddings, labels, centers) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes what an update of the centers needs to know about a batch.

    Both results may be summed over replicas before `center_step`, which then gives exactly the
    update of one large batch; averaging finished updates would not, for the variant "wen".

    Args:
        embeddings, labels, centers: as in `center_loss`.

    Returns:
        differences: [c, d] float32, the sum of c_j - x_i over the images of each identity.
        counts: [c] float32, the number of images of each identity.
    """
    labels = flat_labels(labels)
    num_classes = tf.shape(centers)[0]
    differences = -_to_centers(embeddings, labels, centers)
    ones = tf.ones_like(labels, tf.float32)
    return (tf.math.unsorted_segment_sum(differences, labels, num_classes),
            tf.math.unsorted_segment_sum(ones, labels, num_classes))


def center_step(differences, counts, variant: str = "bag_of_tricks",
                alpha: float = 0.5) -> tf.Tensor:
    """Computes what is subtracted from the centers, given the sums of `center_terms`.

    Args:
        differences: [c, d], `counts`: [c].
        variant: "bag_of_tricks" or "wen".
        alpha: the learning rate of the centers.

    Returns:
        [c, d] float32; zero for identities that are not in the batch.

    Raises:
        ValueError: an unknown variant.
    """
    _check_variant(variant)
    if variant == "wen":
        return alpha * differences / (1.0 + counts[:, tf.newaxis])
    return alpha * tf.math.divide_no_nan(2.0 * differences, tf.reduce_sum(counts))


def center_delta(embeddings, labels, centers, variant: str = "bag_of_tricks",
                 alpha: float = 0.5) -> tf.Tensor:
    """Computes what one batch subtracts from the centers: `centers.assign_sub(center_delta(...))`.

    With "bag_of_tricks" and alpha 1 this is the gradient of the mean `center_loss` with respect
    to the centers (its bounds 1e-12 and 1e12 left aside).

    Args and result as in `center_terms` and `center_step`.
    """
    return center_step(*center_terms(embeddings, labels, centers), variant, alpha)


def updated_centers(embeddings, labels, centers, variant: str = "bag_of_tricks",
                    alpha: float = 0.5) -> tf.Tensor:
    """Computes the centers [c, d] after one batch; arguments as in `center_delta`."""
    delta = center_delta(embeddings, labels, centers, variant, alpha)
    return tf.cast(centers, tf.float32) - delta


class CenterLoss(keras.losses.Loss):
    """Computes `center_loss` as a Keras loss of labels [n] and embeddings [n, d].

    The default reduction is the mean; "sum" with the variant "wen" is Wen et al., Eq. 2.

    Args:
        centers: [c, d] float32 variable that whoever trains creates, updates by `center_delta`
            and saves; the loss only reads it. It is not part of the configuration:
            `CenterLoss(centers, **config)` builds the loss again.
        variant: "bag_of_tricks" or "wen".
        reduction, name: as in `keras.losses.Loss`.

    Raises:
        ValueError: an unknown variant.
    """

    def __init__(self, centers, variant: str = "bag_of_tricks",
                 reduction: str = "sum_over_batch_size", name: str = "center"):
        super().__init__(reduction=reduction, name=name)
        _check_variant(variant)
        self.centers = centers
        self.variant = variant

    def call(self, y_true, y_pred):
        # The centers have their own update, so no gradient may reach them from here.
        centers = tf.stop_gradient(tf.convert_to_tensor(self.centers))
        return center_loss(y_pred, y_true, centers, self.variant)

    def get_config(self) -> dict:
        return {**super().get_config(), "variant": self.variant}


def _to_centers(embeddings, labels, centers):
    centers = tf.cast(centers, tf.float32)
    return tf.cast(embeddings, tf.float32) - tf.gather(centers, labels)


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}. "
                         f"Received: variant={variant!r}")
