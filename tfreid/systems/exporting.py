"""What the exports of all systems share: signatures for images, and checks against the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.evaluation.thresholds import THRESHOLDS_NAME, Threshold, save_thresholds
from tfreid.layers.preprocessing import InputSize
from tfreid.records import decode_image
from tfreid.serving.batches import all_pairs, in_slices
from tfreid.serving.client import SignatureClient
from tfreid.serving.decoding import decode_files
from tfreid.serving.saved_model import (
    EXTRA_FILES,
    ServedModel,
    check_alike,
    load_signatures,
    round_alike,
    served_weights,
    write_version,
)


class ServedFeatures(tf.Module):
    """Signatures that compute features of images; subclasses define `_extract`.

    Args:
        name: Name of the module.
        model: Model with trained weights.
        size: Size that files are resized to.
        max_pixels: Files of more pixels are refused.
    """

    def __init__(self, name: str, model: keras.Model, size: InputSize, max_pixels: int):
        super().__init__(name=name)
        self.weights = served_weights(model)
        self._size = size
        self._max_pixels = max_pixels

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def extract(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of JPEG or PNG files [n], of any sizes."""
        return in_slices(self._extract_files, image_bytes)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def extract_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of images [n, h, w, 3] of one size, RGB and not BGR."""
        return in_slices(lambda some: self._extract(tf.cast(some, tf.float32)), images)

    def _extract_files(self, files):
        return self._extract(decode_files(
            files, self._size.height, self._size.width, self._max_pixels))

    def _extract(self, images):
        raise NotImplementedError


class ServedComparisons(ServedFeatures):
    """Signatures that also compare features; subclasses define `_compare` and `_compare_all`.

    Args:
        name: Name of the module.
        model: Model with trained weights.
        size: Size that files are resized to.
        max_pixels: Files of more pixels are refused.
        features: Name of a feature -> tensor of its shape [n, ...]. As inputs their names begin
            with the side, for example `first_map_2` or `gallery_descriptor`.

    Attributes:
        compare: Features of n first and n second images -> results [n].
        compare_all: Features of q queries and g gallery images -> results [q, g].
    """

    def __init__(self, name: str, model: keras.Model, size: InputSize, max_pixels: int,
                 features: Mapping[str, Any]):
        super().__init__(name, model, size, max_pixels)

        def sides(*names):
            return [{name: tf.TensorSpec([None, *value.shape[1:]], tf.float32,
                                         name=f"{side}_{name}")
                     for name, value in features.items()} for side in names]

        self.compare = tf.function(
            lambda first, second: in_slices(self._compare, first, second),
            input_signature=sides("first", "second"))
        self.compare_all = tf.function(
            lambda queries, gallery: all_pairs(self._compare_all, queries, gallery),
            input_signature=sides("query", "gallery"))

    @property
    def signatures(self) -> dict[str, Any]:
        """The signatures for images and features, by name."""
        return {"serving_default": self.extract,
                **{name: getattr(self, name)
                   for name in ("extract", "extract_images", "compare", "compare_all")}}


def write_checked(served: tf.Module, signatures: dict[str, Any], output: str | Path,
                  check: Callable[[Any], None],
                  thresholds: Mapping[str, Threshold] | None = None) -> Path:
    """Writes the next version of a SavedModel, which appears only if its check succeeds.

    Args:
        served: What is saved.
        signatures: Its signatures.
        output: Folder of versions: `output/1`, then `output/2`, ...
        check: Raises a `UserError` if the loaded signatures differ from the model.
        thresholds: Metric -> threshold, for the version's `assets.extra/thresholds.json`.
    """
    def finish(directory):
        round_alike()
        check(load_signatures(directory))
        if thresholds:
            save_thresholds(thresholds, directory / EXTRA_FILES / THRESHOLDS_NAME)

    return write_version(served, signatures, output, finish)


def make_client(served: ServedModel) -> SignatureClient:
    """Makes a client of a model in this process."""
    return SignatureClient({name: function.get_concrete_function()
                            for name, function in served.module.signatures.items()},
                           served.module)


def check_extraction(
    signatures: Any, crops: list[bytes], expected: Mapping[str, np.ndarray] | None = None,
    names: tuple[str, str] = ("extract", "extract_images"),
) -> dict[str, tf.Tensor]:
    """Checks the features that two signatures compute of image files and of arrays.

    Args:
        signatures: The loaded signatures.
        crops: Image files.
        expected: The features; None compares the signatures with each other.
        names: The signatures for files and for arrays.

    Returns:
        The features of the files.

    Raises:
        UserError: If the features differ.
    """
    encoded = signatures[names[0]](image_bytes=tf.constant(crops))
    # Crops differ in size, and the signature takes one size a batch.
    single = [signatures[names[1]](images=decode_image(crop)[None]) for crop in crops]
    for name, values in (expected or encoded).items():
        values = np.asarray(values)
        scale = np.abs(values).max()
        check_alike(names[0], encoded[name].numpy(), values, scale)
        check_alike(names[1], np.concatenate([found[name] for found in single]), values, scale)
    return encoded
