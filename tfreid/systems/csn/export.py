"""Export of a CSN: features of images, and comparisons of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.losses.distances import exact_pairwise_euclidean, paired_euclidean
from tfreid.models.embedding import input_size
from tfreid.records import Records, open_records
from tfreid.serving.saved_model import check_alike, parity_files, parity_images
from tfreid.systems.csn.comparison import compare_all, compare_pairs
from tfreid.systems.csn.network import compared_features, csn_parts
from tfreid.systems.csn.scores import CsnScorer, Features, count, simi_score, take
from tfreid.systems.exporting import ServedComparisons, check_extraction, write_checked


class ServedCsn(ServedComparisons):
    """A CSN that serves the features of `CsnParts.extract` without the regions, and comparisons.

    `compare` and `compare_all` return the `probability` of a match, the SimiScore `score` and, if
    there is a ranking net, the `distance` of the descriptors. `compare_all` needs about 2 MB of
    memory for a gallery image, and 20 kB for a pair.

    Args:
        model: What `build_csn` made.
        config: `csn.score` defines the scores.
    """

    # The loop over several pairs has no counterpart in LiteRT and ONNX.
    compared_rows = 1

    def __init__(self, model: keras.Model, config: Config):
        self._parts = csn_parts(model)
        super().__init__("served_csn", model, input_size(config.model), config.export.max_pixels,
                         compared_features(self._parts.extract.output))
        self._levels = tuple(config.csn.levels)
        self._score = config.csn.score

    def _extract(self, images):
        return compared_features(self._parts.extract(images, training=False))

    def _compare(self, first, second):
        compared = compare_pairs(self._parts, first, second, self._score.both_orders)
        return self._results(compared["probability"], compared.get("distance"))

    def _compare_all(self, queries, gallery):
        return self._results(*compare_all(
            self._parts, self._levels, queries, gallery, self._score.both_orders))

    def _results(self, probability, distance):
        results = {"probability": probability,
                   "score": simi_score(probability, distance, self._score)}
        return results if distance is None else {**results, "distance": distance}


def export_csn(model: keras.Model, config: Config, output: str | Path) -> Path:
    """Writes the next version of a SavedModel, after checking features and scores of some images.

    Args:
        model: CSN with trained weights.
        config: Its settings; the images come from `data.records`.
        output: Folder of versions: `output/1`, then `output/2`, ...

    Returns:
        The version's folder.

    Raises:
        UserError: If there are no records to check with, or the results differ.
    """
    records = open_records(config.data)
    served = ServedCsn(model, config)
    return write_checked(served, served.signatures, output,
                         lambda loaded: _check_parity(loaded, model, config, records),
                         parity_files(records, config.export.max_pixels))


def _check_parity(signatures: Any, model: keras.Model, config: Config, records: Records) -> None:
    # Without the distance's part a score is the probability.
    plain = dataclasses.replace(config.csn.score, distance_weight=0.0)
    plain = dataclasses.replace(config.csn, score=plain)
    scorers = {
        "score": CsnScorer(model, config, records),
        "probability": CsnScorer(model, dataclasses.replace(config, csn=plain), records),
    }
    split, positions = parity_images(records, config.export.max_pixels)
    features = scorers["score"].features(split.name, positions, progress=False)
    check_extraction(signatures, parity_files(records, config.export.max_pixels), features)
    # From here on with the evaluation's features: scores magnify small differences.
    _check_pairs(signatures, scorers, features)
    _check_all(signatures, scorers, features)


def _check_pairs(signatures, scorers: dict[str, CsnScorer], features: Features) -> None:
    rows = np.arange(count(features))
    columns = rows[::-1]
    second = take(features, columns)
    expected = {name: scorer.pairs(features, features, rows, columns)
                for name, scorer in scorers.items()}
    if "descriptor" in features:
        expected["distance"] = paired_euclidean(features["descriptor"], second["descriptor"])
    _check_results(signatures, "compare", {"first": features, "second": second}, expected)


def _check_all(signatures, scorers: dict[str, CsnScorer], features: Features) -> None:
    half = count(features) // 2
    queries, gallery = take(features, slice(max(half, 1))), take(features, slice(half, None))
    expected = {name: scorer.cross(queries, gallery, progress=False)
                for name, scorer in scorers.items()}
    if "descriptor" in features:
        expected["distance"] = exact_pairwise_euclidean(
            queries["descriptor"], gallery["descriptor"])
    _check_results(signatures, "compare_all", {"query": queries, "gallery": gallery}, expected)


def _check_results(signatures, signature: str, sides: dict[str, Features], expected) -> None:
    inputs = {f"{side}_{name}": tf.constant(values)
              for side, features in sides.items() for name, values in features.items()}
    found = signatures[signature](**inputs)
    for name, values in expected.items():
        # Probabilities and distances of unit vectors are about 1 at most.
        scale = max(np.abs(values).max(), 1.0)
        check_alike(signature, found[name].numpy(), np.asarray(values), scale)
