"""What is searched for: images and entries as one vector, moved by what was marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfreid.gallery.embedder import unit
from tfreid.serving.formats.images import Image

# Weights of Rocchio's formula.
_RIGHT, _WRONG = 0.75, 0.15


class Query(NamedTuple):
    """Who is searched for.

    Attributes:
        images: Images of the person: bytes of files, or uint8 RGB arrays [h, w, 3].
        keys: Entries that show the person.
        right: Entries that were marked as the person.
        wrong: Entries that were marked as someone else.
    """

    images: Sequence[Image] = ()
    keys: Sequence[str] = ()
    right: Sequence[str] = ()
    wrong: Sequence[str] = ()

    @property
    def entries(self) -> list[str]:
        """All keys, each once."""
        return list(dict.fromkeys([*self.keys, *self.right, *self.wrong]))


def query_vector(images: np.ndarray, keys: np.ndarray, right: np.ndarray,
                 wrong: np.ndarray, normalize: bool) -> np.ndarray:
    """Returns the embedding that is searched for.

    It is q + 0.75 r - 0.15 w (Rocchio's relevance feedback, with the weights of Manning, Raghavan
    and Schuetze, "Introduction to Information Retrieval", 9.1.1), where q is the mean of the
    query's images and entries, r that of the right ones and w that of the wrong ones; without q,
    r takes its place. A vector that is not normalised is divided by the sum of its weights.

    Args:
        images: float32 [n, d], embeddings of images.
        keys: float32 [m, d], those of entries.
        right: float32 [r, d].
        wrong: float32 [w, d].
        normalize: Whether embeddings are unit vectors, and the result is one.

    Returns:
        float32 array [d].
    """
    query = np.concatenate([images, keys])
    if not len(query):
        query = right
    parts = [(1.0, query), (_RIGHT, right), (-_WRONG, wrong)]
    parts = [(weight, vectors.mean(0)) for weight, vectors in parts if len(vectors)]
    vector = np.sum([weight * vector for weight, vector in parts], 0, dtype=np.float32)
    return unit(vector) if normalize else vector / np.float32(sum(weight for weight, _ in parts))


def nearest_of_tracks(hits: Sequence[Mapping], count: int) -> list[Mapping]:
    """Returns the first hit of each track, at most `count`; without a track, an entry is its own.

    Args:
        hits: Rows with `key` and `track`, the nearest first.
        count: At most so many.
    """
    seen: dict[str, Mapping] = {}
    for hit in hits:
        seen.setdefault(track_of(hit), hit)
        if len(seen) == count:
            break
    return list(seen.values())


def track_of(row: Mapping) -> str:
    """Returns the name of an entry's track, or its key if it belongs to none."""
    return row["track"] or row["key"]
