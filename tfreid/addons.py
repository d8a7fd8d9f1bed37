"""Access to TensorFlow Addons, with a clear error if it is not installed."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import tensorflow as tf

from tfrecords.errors import UserError

METRIC_LOSSES = ("triplet_semi_hard", "lifted_structure", "npairs")
# Beginning of the UserWarning on importing Addons.
_END_OF_LIFE = r"\s*TensorFlow Addons \(TFA\) has ended development"


def available() -> bool:
    """Returns whether TensorFlow Addons is installed and can be imported."""
    return _module() is not None


def require(feature: str) -> ModuleType:
    """Returns the `tensorflow_addons` module for a feature, the name of a setting.

    Raises:
        UserError: If Addons is not installed, or does not support this TensorFlow.
    """
    module = _module()
    if module is None:
        raise UserError(f"{feature} needs TensorFlow Addons, which supports only Python 3.9-3.11 "
                        f"with TensorFlow 2.15; choose another setting for {feature} or install "
                        "requirements.txt on a supported Python.")
    return module


@tf.autograph.experimental.do_not_convert
def metric_loss(name: str, embeddings, labels, margin: float = 1.0) -> tf.Tensor:
    """Computes one of Addons' metric losses, a float32 mean over the pairs of the batch.

    - "triplet_semi_hard" (Schroff et al., "FaceNet", 2015): for every positive pair, the nearest
      negative farther away than the positive, or else the farthest one; Euclidean distances of
      unit vectors.
    - "lifted_structure" (Song et al., 2016): for every positive pair, all negatives of both;
      Euclidean distances, not normalised.
    - "npairs" (Sohn, 2016): softmax over the products of anchors and positives, not normalised.
      The images of each identity form pairs of anchor and positive in their order, without a last
      odd one. Pairs of one identity share their target equally.

    Args:
        name: One of `METRIC_LOSSES`.
        embeddings: Float array [n, d], with at least two images of some identity.
        labels: Integers [n].
        margin: Margin of the first two. Defaults to 1.

    Raises:
        UserError: As in `require`.
        ValueError: If `name` is unknown.
    """
    if name not in METRIC_LOSSES:
        raise ValueError(f"name must be one of {', '.join(METRIC_LOSSES)}. Received: name={name!r}")
    losses = require(f"loss.addons.name={name}").losses
    # A tensor, never a variable, which Addons' tf.functions would capture.
    embeddings = tf.cast(tf.convert_to_tensor(embeddings), tf.float32)
    # The functions, not the Keras classes, whose reductions strategy.run does not allow.
    if name == "triplet_semi_hard":
        embeddings = tf.math.l2_normalize(embeddings, axis=1)
        return losses.triplet_semihard_loss(labels, embeddings, margin)
    if name == "lifted_structure":
        return losses.lifted_struct_loss(labels, embeddings, margin)
    anchors, positives = _image_pairs(labels)
    products = tf.matmul(tf.gather(embeddings, anchors), tf.gather(embeddings, positives),
                         transpose_b=True)
    return losses.npairs_loss(tf.gather(labels, anchors), products)


def _image_pairs(labels) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the rows [pairs] of the first and the second images of the pairs."""
    order = tf.argsort(labels, stable=True)
    ordered = tf.gather(labels, order)
    rank = tf.range(tf.size(ordered)) - tf.searchsorted(ordered, ordered)
    first = tf.logical_and(rank[:-1] % 2 == 0, ordered[:-1] == ordered[1:])
    return tf.boolean_mask(order[:-1], first), tf.boolean_mask(order[1:], first)


def _module() -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_END_OF_LIFE, category=UserWarning)
        try:
            return importlib.import_module("tensorflow_addons")
        except (ImportError, AttributeError):
            # AttributeError: from Addons with an unsupported TensorFlow.
            return None
