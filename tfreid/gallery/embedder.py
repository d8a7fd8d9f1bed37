"""The model of a gallery: images in, embeddings out, and how near means the same person."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.thresholds import Threshold
from tfreid.serving import load_export
from tfreid.serving.client import exported_thresholds
from tfreid.serving.embedding_files import embed_readable, model_fingerprint
from tfreid.serving.formats.images import Image, load_image
from tfreid.serving.formats.reader import is_device_export
from tfreid.serving.interface import embedding_of

MAX_PIXELS = 50_000_000
# Of the stored pictures: pixels in height, JPEG qualities, and bytes that suffice.
_THUMBNAIL_HEIGHT, _QUALITIES, _MOST_BYTES = 192, (88, 70, 40, 10), 48_000
# False-positive rates of distances that mean surely the same person, and one number for tracks.
_SURE, _ONE_PERSON = "0.001", "0.01"


class Limits(NamedTuple):
    """Up to which distance two images show the same person.

    Attributes:
        same: Up to here surely.
        unsure: Up to here perhaps; beyond, the person is unknown.
    """

    same: float
    unsure: float

    def verdict(self, distance: float) -> str:
        """Returns `same`, `unsure` or `unknown`."""
        if distance <= self.same:
            return "same"
        return "unsure" if distance <= self.unsure else "unknown"


class Embedder:
    """A model that embeds images; threads take turns.

    Args:
        export: Folder of an export, in any format.

    Attributes:
        export: The folder.
        fingerprint: Hash of the model's files.
        metric: Distance of embeddings: `cosine` or `euclidean`.
        limits: The two thresholds that `tfreid calibrate` measured, or None. Same: one pair in a
            thousand of different people is nearer. Unsure: up to the equal error rate.
        numbering: Largest distance of tracks that get one number, or None: one pair in a hundred of
            different people is nearer.

    Raises:
        UserError: If there is no export, or it has no embedding that the gallery can search.
    """

    def __init__(self, export: str):
        self.export, self.fingerprint = export, model_fingerprint(export)
        self._client, self._turn = load_export(export), threading.Lock()
        thresholds = exported_thresholds(export)
        self.metric = next(iter(thresholds), None) or (
            self._client.card.metric if is_device_export(export) else "cosine")
        if self.metric not in ("cosine", "euclidean"):
            raise UserError(f"{export} ranks by the {self.metric} distance, and a gallery searches "
                            "by cosine or euclidean; calibrate and export it with "
                            "evaluation.metric=cosine.")
        threshold = thresholds.get(self.metric)
        self.limits = _limits(threshold)
        self.numbering = None if threshold is None else threshold.distance_at(_ONE_PERSON)

    @functools.cached_property
    def width(self) -> int:
        """Numbers of an embedding; the first call also makes the model ready, which takes long."""
        return self.embed([np.zeros([64, 32, 3], np.uint8)]).shape[1]

    def embed(self, images: Sequence[Image]) -> np.ndarray:
        """Embeds images: paths, bytes or uint8 RGB arrays; float32 [n, width].

        Raises:
            UserError: If one is not an image, or the model has no embedding.
        """
        found = []
        for image in images:  # one at a time, which bounds memory
            with self._turn:
                pixels = load_image(image, MAX_PIXELS)[np.newaxis]
                found.append(embedding_of(self._client.extract_images(pixels)))
        return self._comparable(np.concatenate(found))

    def embed_files(self, files: Sequence[bytes]) -> list[np.ndarray | None]:
        """Embeds image files in one batch; None for those that cannot be decoded."""
        with self._turn:
            found = embed_readable(self._client, files)
        return [None if one is None else self._comparable(one) for one in found]

    def distance(self, similarity: float) -> float:
        """Returns the distance of what Milvus calls the similarity of two embeddings."""
        return 1.0 - similarity if self.metric == "cosine" else max(similarity, 0.0) ** 0.5

    def _comparable(self, embeddings: np.ndarray) -> np.ndarray:
        embeddings = np.asarray(embeddings, np.float32)
        return unit(embeddings) if self.metric == "cosine" else embeddings


def unit(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors [..., d] at length 1; a vector of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)


def thumbnail(image: Image) -> str:
    """Returns a small JPEG of an image, in base64."""
    pixels = load_image(image, MAX_PIXELS)
    height = min(_THUMBNAIL_HEIGHT, pixels.shape[0])
    width = max(1, min(round(pixels.shape[1] * height / pixels.shape[0]), 2 * height))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    for quality in _QUALITIES:
        data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.nbytes <= _MOST_BYTES:
            break
    return base64.b64encode(data.tobytes()).decode()


def _limits(threshold: Threshold | None) -> Limits | None:
    if threshold is None:
        return None
    return Limits(threshold.distance_at(_SURE), threshold.threshold)
