"""Export of an embedding model: signatures, a parity check, a versioned SavedModel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.evaluation.distances import paired_distances
from tfreid.evaluation.thresholds import THRESHOLDS_NAME, Threshold, save_thresholds
from tfreid.models.embedding import input_size
from tfreid.records import decode_image, open_records
from tfreid.serving.saved_model import (
    EXTRA_FILES,
    ask_verify,
    check_alike,
    decode_files,
    parity_files,
    round_alike,
    served_weights,
    verify_signatures,
    write_version,
)


class ServedEmbedding(tf.Module):
    """An embedding model with the signatures that are served.

    Args:
        model: Embedding model.
        config: `evaluation.feature` says which output is served, `export.normalize` whether as a
            unit vector.
    """

    def __init__(self, model: keras.Model, config: Config):
        super().__init__(name="served_embedding")
        self.weights = served_weights(model)
        feature = config.evaluation.feature
        # Inside a function, where saving does not find the model: of one that it finds, it traces
        # every layer once more.
        self._forward = lambda images: model(images, training=False)[feature]
        self._embedding = tf.TensorSpec(model.output[feature].shape[1:], tf.float32)
        self._normalize = config.export.normalize
        self._size = input_size(config.model)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds JPEG or PNG files [n], of any sizes: `embedding` [n, d]."""
        return {"embedding": self._embed_files(image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds RGB images [n, h, w, 3] of one size: `embedding` [n, d]."""
        return {"embedding": self._embed(tf.cast(images, tf.float32))}

    @property
    def signatures(self) -> dict[str, Any]:
        """The signatures for images, by name."""
        return {"serving_default": self.encoded, "images": self.images}

    def verify_by(self, threshold: Threshold) -> Callable[..., dict[str, tf.Tensor]]:
        """Returns what compares JPEG or PNG files [n] with as many others, by a threshold.

        Its outputs are `distance` [n] and `same_person` [n].
        """
        def verify(first, second):
            distance = paired_distances(self._embed_files(first), self._embed_files(second),
                                        threshold.metric, threshold.minkowski_p)
            return {"distance": distance, "same_person": distance <= threshold.threshold}

        return verify

    def _embed_files(self, files):
        if self._size.longest_side is None:
            return self._embed(decode_files(files, self._size.height, self._size.width))
        # Images of different sizes make no batch.
        return tf.map_fn(
            lambda file: self._embed(tf.cast(decode_image(file)[None], tf.float32))[0],
            files,
            fn_output_signature=self._embedding,
        )

    def _embed(self, images):
        embedding = self._forward(images)
        return tf.math.l2_normalize(embedding, axis=1) if self._normalize else embedding


def export_embedding(
    model: keras.Model, config: Config, output: str | Path, threshold: Threshold | None = None
) -> Path:
    """Writes the next version of a SavedModel, once its embeddings are found right.

    Both signatures embed some of the records' images; the results must equal those of the model on
    the training side's own decoding. Only then does the version appear in `output`. A threshold
    adds the signatures `verify_pairs` and, with the input names of before, `verify`, and the file
    `assets.extra/thresholds.json`.

    Args:
        model: Embedding model with trained weights.
        config: Its settings; the images come from `data.records`.
        output: Folder of versions: `output/1`, then `output/2`, ...
        threshold: What `tools/calibrate_threshold.py` found for this model, or None.

    Returns:
        The version's folder.

    Raises:
        UserError: There are no records to check with, the embeddings differ, or the threshold was
            calibrated for something else.
    """
    crops = parity_files(open_records(config.data))
    if threshold is not None:
        threshold.check_fits(model, config)
    served = ServedEmbedding(model, config)
    signatures = served.signatures
    if threshold is not None:
        signatures.update(verify_signatures(served.verify_by(threshold)))

    def finish(directory):
        _check_parity(directory, crops, model, config, threshold)
        if threshold is not None:
            save_thresholds(
                {threshold.metric: threshold}, directory / EXTRA_FILES / THRESHOLDS_NAME)

    return write_version(served, signatures, output, finish)


def _check_parity(
    directory: Path,
    crops: list[bytes],
    model: keras.Model,
    config: Config,
    threshold: Threshold | None,
) -> None:
    round_alike()
    decoded = [decode_image(crop) for crop in crops]
    expected = np.concatenate([
        model(tf.cast(image[None], tf.float32), training=False)[config.evaluation.feature].numpy()
        for image in decoded
    ])
    if config.export.normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    loaded = tf.saved_model.load(str(directory)).signatures
    encoded = loaded["serving_default"](image_bytes=tf.constant(crops))["embedding"].numpy()
    # Crops differ in size, and the signature takes one size a batch.
    images = np.concatenate(
        [loaded["images"](images=image[None])["embedding"].numpy() for image in decoded]
    )
    for name, found in (("serving_default", encoded), ("images", images)):
        check_alike(name, found, expected, np.abs(expected).max())
    if threshold is not None:
        distances = threshold.distances(expected, expected)
        lengths = threshold.distances(expected, np.zeros_like(expected[:1]))
        # Distances alone are no scale: those of a model that embeds all images alike are noise.
        scale = max(np.abs(distances).max(), np.abs(lengths).max())
        mirrored = np.diagonal(distances[:, ::-1])
        for signature, found in ask_verify(loaded, crops, crops[::-1]).items():
            check_alike(signature, found["distance"].numpy(), mirrored, scale)
