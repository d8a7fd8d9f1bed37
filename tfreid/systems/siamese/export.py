"""Export of a Siamese network: features of images once, verdicts on pairs, of files or features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.evaluation.thresholds import THRESHOLDS_NAME, Threshold, save_thresholds
from tfreid.losses.distances import pairwise_euclidean
from tfreid.records import decode_image, open_records
from tfreid.serving.saved_model import (
    EXTRA_FILES,
    TOLERANCE,
    ask_verify,
    check_alike,
    decode_files,
    parity_files,
    round_alike,
    served_weights,
    verify_signatures,
    write_version,
)
from tfreid.systems.siamese.network import siamese_parts
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import (
    SiameseScorer,
    compare_embeddings,
    logit_threshold,
    sigmoid,
)


class ServedSiamese(tf.Module):
    """A Siamese network with the signatures that are served.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        thresholds: Metric -> calibrated threshold; without that of the probability, 0.5 decides.

    Attributes:
        compare: `first_descriptor` and `second_descriptor` [n, d] -> `probability` of one person,
            `same_person`, and the distance by every metric of `METRICS`, [n] each.
        compare_all: `query_descriptor` [q, d] and `gallery_descriptor` [g, d] -> `probability`,
            `score`, which is the same, and the Euclidean `distance`, [q, g] each. A query holds
            g * d numbers meanwhile.
    """

    def __init__(self, model: keras.Model, config: Config, thresholds: Mapping[str, Threshold]):
        super().__init__(name="served_siamese")
        self.weights = served_weights(model)
        parts = siamese_parts(model)
        # Inside functions, where saving does not find the models: of those that it finds, it traces
        # every layer once more.
        self._forward = lambda images: parts.embed(images, training=False)["embedding"]
        self._judge = lambda first, second: compare_embeddings(
            parts.compare, first, second, config.evaluation.minkowski_p)
        self._threshold = logit_threshold(thresholds)
        self._size = (config.model.height, config.model.width)
        width = parts.embed.output["embedding"].shape[1]
        self.compare = self._signature(
            self._verdict, [width], ("first_descriptor", "second_descriptor"), tf.float32)
        self.compare_all = self._signature(
            self._compare_all, [width], ("query_descriptor", "gallery_descriptor"), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def extract(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds JPEG or PNG files [n], of any sizes: `descriptor` [n, d]."""
        return {"descriptor": self._embed_files(image_bytes)}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def extract_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds RGB images [n, h, w, 3] of one size: `descriptor` [n, d]."""
        return {"descriptor": self._forward(tf.cast(images, tf.float32))}

    def verify(self, first: tf.Tensor, second: tf.Tensor) -> dict[str, tf.Tensor]:
        """Judges JPEG or PNG files [n], of any sizes, and as many others: as `compare`."""
        return self._verdict(self._embed_files(first), self._embed_files(second))

    def _embed_files(self, files):
        return self._forward(decode_files(files, *self._size))

    def _verdict(self, first, second):
        found = self._judge(first, second)
        # Of a probability near 1 too few digits would be left.
        logits = found.pop("logits")
        return {"probability": tf.sigmoid(logits), "same_person": logits >= self._threshold,
                **found}

    def _compare_all(self, queries, gallery):
        def ask(query):
            return tf.sigmoid(self._judge(tf.broadcast_to(query, tf.shape(gallery)),
                                          gallery)["logits"])

        probability = tf.map_fn(ask, queries, parallel_iterations=1)
        return {"probability": probability, "score": tf.identity(probability),
                "distance": pairwise_euclidean(queries, gallery)}

    @property
    def signatures(self) -> dict[str, Any]:
        """The signatures for images and features, by name."""
        return {
            "serving_default": self.extract,
            "extract": self.extract,
            "extract_images": self.extract_images,
            "compare": self.compare,
            "compare_all": self.compare_all,
        }

    @staticmethod
    def _signature(function, shape, names, kind):
        return tf.function(function, input_signature=[
            tf.TensorSpec([None, *shape], kind, name=name) for name in names])


def export_siamese(
    model: keras.Model, config: Config, output: str | Path, thresholds: Mapping[str, Threshold]
) -> Path:
    """Writes the next version of a SavedModel, once its verdicts are found right.

    Every signature is asked about some of the records' images; the results must equal those of the
    evaluation. Only then does the version appear in `output`.

    Args:
        model: What `build_siamese` made, with trained weights.
        config: Its settings; the images come from `data.records`.
        output: Folder of versions: `output/1`, then `output/2`, ...
        thresholds: Those of these weights. They are in the version's
            `assets.extra/thresholds.json`, too.

    Returns:
        The version's folder.

    Raises:
        UserError: There are no records to check with, or the results differ.
    """
    crops = parity_files(open_records(config.data))
    served = ServedSiamese(model, config, thresholds)
    signatures = {**served.signatures, **verify_signatures(served.verify)}

    def finish(directory):
        _check_parity(directory, model, config, crops, logit_threshold(thresholds))
        if thresholds:
            save_thresholds(thresholds, directory / EXTRA_FILES / THRESHOLDS_NAME)

    return write_version(served, signatures, output, finish)


def _check_parity(directory: Path, model: keras.Model, config: Config, crops: list[bytes],
                  threshold: float) -> None:
    round_alike()
    places = np.arange(len(crops))
    pairs = PairSet(crops, [str(place) for place in places], places, places[::-1],
                    places == places[::-1], "crops")
    expected = SiameseScorer(model, config)(pairs, progress=False)
    wanted = {"probability": sigmoid(expected.logits), **expected.distances}
    loaded = tf.saved_model.load(str(directory)).signatures
    descriptors = loaded["extract"](image_bytes=tf.constant(crops))["descriptor"]
    # Crops differ in size, and the signature takes one size a batch.
    single = [loaded["extract_images"](images=decode_image(crop)[None])["descriptor"]
              for crop in crops]
    scale = np.abs(descriptors).max()
    check_alike("extract_images", np.concatenate(single), descriptors.numpy(), scale)
    mirrored = tf.reverse(descriptors, [0])
    answers = {
        **ask_verify(loaded, crops, crops[::-1]),
        "compare": loaded["compare"](first_descriptor=descriptors, second_descriptor=mirrored),
    }
    for signature, found in answers.items():
        for name, values in wanted.items():
            check_alike(signature, found[name].numpy(), values, max(np.abs(values).max(), 1.0))
        clear = np.abs(expected.logits - threshold) > TOLERANCE * max(
            np.abs(expected.logits).max(), 1.0)
        check_alike(signature, found["same_person"].numpy()[clear].astype(float),
                    (expected.logits >= threshold)[clear].astype(float), 1.0)
    crossed = loaded["compare_all"](query_descriptor=descriptors, gallery_descriptor=mirrored)
    for name, key in (("probability", "probability"), ("distance", "euclidean")):
        values = wanted[key]
        check_alike("compare_all", np.diagonal(crossed[name].numpy()), values,
                    max(np.abs(values).max(), 1.0))
