"""Evaluation of an export, of any format, by the protocols that evaluate a model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tfreid.config import Config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.evaluator import Evaluator, GalleryEvaluator
from tfreid.evaluation.features import FeatureSource
from tfreid.evaluation.scoring import Features, SingleShotEvaluator, scored_splits
from tfreid.evaluation.thresholds import PROBABILITY
from tfreid.records import Records
from tfreid.serving.image_files import collect, extract_files
from tfreid.serving.interface import Client, embedding_of, find_embedding


class ExportedFeatures(FeatureSource):
    """The embeddings that an export computes of the image files of records.

    Args:
        client: The export.
        records: The records.
        batch_size: Images in memory at a time.
    """

    def __init__(self, client: Client, records: Records, batch_size: int):
        self._client, self._records, self._batch_size = client, records, batch_size

    def blocks(self, split: str, indices: np.ndarray | None = None,
               progress: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `FeatureSource`."""
        for places, features in self.outputs(split, indices, progress):
            yield np.arange(places.start, places.stop), embedding_of(features)

    def outputs(self, split: str, indices: np.ndarray | None = None,
                progress: bool = True) -> Iterator[tuple[slice, Features]]:
        """Yields slices of `indices` and all outputs for these images."""
        images = self._records[split]
        chosen = np.arange(len(images)) if indices is None else np.asarray(indices)
        names = [images.index.paths[place] for place in chosen]
        return extract_files(self._client, names, self._batch_size, f"{split} features",
                             lambda place: images.encoded[chosen[place]], progress)


class ExportedScorer:
    """Scores that an export gives pairs of images of records; see `tfreid.evaluation.scoring`."""

    def __init__(self, client: Client, config: Config, records: Records):
        self.metric = config.evaluation.metric
        self._client, self._evaluation = client, config.evaluation
        self._features = ExportedFeatures(client, records, config.data.eval_batch_size)
        self._first = next(name for name in ("query", *records.splits) if name in records)

    @property
    def image_bytes(self) -> int:
        """Size of one image's features."""
        features = self.features(self._first, np.zeros(1, int), progress=False)
        return sum(values.nbytes for values in features.values())

    def features(self, split: str, indices: np.ndarray, progress: bool = True) -> Features:
        """Returns the export's features of images."""
        return collect(self._features.outputs(split, indices, progress), len(indices))

    def cross(self, queries: Features, gallery: Features, progress: bool = True) -> np.ndarray:
        """Returns the scores [q, g]: those of the export or, of embeddings, negated distances."""
        sides = find_embedding(queries), find_embedding(gallery)
        if sides[0] is None:
            return self._client.compare_all(queries, gallery)["score"]
        return -pairwise_distances(*sides, self.metric, p=self._evaluation.minkowski_p)


def embedding_metric(config: Config) -> str:
    """Returns the distance that ranks the embeddings of an export: Euclidean for probabilities."""
    metric = config.evaluation.metric
    return "euclidean" if metric == PROBABILITY else metric


def make_exported_evaluator(client: Client, config: Config, records: Records,
                            ) -> Evaluator | None:
    """Makes the evaluator of an export by `evaluation.protocol`.

    Embeddings are ranked by `embedding_metric` as they are; `evaluation.flip` is part of the
    export.

    Returns:
        The evaluator, or None if there are no test images, or a CSN would compare all pairs of a
        full gallery.
    """
    if "query" not in records or "gallery" not in records:
        return None
    if config.evaluation.protocol == "single_shot":
        return SingleShotEvaluator(ExportedScorer(client, config, records), config, records,
                                   scored_splits(config, records, training=False))
    if config.system == "csn":
        return None
    return GalleryEvaluator(
        ExportedFeatures(client, records, config.data.eval_batch_size), config, records,
        metric=embedding_metric(config))
