"""Export of a CSN: features of images once, comparisons of them as often as asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfreid.config import Config
from tfreid.losses.distances import paired_euclidean, pairwise_euclidean
from tfreid.records import Records, decode_image, open_records
from tfreid.serving.saved_model import (
    check_alike,
    decode_files,
    parity_files,
    parity_images,
    round_alike,
    served_weights,
    write_version,
)
from tfreid.systems.csn.comparison import compare_all, compare_pairs
from tfreid.systems.csn.network import compared_features, csn_parts
from tfreid.systems.csn.scores import CsnScorer, Features, simi_score, take


class ServedCsn(tf.Module):
    """A CSN with the signatures that are served.

    Features are those of `CsnParts.extract` but for the regions. As inputs their names have the
    side in front, such as `first_map_2` or `gallery_descriptor`.

    Args:
        model: What `build_csn` made.
        config: `csn.score` says how scores are computed.

    Attributes:
        compare: Features of n first and n second images -> `probability` of a match, `distance` of
            the descriptors, where there is a ranking net, and SimiScore `score`, each [n].
        compare_all: Features of q queries and g gallery images -> the same, each [q, g]. About 2 MB
            a gallery image are held meanwhile, and 20 kB a pair.
    """

    def __init__(self, model: keras.Model, config: Config):
        super().__init__(name="served_csn")
        self.weights = served_weights(model)
        self._parts = csn_parts(model)
        self._levels = tuple(config.csn.levels)
        self._score = config.csn.score
        self._size = (config.model.height, config.model.width)
        self.compare = tf.function(
            self._compare, input_signature=[self._specify("first"), self._specify("second")])
        self.compare_all = tf.function(
            self._compare_all, input_signature=[self._specify("query"), self._specify("gallery")])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def extract(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of JPEG or PNG files [n], of any sizes."""
        return self._extract(decode_files(image_bytes, *self._size))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def extract_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Extracts the features of RGB images [n, h, w, 3] of one size."""
        return self._extract(tf.cast(images, tf.float32))

    @property
    def signatures(self) -> dict[str, Any]:
        """All signatures, by name."""
        return {
            "serving_default": self.extract,
            "extract": self.extract,
            "extract_images": self.extract_images,
            "compare": self.compare,
            "compare_all": self.compare_all,
        }

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

    def _specify(self, side):
        return {
            name: tf.TensorSpec([None, *value.shape[1:]], tf.float32, name=f"{side}_{name}")
            for name, value in compared_features(self._parts.extract.output).items()
        }


def export_csn(model: keras.Model, config: Config, output: str | Path) -> Path:
    """Writes the next version of a SavedModel, once its features and scores are found right.

    Some of the records' images are extracted and compared with each other by every signature; the
    results must equal those of the evaluation. Only then does the version appear in `output`.

    Args:
        model: CSN with trained weights.
        config: Its settings; the images come from `data.records`.
        output: Folder of versions: `output/1`, then `output/2`, ...

    Returns:
        The version's folder.

    Raises:
        UserError: There are no records to check with, or the results differ.
    """
    records = open_records(config.data)
    served = ServedCsn(model, config)

    def finish(directory):
        _check_parity(directory, model, config, records)

    return write_version(served, served.signatures, output, finish)


def _check_parity(
    directory: Path, model: keras.Model, config: Config, records: Records
) -> None:
    round_alike()
    # Without the distance's part a score is the probability.
    plain = dataclasses.replace(config.csn.score, distance_weight=0.0)
    plain = dataclasses.replace(config.csn, score=plain)
    scorers = {
        "score": CsnScorer(model, config, records),
        "probability": CsnScorer(model, dataclasses.replace(config, csn=plain), records),
    }
    split, positions = parity_images(records)
    features = scorers["score"].features(split.name, positions, progress=False)
    signatures = tf.saved_model.load(str(directory)).signatures
    _check_features(signatures, parity_files(records), features)
    # From here on with the evaluation's features: a score magnifies differences of near ones.
    _check_pairs(signatures, scorers, features)
    _check_all(signatures, scorers, features)


def _check_features(signatures, crops: list[bytes], expected: Features) -> None:
    encoded = signatures["extract"](image_bytes=tf.constant(crops))
    # Crops differ in size, and the signature takes one size a batch.
    single = [signatures["extract_images"](images=decode_image(crop)[None]) for crop in crops]
    for name, values in expected.items():
        scale = np.abs(values).max()
        check_alike("extract", encoded[name].numpy(), values, scale)
        joined = np.concatenate([found[name] for found in single])
        check_alike("extract_images", joined, values, scale)


def _check_pairs(signatures, scorers: dict[str, CsnScorer], features: Features) -> None:
    rows = np.arange(_count(features))
    columns = rows[::-1]
    second = take(features, columns)
    expected = {name: scorer.pairs(features, features, rows, columns)
                for name, scorer in scorers.items()}
    if "descriptor" in features:
        expected["distance"] = paired_euclidean(features["descriptor"], second["descriptor"])
    _check_results(signatures, "compare", {"first": features, "second": second}, expected)


def _check_all(signatures, scorers: dict[str, CsnScorer], features: Features) -> None:
    half = _count(features) // 2
    queries, gallery = take(features, slice(max(half, 1))), take(features, slice(half, None))
    expected = {name: scorer.cross(queries, gallery, progress=False)
                for name, scorer in scorers.items()}
    if "descriptor" in features:
        expected["distance"] = pairwise_euclidean(queries["descriptor"], gallery["descriptor"])
    _check_results(signatures, "compare_all", {"query": queries, "gallery": gallery}, expected)


def _check_results(signatures, signature: str, sides: dict[str, Features], expected) -> None:
    inputs = {f"{side}_{name}": tf.constant(values)
              for side, features in sides.items() for name, values in features.items()}
    found = signatures[signature](**inputs)
    for name, values in expected.items():
        # Probabilities and the distances of unit vectors are of the size of 1, or rightly smaller.
        scale = max(np.abs(values).max(), 1.0)
        check_alike(signature, found[name].numpy(), np.asarray(values), scale)


def _count(features: Features) -> int:
    return len(next(iter(features.values())))
