"""Other orders of the nearest entries: by k-reciprocal encoding, or by a model of pairs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.gallery.embedder import MAX_PIXELS
from tfreid.serving import load_export
from tfreid.serving.formats.images import Image, load_image
from tfreid.serving.interface import joined


def k_reciprocal_order(query: np.ndarray, embeddings: Sequence[np.ndarray],
                       metric: str) -> np.ndarray:
    """Returns the order of entries by k-reciprocal encoding (Zhong et al., CVPR 2017).

    Args:
        query: float32 array [d].
        embeddings: Of the n nearest entries, [n, d].
        metric: `cosine` or `euclidean`.

    Returns:
        Their places, int64 array [n].
    """
    if not len(embeddings):
        return np.arange(0)
    distances = k_reciprocal_rerank(query[np.newaxis], np.asarray(embeddings, np.float32),
                                    metric=metric)
    return np.argsort(distances[0], kind="stable")


class PairModel:
    """A CSN or Siamese network that compares the query with stored pictures.

    The features of pictures that were compared lately are kept.

    Args:
        export: Folder of its export.

    Raises:
        UserError: If there is no export, or it does not compare images.
    """

    def __init__(self, export: str):
        self._client = load_export(export)
        if not self._client.compares:
            raise UserError(f"{export} embeds images and does not compare them; give the export of "
                            "a CSN or a Siamese network as the model of pairs.")
        self._features = functools.lru_cache(512)(self._extract)

    def order(self, queries: Sequence[Image], pictures: Sequence[bytes]) -> np.ndarray:
        """Returns the places [n] of pictures, the best mean score with the queries first."""
        if not pictures:
            return np.arange(0)
        sides = [joined(map(self._extract, queries)), joined(map(self._features, pictures))]
        scores = self._client.compare_all(*sides)["score"]
        return np.argsort(-scores.mean(0), kind="stable")

    def _extract(self, image: Image):
        return self._client.extract_images(load_image(image, MAX_PIXELS)[np.newaxis])
