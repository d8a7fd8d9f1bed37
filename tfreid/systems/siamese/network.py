"""The Siamese network of MARS: twins that embed two images, and a merge network that compares them.

Bojja, "Metric Learning for Person ReIdentification task", Section 1.4 and Figure 1.1. The twin is
an embedding model (`tfreid/models/embedding.py`) without a classifier: with `backbone:
siamese_twin`, `pooling: flatten` and 4096 sigmoid units it is the author's network; any other
backbone is possible (Section 1.9.1). The merge network is one linear unit, times a constant, over
the two embeddings as merged by `siamese.merge` (Section 1.9.5), with `siamese.hidden_size` behind a
hidden layer; its sigmoid is the probability that both images show the same identity.
"""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.layers.pairing import TakeRows
from tfreid.losses.distances import unit_length
from tfreid.models.embedding import build_embedding_model
from tfreid.systems.siamese.settings import Settings

SIDES = ("first", "second")
# Layers of the merge network with weights.
MERGE_LAYERS = ("verdict_hidden", "verdict")


@dataclasses.dataclass(frozen=True)
class SiameseParts:
    """The models inside a Siamese network, which share its weights.

    Attributes:
        embed: The twin: images [n, h, w, 3] -> `embedding` [n, d], computed once per image.
        compare: Embeddings `first` [n, d] and `second` [n, d] -> logits [n] of a match.
    """

    embed: keras.Model
    compare: keras.Model


class Merge(keras.layers.Layer):
    """Merges two embeddings [n, d] for the merge network, float32.

    Args:
        kind: `absolute`, |a - b|; `squared`, (a - b)^2; or `cosine`, 1 - cos(a, b), [n, 1].
    """

    def __init__(self, kind: str, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, inputs):
        """Merges `inputs[0]` and `inputs[1]`."""
        first, second = (tf.cast(side, tf.float32) for side in inputs)
        if self.kind == "cosine":
            similarity = tf.reduce_sum(unit_length(first) * unit_length(second), 1, keepdims=True)
            return 1.0 - similarity
        difference = first - second
        return tf.square(difference) if self.kind == "squared" else tf.abs(difference)

    def compute_output_shape(self, input_shape):
        """Returns [n, d], or [n, 1] of `cosine`."""
        return (input_shape[0][0], 1 if self.kind == "cosine" else input_shape[0][1])

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "kind": self.kind}


def build_siamese(config: Config) -> keras.Model:
    """Builds the network of one recipe.

    Args:
        config: `model` defines the twin, `siamese` how two embeddings are merged.

    Returns:
        A model from `images` [m, h, w, 3], raw RGB in 0-255 of any size, and the positions `first`
        [n] and `second` [n] of the images of each pair, to their `embedding` [m, d] and the
        `logits` [n] of a match. Each image is embedded once, however many pairs it is in. It holds
        the weights; training, evaluation and export call its parts.

    Raises:
        UserError: If the model section has a classifier or a neck.
    """
    if config.model.classifier or config.model.neck:
        raise UserError("system: siamese has neither a classifier nor a neck; set model.classifier "
                        "and model.neck to false.")
    embed = build_embedding_model(config.model)
    compare = _comparer(config.siamese, embed.output["embedding"].shape[1])
    images = keras.Input((None, None, 3), name="images", dtype="float32")
    positions = {side: keras.Input((), name=side, dtype="int32") for side in SIDES}
    embedding = embed(images)["embedding"]
    pairs = {side: TakeRows(name=f"{side}_embedding")([embedding, positions[side]])
             for side in SIDES}
    outputs = {"embedding": embedding, "logits": compare(pairs)}
    return keras.Model({"images": images, **positions}, outputs, name="siamese")


def siamese_parts(model: keras.Model) -> SiameseParts:
    """Returns the models inside one that `build_siamese` made."""
    compare = model.get_layer("compare")
    (embed,) = (layer for layer in model.layers
                if isinstance(layer, keras.Model) and layer is not compare)
    return SiameseParts(embed, compare)


def _comparer(settings: Settings, size: int) -> keras.Model:
    inputs = {side: keras.Input((size,), name=side) for side in SIDES}
    merged = Merge(settings.merge, dtype="float32", name="merge")(
        [inputs[side] for side in SIDES])
    if settings.hidden_size:
        merged = keras.layers.Dense(settings.hidden_size, "relu", dtype="float32",
                                    name="verdict_hidden")(merged)
    # Glorot's initial values, divided by what multiplies the result.
    initial = keras.initializers.VarianceScaling(1 / settings.merge_rate**2, "fan_avg", "uniform")
    logits = keras.layers.Dense(1, kernel_initializer=initial, dtype="float32", name="verdict")(
        merged)
    logits = keras.layers.Rescaling(settings.merge_rate, dtype="float32", name="haste")(logits)
    logits = keras.layers.Reshape((), dtype="float32", name="logits")(logits)
    return keras.Model(inputs, logits, name="compare")
