"""What all clients of a model have in common; nothing here needs TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from tfrecords.errors import UserError

# Output of signatures for files: which could be decoded.
VALID = "valid"
Outputs = dict[str, np.ndarray]
_EMBEDDINGS = ("embedding", "descriptor")


class RefusedImages(UserError):
    """Some of the images that were sent together cannot be decoded."""


class Client(Protocol):
    """Calls the signatures of an export."""

    def extract(self, images: Sequence[bytes]) -> Outputs:
        """Sends JPEG or PNG files [n] to the default signature.

        Returns:
            `embedding` [n, d] of an embedding model, or the features of a pair model.

        Raises:
            RefusedImages: If an image cannot be decoded.
            UserError: If there is no image, or the server does not answer correctly.
        """

    def compare_all(self, queries: Outputs, gallery: Outputs) -> Outputs:
        """Compares a pair model's features of q queries and g gallery images.

        Returns:
            `probability`, `score` and, if there is a ranking net, `distance`, each [q, g].

        Raises:
            UserError: If the server does not answer correctly.
        """


def find_embedding(features: Outputs) -> np.ndarray | None:
    """Returns the embedding of extracted features, or None if the model only compares images."""
    return next((features[name] for name in _EMBEDDINGS if len(features) == 1 and name in features),
                None)


def embedding_of(features: Outputs) -> np.ndarray:
    """Returns the embedding of extracted features.

    Raises:
        UserError: If the model only compares images.
    """
    embedding = find_embedding(features)
    if embedding is None:
        raise UserError("this model compares images and has no embedding of one (system: csn); "
                        "compare the features of `extract`.")
    return embedding


def joined(parts: Iterable[Outputs]) -> Outputs:
    """Joins the outputs for some rows and for those behind them."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def sided(**sides: Outputs) -> Outputs:
    """Joins the features of both sides under the signatures' input names."""
    return {f"{side}_{name}": values for side, features in sides.items()
            for name, values in features.items()}
