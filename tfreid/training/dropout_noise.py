"""How far dropout alone puts an image from itself, compared with the margin of the loss."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfreid.layers.dropout import StatelessDropout
from tfreid.layers.preprocessing import InputSize
from tfreid.losses.distances import paired_euclidean, unit_length
from tfreid.records import ImageTable
from tfreid.records.images import decode_batches, spread_positions

_IMAGES = 8


class Margin(NamedTuple):
    """Where a loss ends for different identities.

    Attributes:
        distance: The Euclidean distance of features.
        setting: Name and value of the setting, for messages.
        feature: The output of the embedding model that the loss sees.
        normalize: Whether the loss normalises it to unit length.
    """

    distance: float
    setting: str
    feature: str = "embedding"
    normalize: bool = False


def describe_noise(model: keras.Model, margin: Margin, table: ImageTable, size: InputSize,
                   strategy: tf.distribute.Strategy) -> list[str]:
    """Returns a note if an image's distance to itself in training mode exceeds the margin.

    Args:
        model: Embedding model; it stays as it is.
        margin: The margin.
        table: The training images, of which a few are measured.
        size: The size that images are resized to.
        strategy: The devices.
    """
    if not any(isinstance(layer, StatelessDropout) and layer.rate for layer in model.layers):
        return []
    rows = spread_positions(len(table.index), _IMAGES)
    files = [table.encoded[row] for row in rows.tolist()]
    _, images = next(decode_batches(files, table.index.paths[rows].tolist(), size, _IMAGES,
                                    stored_sizes=table.index.sizes(rows)))
    distance = float(np.median(_distances_to_themselves(model, margin, images, strategy)))
    if distance <= margin.distance:
        return []
    return [f"dropout alone puts a training image {distance:.3g} from itself, beyond "
            f"{margin.setting}: different people are hardly pushed apart and nothing may be "
            "learned; lower model.dropout and model.block_dropout or set "
            "model.normalize_embedding=true"]


def _distances_to_themselves(model, margin, images, strategy) -> np.ndarray:
    @tf.function
    def measure(images):
        # Two copies in one batch get different masks.
        features = model(tf.repeat(images, 2, axis=0), training=True)[margin.feature]
        if margin.normalize:
            features = unit_length(features)
        return paired_euclidean(features[::2], features[1::2])

    # Statistics of batch norms, which the pass changes.
    changed = [(weight, weight.numpy()) for weight in model.non_trainable_weights]
    distances = strategy.run(measure, args=(tf.constant(images, tf.float32),))
    for weight, value in changed:
        weight.assign(value)
    return strategy.experimental_local_results(distances)[0].numpy()
