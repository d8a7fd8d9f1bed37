"""Export of an embedding model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.evaluation.distances import paired_distances
from tfreid.evaluation.features import make_feature
from tfreid.evaluation.thresholds import Threshold
from tfreid.models.embedding import input_size
from tfreid.records import decode_image, open_first
from tfreid.serving.decoding import decode_or_blank
from tfreid.serving.interface import VALID
from tfreid.serving.saved_model import ask_verify, check_alike, parity_files, verify_signatures
from tfreid.systems.exporting import ServedFeatures, check_extraction, write_checked, zero_unless


class ServedEmbedding(ServedFeatures):
    """An embedding model that serves `embedding` [n, d].

    Args:
        model: Embedding model.
        config: `evaluation.feature` and `evaluation.flip` say which feature is served,
            `export.normalize` whether it is a unit vector.
    """

    def __init__(self, model: keras.Model, config: Config):
        super().__init__("served_embedding", model, input_size(config.model),
                         config.export.max_pixels)
        # In a function, which hides the model from saving; it would trace every layer once more.
        self._forward = make_feature(model, config.evaluation)
        self._embedding = tf.TensorSpec(
            model.output[config.evaluation.feature].shape[1:], tf.float32)
        self._normalize = config.export.normalize

    @property
    def signatures(self) -> dict[str, Any]:
        """The signatures for images, by name."""
        return {"serving_default": self.extract, "strict": self.strict,
                "images": self.extract_images}

    def verify_by(self, threshold: Threshold) -> Callable[..., dict[str, tf.Tensor]]:
        """Returns a function of JPEG or PNG files [n] and as many others.

        Its outputs are `distance` [n], `valid` [n], whether both files could be decoded, and then,
        by the threshold, `same_person` [n].
        """
        def verify(first, second):
            sides = [self._extract_files(files) for files in (first, second)]
            distance = paired_distances(*(side["embedding"] for side in sides), threshold.metric,
                                        threshold.minkowski_p)
            valid = sides[0][VALID] & sides[1][VALID]
            return {"distance": distance, VALID: valid,
                    "same_person": valid & (distance <= threshold.threshold)}

        return verify

    def _extract_files(self, files):
        if self._size.longest_side is None:
            return super()._extract_files(files)
        # Images of different sizes cannot form a batch.
        def embed(file):
            image, valid = decode_or_blank(file, self._max_pixels)
            return self._embed(tf.cast(image[None], tf.float32))[0], valid

        embedding, valid = tf.map_fn(embed, files, fn_output_signature=(
            self._embedding, tf.TensorSpec([], tf.bool)))
        return {**zero_unless(valid, {"embedding": embedding}), VALID: valid}

    def _extract(self, images):
        return {"embedding": self._embed(images)}

    def _embed(self, images):
        embedding = self._forward(images)
        return tf.math.l2_normalize(embedding, axis=1) if self._normalize else embedding


def export_embedding(model: keras.Model, config: Config, output: str | Path,
                     threshold: Threshold | None = None) -> Path:
    """Writes the next version of a SavedModel, after checking its embeddings of some images.

    A threshold adds the signatures `verify_pairs` and, with the input names of earlier versions,
    `verify`, and the file `assets.extra/thresholds.json`.

    Args:
        model: Embedding model with trained weights.
        config: Its settings; the images come from `data.records`, the first of several.
        output: Folder of versions: `output/1`, then `output/2`, ...
        threshold: The threshold that `tfreid calibrate` chose for this model, or None.

    Returns:
        The version's folder.

    Raises:
        UserError: If there are no records to check with, the embeddings differ, or the threshold
            was calibrated for another model.
    """
    crops = parity_files(open_first(config.data), config.export.max_pixels)
    served = ServedEmbedding(model, config)
    signatures = served.signatures
    if threshold is not None:
        threshold.check_fits(model, config)
        signatures.update(verify_signatures(served.verify_by(threshold)))
    return write_checked(
        served, signatures, output,
        lambda loaded: _check_parity(loaded, crops, model, config, threshold), crops,
        threshold and {threshold.metric: threshold})


def _check_parity(signatures: Any, crops: list[bytes], model: keras.Model, config: Config,
                  threshold: Threshold | None) -> None:
    feature = make_feature(model, config.evaluation)
    expected = np.concatenate([
        feature(tf.cast(decode_image(crop)[None], tf.float32)).numpy() for crop in crops])
    if config.export.normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    check_extraction(signatures, crops, {"embedding": expected}, ("serving_default", "images"))
    if threshold is not None:
        distances = threshold.distances(expected, expected)
        lengths = threshold.distances(expected, np.zeros_like(expected[:1]))
        # If the model embeds all images alike, their distances are noise and set no scale.
        scale = max(np.abs(distances).max(), np.abs(lengths).max())
        mirrored = np.diagonal(distances[:, ::-1])
        for signature, found in ask_verify(signatures, crops, crops[::-1]).items():
            check_alike(signature, found["distance"].numpy(), mirrored, scale)
