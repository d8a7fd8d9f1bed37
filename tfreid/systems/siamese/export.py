"""Export of a Siamese network: features of images, and verification of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.evaluation.thresholds import Threshold
from tfreid.losses.contrastive import contrastive_from_distance
from tfreid.losses.distances import exact_pairwise_euclidean
from tfreid.models.embedding import input_size
from tfreid.records import open_records
from tfreid.serving.interface import VALID
from tfreid.serving.saved_model import (
    TOLERANCE,
    ask_verify,
    check_alike,
    parity_files,
    verify_signatures,
)
from tfreid.systems.exporting import ServedComparisons, check_extraction, write_checked
from tfreid.systems.siamese.network import siamese_parts
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import (
    SiameseScorer,
    compare_embeddings,
    logit_threshold,
    sigmoid,
)


class ServedSiamese(ServedComparisons):
    """A Siamese network that serves `descriptor` [n, d], `compare` and `compare_all`.

    `compare` returns the `probability` p that both images show the same person, the decision
    `same_person`, the distance by every metric of `METRICS`, and the terms of the contrastive loss
    (Bojja, Eq. 1.1) with p in the label's place: `similarity_term` p D^2, and `dissimilarity_term`
    (1 - p) max(margin - D, 0)^2 with the Euclidean distance D. `compare_all` returns
    `probability`, the equal `score`, and the Euclidean `distance`; it needs memory for g * d
    numbers.

    Args:
        model: What `build_siamese` made.
        config: Its whole configuration.
        thresholds: Metric -> calibrated threshold; without that of the probability, 0.5 decides.
    """

    def __init__(self, model: keras.Model, config: Config, thresholds: Mapping[str, Threshold]):
        parts = siamese_parts(model)
        super().__init__("served_siamese", model, input_size(config.model),
                         config.export.max_pixels, {"descriptor": parts.embed.output["embedding"]})
        # In functions, which hide the models from saving; it would trace every layer once more.
        self._forward = lambda images: parts.embed(images, training=False)["embedding"]
        self._judge = lambda first, second: compare_embeddings(
            parts.compare, first, second, config.evaluation.minkowski_p)
        self._threshold = logit_threshold(thresholds)
        self._margin = config.loss.contrastive.margin

    def verify(self, first: tf.Tensor, second: tf.Tensor) -> dict[str, tf.Tensor]:
        """Verifies JPEG or PNG files [n], of any sizes, and as many others, as `compare` does."""
        sides = [self._extract_files(files) for files in (first, second)]
        valid, found = sides[0][VALID] & sides[1][VALID], self._compare(*sides)
        return {**found, VALID: valid, "same_person": valid & found["same_person"]}

    def _extract(self, images):
        return {"descriptor": self._forward(images)}

    def _compare(self, first, second):
        found = self._judge(first["descriptor"], second["descriptor"])
        # Probabilities near 1 would have too few digits to compare.
        logits = found.pop("logits")
        probability, distance = tf.sigmoid(logits), found["euclidean"]
        similar, dissimilar = (
            contrastive_from_distance(distance, tf.fill(tf.shape(distance), match), self._margin,
                                      "mean") for match in (1.0, 0.0))
        return {"probability": probability, "same_person": logits >= self._threshold, **found,
                "similarity_term": probability * similar,
                "dissimilarity_term": (1.0 - probability) * dissimilar}

    def _compare_all(self, queries, gallery):
        queries, gallery = queries["descriptor"], gallery["descriptor"]

        def ask(query):
            return tf.sigmoid(self._judge(tf.broadcast_to(query, tf.shape(gallery)),
                                          gallery)["logits"])

        probability = tf.map_fn(ask, queries, parallel_iterations=1)
        return {"probability": probability, "score": tf.identity(probability),
                "distance": exact_pairwise_euclidean(queries, gallery)}


def export_siamese(model: keras.Model, config: Config, output: str | Path,
                   thresholds: Mapping[str, Threshold]) -> Path:
    """Writes the next version of a SavedModel, after checking its answers for some images.

    Args:
        model: What `build_siamese` made, with trained weights.
        config: Its settings; the images come from `data.records`.
        output: Folder of versions: `output/1`, then `output/2`, ...
        thresholds: Those of these weights, which also go into `assets.extra/thresholds.json`.

    Returns:
        The version's folder.

    Raises:
        UserError: If there are no records to check with, or the results differ.
    """
    crops = parity_files(open_records(config.data), config.export.max_pixels)
    served = ServedSiamese(model, config, thresholds)
    signatures = {**served.signatures, **verify_signatures(served.verify)}
    return write_checked(
        served, signatures, output,
        lambda loaded: _check_parity(loaded, model, config, crops, logit_threshold(thresholds)),
        crops, thresholds)


def _check_parity(signatures: Any, model: keras.Model, config: Config, crops: list[bytes],
                  threshold: float) -> None:
    places = np.arange(len(crops))
    pairs = PairSet(crops, [str(place) for place in places], places, places[::-1],
                    places == places[::-1], "crops")
    expected = SiameseScorer(model, config)(pairs, progress=False)
    logits = expected.logits
    wanted = {"probability": sigmoid(logits), **expected.distances}
    descriptors = check_extraction(signatures, crops)["descriptor"]
    mirrored = tf.reverse(descriptors, [0])
    answers = {
        **ask_verify(signatures, crops, crops[::-1]),
        "compare": signatures["compare"](
            first_descriptor=descriptors, second_descriptor=mirrored),
    }
    for signature, found in answers.items():
        for name, values in wanted.items():
            _check(signature, found[name].numpy(), values)
        clear = np.abs(logits - threshold) > TOLERANCE * max(np.abs(logits).max(), 1.0)
        check_alike(signature, found["same_person"].numpy()[clear].astype(float),
                    (logits >= threshold)[clear].astype(float), 1.0)
    crossed = signatures["compare_all"](query_descriptor=descriptors, gallery_descriptor=mirrored)
    for name, key in (("probability", "probability"), ("distance", "euclidean")):
        _check("compare_all", np.diagonal(crossed[name].numpy()), wanted[key])


def _check(signature, found, expected) -> None:
    check_alike(signature, found, expected, max(np.abs(expected).max(), 1.0))
