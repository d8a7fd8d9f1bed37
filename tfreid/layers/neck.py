"""The batch-normalisation neck between the metric loss and the classifier."""

from __future__ import annotations

import keras


def batch_norm_neck(x, name: str = "neck", bias: bool = False):
    """Normalises embeddings [n, c] over the batch: the metric loss sees x, the classifier this.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification" (2019),
    Section 3.6. The mean is forgotten by a tenth at every step.

    Args:
        x: Embeddings [n, c].
        name: Name of the layer.
        bias: Whether the shift beta is trained. The paper fixes it at zero, so that the identities
            stay around the origin; it then has no weight at all.

    Returns:
        Normalised float32 embeddings [n, c].
    """
    return keras.layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, center=bias, dtype="float32", name=name
    )(x)
