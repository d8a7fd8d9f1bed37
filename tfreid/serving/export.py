"""Export of an embedding model: signatures, a parity check, a versioned SavedModel."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfreid.data.records import decode_image, read_encoded
from tfreid.evaluation.threshold import THRESHOLD_NAME, Threshold, save_threshold
from tfreid.layers.preprocessing import resize_images
from tfreid.serving.pair_distance import paired_distances
from tfreid.settings import Config

# Largest difference, relative to the largest embedding value, between training side and export.
TOLERANCE = 1e-4
# Inside a version: where TF Serving leaves files of others alone.
EXPORTED_THRESHOLD = f"assets.extra/{THRESHOLD_NAME}"
_PARITY_IMAGES = 8


class ServedModel(tf.Module):
    """An embedding model with the signatures that are served.

    Args:
        model: Embedding model.
        config: `evaluation.feature` says which output is served, `export.normalize` whether as a
            unit vector.
        threshold: Calibrated threshold, which adds the function `verify`, or None.
    """

    def __init__(self, model: keras.Model, config: Config, threshold: Threshold | None = None):
        super().__init__(name="served_model")
        self._model = model
        # Tracked one by one: the graph needs the weights, not Keras's way of keeping them.
        self.weights = [_tf_variable(weight) for weight in model.weights]
        self._output = config.evaluation.feature
        self._normalize = config.export.normalize
        self._size = (config.model.height, config.model.width)
        self._threshold = threshold
        if threshold is not None:
            names = ("image_bytes", "other_image_bytes")
            signature = [tf.TensorSpec([None], tf.string, name=name) for name in names]
            self.verify = tf.function(self._verify, input_signature=signature)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def encoded(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds JPEG or PNG files [n], of any sizes: `embedding` [n, d]."""
        return {"embedding": self._embed(self._decode(image_bytes))}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds RGB images [n, h, w, 3] of one size: `embedding` [n, d]."""
        return {"embedding": self._embed(tf.cast(images, tf.float32))}

    def _verify(self, image_bytes: tf.Tensor, other_image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Compares JPEG or PNG files [n] pair by pair: `distance` [n] and `same_person` [n]."""
        left, right = (
            self._embed(self._decode(files)) for files in (image_bytes, other_image_bytes)
        )
        chosen = self._threshold
        distance = paired_distances(left, right, chosen.metric, chosen.minkowski_p)
        return {"distance": distance, "same_person": distance <= chosen.threshold}

    def _decode(self, files):
        return tf.map_fn(
            lambda image: resize_images(decode_image(image), *self._size),
            files,
            fn_output_signature=tf.TensorSpec([*self._size, 3], tf.float32),
        )

    def _embed(self, images):
        embedding = self._model(images, training=False)[self._output]
        return tf.math.l2_normalize(embedding, axis=1) if self._normalize else embedding


def export_model(
    model: keras.Model, config: Config, output: str | Path, threshold: Threshold | None = None
) -> Path:
    """Writes the next version of a SavedModel, once its embeddings are found right.

    Both signatures embed some of the records' images; the results must equal those of the model on
    the training side's own decoding. Only then does the version appear in `output`. A threshold
    adds the signature `verify` and the file `assets.extra/threshold.json`.

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
    if config.data.records is None:
        raise UserError("data.records is not set; the export is checked on images from records.")
    if threshold is not None:
        threshold.check_fits(model, config)
    output = Path(output)
    version = 1 + max((int(p.name) for p in output.glob("[0-9]*") if p.name.isdigit()), default=0)
    unfinished = output / f".unfinished-{version}"
    shutil.rmtree(unfinished, ignore_errors=True)
    served = ServedModel(model, config, threshold)
    signatures = {"serving_default": served.encoded, "images": served.images}
    if threshold is not None:
        signatures["verify"] = served.verify
    try:
        tf.saved_model.save(served, str(unfinished), signatures=signatures)
        _check_parity(unfinished, model, config, threshold)
        if threshold is not None:
            save_threshold(threshold, unfinished / EXPORTED_THRESHOLD)
        unfinished.rename(output / str(version))
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return output / str(version)


def _check_parity(
    directory: Path, model: keras.Model, config: Config, threshold: Threshold | None
) -> None:
    splits = read_manifest(config.data.records).splits
    split = "gallery" if "gallery" in splits else next(iter(splits))
    crops = read_encoded(config.data.records, split, np.arange(_PARITY_IMAGES))
    # GPUs would otherwise round products by batch size.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    decoded = [decode_image(crop) for crop in crops]
    size = (config.model.height, config.model.width)
    expected = model(
        tf.stack([resize_images(image, *size) for image in decoded]), training=False
    )[config.evaluation.feature].numpy()
    if config.export.normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    loaded = tf.saved_model.load(str(directory)).signatures
    encoded = loaded["serving_default"](image_bytes=tf.constant(crops))["embedding"].numpy()
    # Crops differ in size, and the signature takes one size a batch.
    images = np.concatenate(
        [loaded["images"](images=image[None])["embedding"].numpy() for image in decoded]
    )
    for name, found in (("serving_default", encoded), ("images", images)):
        _check_alike(name, found, expected, np.abs(expected).max())
    if threshold is not None:
        distances = threshold.distances(expected, expected)
        lengths = threshold.distances(expected, np.zeros_like(expected[:1]))
        pairs = loaded["verify"](
            image_bytes=tf.constant(crops), other_image_bytes=tf.constant(crops[::-1])
        )
        # Distances alone are no scale: those of a model that embeds all images alike are noise.
        scale = max(np.abs(distances).max(), np.abs(lengths).max())
        mirrored = np.diagonal(distances[:, ::-1])
        _check_alike("verify", pairs["distance"].numpy(), mirrored, scale)


def _check_alike(signature: str, found: np.ndarray, expected: np.ndarray, scale: float) -> None:
    difference = np.abs(found - expected).max() / scale
    if not difference <= TOLERANCE:
        raise UserError(
            f"signature {signature} differs from the trained model by {difference:.2g} of the "
            f"largest value (at most {TOLERANCE} is accepted); nothing was exported."
        )


def _tf_variable(weight):
    """The TensorFlow variable inside a Keras 3 variable; Keras 2 weights are such themselves."""
    return getattr(weight, "value", weight) if not isinstance(weight, tf.Variable) else weight
