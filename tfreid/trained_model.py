"""A trained model in Python: images in, embeddings, distances, rankings and verdicts out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import load_config
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.pictures import read_image_file
from tfreid.evaluation.thresholds import Thresholds
from tfreid.layers.preprocessing import InputSize, resize_images
from tfreid.models.embedding import input_size
from tfreid.records import decode_image
from tfreid.serving.client import SavedModelClient
from tfreid.systems.registry import make_system
from tfreid.training.run_folder import open_run

Images = Union[np.ndarray, Sequence[Union[np.ndarray, str, Path, bytes]]]


class Ranking(NamedTuple):
    """The nearest gallery rows of each query, nearest first.

    Attributes:
        indices: int64 array [q, k]. Rows of the gallery.
        distances: float32 array [q, k].
    """

    indices: np.ndarray
    distances: np.ndarray


class Verification(NamedTuple):
    """Whether the two images of each pair show one identity.

    Attributes:
        same: bool array [n].
        distance: float32 array [n].
    """

    same: np.ndarray
    distance: np.ndarray
