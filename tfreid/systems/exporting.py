"""What the exports of all systems share: signatures for images, and checks against the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.evaluation.thresholds import THRESHOLDS_NAME, Threshold, save_thresholds
from tfreid.layers.preprocessing import InputSize
from tfreid.records import decode_image
from tfreid.serving.batches import all_pairs, in_slices
from tfreid.serving.client import SignatureClient
from tfreid.serving.decoding import decode_files
from tfreid.serving.interface import VALID
from tfreid.serving.saved_model import (
    EXTRA_FILES,
    VERIFY_INPUTS,
    ServedModel,
    check_alike,
    load_signatures,
    round_alike,
    served_weights,
    write_choice,
    write_size,
    write_version,
)
from tfreid.serving.warm_up import write_server_settings, write_warm_up


class Graph(NamedTuple):
    """One graph of a device format.

    Attributes:
        function: From tensors by name to outputs by name.
        inputs: Name -> shape and type of a tensor.
    """

    function: Callable[..., Mapping[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]


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
        self.chosen_on: str | None = getattr(model, "chosen_on", None)
        self._size = size
        self._max_pixels = max_pixels

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are resized to, or None if their aspect ratio is kept."""
        return None if self._size.longest_side else (self._size.height, self._size.width)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def extract(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of JPEG or PNG files [n], of any sizes.

        `valid` [n] says which could be decoded; the features of the others are zeros.
        """
        return in_slices(self._extract_files, image_bytes)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def strict(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts as `extract` does, and fails if a file cannot be decoded."""
        found = self.extract(image_bytes)
        valid = found.pop(VALID)
        all_valid = tf.debugging.Assert(tf.reduce_all(valid), [
            f"files that are no whole JPEG or PNG of at most {self._max_pixels} pixels "
            "(export.max_pixels), by their row:", tf.squeeze(tf.where(~valid), 1)], summarize=20)
        with tf.control_dependencies([all_valid]):
            return {name: tf.identity(values) for name, values in found.items()}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def extract_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of images [n, h, w, 3] of one size, RGB and not BGR."""
        return in_slices(lambda some: self._extract(tf.cast(some, tf.float32)), images)

    def graphs(self, rows: int | None, dtype: str) -> dict[str, Graph]:
        """Returns the graphs of a device format by name, see `Graph`.

        Args:
            rows: Number of images of every call, or None to leave it free.
            dtype: Type of the images in 0-255, `uint8` or `float32`.

        Raises:
            UserError: If the images have no fixed size.
        """
        size = self._size
        if size.longest_side is not None:
            raise UserError(
                f"model.longest_side={size.longest_side} gives images of many sizes, and a device "
                "format takes one; add model.longest_side=null model.height=H model.width=W.")
        images = tf.TensorSpec([rows, size.height, size.width, 3], dtype)
        return {"extract": Graph(lambda images: self._extract(tf.cast(images, tf.float32)),
                                 {"images": images})}

    def _extract_files(self, files):
        images, valid = decode_files(files, self._size.height, self._size.width, self._max_pixels)
        return {**zero_unless(valid, self._extract(images)), VALID: valid}

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
        compared_rows: Pairs that the `compare` of a device format takes, or None for any number.
    """

    compared_rows: int | None = None

    def __init__(self, name: str, model: keras.Model, size: InputSize, max_pixels: int,
                 features: Mapping[str, Any]):
        super().__init__(name, model, size, max_pixels)
        self._features = {name: tuple(value.shape[1:]) for name, value in features.items()}

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

    def graphs(self, rows: int | None, dtype: str) -> dict[str, Graph]:
        """See `ServedFeatures`; `compare` takes features of pairs, named as in the signature.

        If there are `compared_rows`, it takes so many pairs.
        """
        pairs = self.compared_rows or rows
        inputs = {f"{side}_{name}": tf.TensorSpec([pairs, *shape], tf.float32)
                  for side in ("first", "second") for name, shape in self._features.items()}

        def compare(**features):
            return self._compare(*({name: features[f"{side}_{name}"] for name in self._features}
                                   for side in ("first", "second")))

        return {**super().graphs(rows, dtype), "compare": Graph(compare, inputs)}

    @property
    def signatures(self) -> dict[str, Any]:
        """The signatures for images and features, by name."""
        return {"serving_default": self.extract,
                **{name: getattr(self, name)
                   for name in ("extract", "strict", "extract_images", "compare", "compare_all")}}


def zero_unless(valid: tf.Tensor, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns features [n, ...], zeros where `valid` [n] is False."""
    return {name: tf.where(tf.reshape(valid, [-1, *[1] * (len(values.shape) - 1)]), values, 0.0)
            for name, values in features.items()}


def write_checked(served: ServedFeatures, signatures: dict[str, Any], output: str | Path,
                  check: Callable[[Any], None], crops: list[bytes],
                  thresholds: Mapping[str, Threshold] | None = None) -> Path:
    """Writes the next version of a SavedModel, which appears only if its check succeeds.

    Args:
        served: What is saved.
        signatures: Its signatures.
        output: Folder of versions: `output/1`, then `output/2`, ...
        check: Raises a `UserError` if the loaded signatures differ from the model.
        crops: Image files with which TF Serving warms up.
        thresholds: Metric -> threshold, for the version's `assets.extra/thresholds.json`.
    """
    def finish(directory):
        round_alike()
        check(load_signatures(directory))
        if thresholds:
            save_thresholds(thresholds, directory / EXTRA_FILES / THRESHOLDS_NAME)
        write_size(directory, served.size)
        write_choice(directory, served.chosen_on)
        write_warm_up(directory / EXTRA_FILES, _warming(signatures, crops))

    version = write_version(served, signatures, output, finish)
    write_server_settings(version.parent, version, "compare_all" not in signatures)
    return version


def _warming(signatures: Mapping[str, Any],
             crops: list[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields requests to the signatures of files and of arrays, of one and of several images."""
    for count in (1, len(crops)):
        files = crops[:count]
        for name in ("serving_default", "strict"):
            yield name, {"image_bytes": files}
        for name, inputs in VERIFY_INPUTS.items():
            if name in signatures:
                yield name, dict.fromkeys(inputs, files)
    image = decode_image(crops[0]).numpy()[np.newaxis]
    yield next(name for name in ("images", "extract_images") if name in signatures), {
        "images": image}


def make_client(served: ServedModel) -> SignatureClient:
    """Makes a client of a model in this process."""
    return SignatureClient({name: function.get_concrete_function()
                            for name, function in served.module.signatures.items()},
                           served.module, served.module.size)


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
    encoded = dict(signatures[names[0]](image_bytes=tf.constant(crops)))
    if not np.all(encoded.pop(VALID)):
        raise UserError(f"signature {names[0]} cannot decode images of the records; nothing was "
                        "exported.")
    # Crops differ in size, and the signature takes one size a batch.
    single = [signatures[names[1]](images=decode_image(crop)[None]) for crop in crops]
    for name, values in (expected or encoded).items():
        values = np.asarray(values)
        scale = np.abs(values).max()
        check_alike(names[0], encoded[name].numpy(), values, scale)
        check_alike(names[1], np.concatenate([found[name] for found in single]), values, scale)
    return encoded
