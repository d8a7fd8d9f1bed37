"""Features of whole splits: extracted, or kept in files with a stamp of their origin."""

from __future__ import annotations

import abc
import dataclasses
import json
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import as_path
from tfrecords.writing import whole_file, write_json
from tfreid.config import Config, EvaluationConfig
from tfreid.evaluation.thresholds import weights_fingerprint
from tfreid.models.embedding import input_size
from tfreid.records import Records
from tfreid.workers import ALONE, Workers

# Not in the stamp, which identifies the weights by their values.
_SOURCES = ("weights", "imagenet_weights")


def make_feature(model: keras.Model,
                 evaluation: EvaluationConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function from raw images [n, h, w, 3] to the features [n, d] that are compared.

    With `evaluation.flip` a feature is the mean of those of the image and of its mirror image.
    """
    def feature(images):
        return model(images, training=False)[evaluation.feature]

    def averaged(images):
        return 0.5 * (feature(images) + feature(tf.reverse(images, [2])))

    return averaged if evaluation.flip else feature


class FeatureSource(abc.ABC):
    """Where the features of the images of records come from."""

    _records: Records

    def __call__(self, split: str, indices: np.ndarray | None = None,
                 progress: bool = True) -> np.ndarray:
        """Returns features [n, d] of a split's images at `indices`, or of all in record order.

        Raises:
            UserError: If the records are broken, or an image cannot be decoded.
        """
        features = None
        for places, block in self.blocks(split, indices, progress):
            if features is None:
                features = np.empty((self.count(split, indices), block.shape[1]), np.float32)
            features[places] = block
        return features

    @abc.abstractmethod
    def blocks(self, split: str, indices: np.ndarray | None = None,
               progress: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields places [n] in `indices` and features [n, d], some at a time; each place once.

        The errors are those of calling the object.
        """

    def count(self, split: str, indices: np.ndarray | None = None) -> int:
        """Returns the number of a split's images at `indices`, or of all."""
        return len(self._records[split] if indices is None else indices)


class FeatureExtractor(FeatureSource):
    """Computes the feature `evaluation.feature` of the images of records.

    Args:
        model: Embedding model.
        config: Its whole configuration.
        records: The records.
        workers: The processes that share the images; all need to call the same methods.
    """

    def __init__(self, model: keras.Model, config: Config, records: Records,
                 workers: Workers = ALONE):
        self._data, self._records, self._workers = config.data, records, workers
        self._size = input_size(config.model)
        self._predict = tf.function(
            make_feature(model, config.evaluation),
            input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32)],
        )

    def blocks(self, split: str, indices: np.ndarray | None = None,
               progress: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields places [n] in `indices` and features [n, d], `data.eval_batch_size` at a time.

        Each place occurs once, in order if all images are resized to one size. The errors are
        those of calling the object.
        """
        with tqdm(total=self.count(split, indices), desc=f"{split} features", unit="image",
                  disable=not progress, leave=False) as bar:
            for places, features in self._workers.rounds(self._own_blocks(split, indices)):
                yield places, features
                bar.update(len(places))

    def _own_blocks(self, split, indices):
        """Yields the blocks of this process's share of the images."""
        data = self._data
        share = self._workers.share(self.count(split, indices), data.eval_batch_size)
        if share is not None:
            indices = share if indices is None else indices[share]
        for places, images in self._records[split].batches(
                self._size, data.eval_batch_size, data.workers, indices):
            features = self._predict(images).numpy()
            yield (places if share is None else share[places]), features


class FeatureStore:
    """Extracts the features of a split once and keeps them in a folder.

    SPLIT.npy has the features, SPLIT.json their stamp. The folder is created if it is missing.
    """

    def __init__(self, folder: str | Path, model: keras.Model, config: Config, records: Records):
        self._folder, self._records = as_path(folder), records
        self._extractor = FeatureExtractor(model, config, records)
        settings = {name: value for name, value in dataclasses.asdict(config.model).items()
                    if name not in _SOURCES}
        self._stamp = {
            "weights": weights_fingerprint(model),
            "settings": {**settings, "feature": config.evaluation.feature,
                         "flip": config.evaluation.flip, "split": records.fold},
        }

    def features(self, split: str) -> np.ndarray:
        """Returns a split's features in record order: float32 [n, d], a read-only memory map.

        Raises:
            UserError: If the folder holds features of other weights, records or settings, or a
                broken file, or an image cannot be decoded.
        """
        path, stamp_path = (self._folder / f"{split}.{suffix}" for suffix in ("npy", "json"))
        stamp, count = self._full_stamp(split), len(self._records[split])
        if stamp_path.is_file():
            self._check(stamp_path, stamp)
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_matrix(path, count, self._extractor.blocks(split))
            # Written last: features without a stamp are incomplete.
            write_json(stamp_path, stamp)
        try:
            features = np.load(path, mmap_mode="r")
            if not isinstance(features, np.ndarray) or features.ndim != 2 or (
                    len(features) != count):
                raise ValueError("of another shape")
        except (OSError, EOFError, ValueError, SyntaxError, tokenize.TokenError):
            raise UserError(f"{path} is missing or broken; delete {stamp_path}, so that the "
                            "features are extracted again.") from None
        return features

    def _full_stamp(self, split: str) -> dict[str, Any]:
        records = {"dataset": self._records.dataset, "checksums": self._records[split].checksums}
        # In the form that is read from the file.
        return json.loads(json.dumps({**self._stamp, "records": records}))

    @staticmethod
    def _check(path: Path, stamp: dict[str, Any]) -> None:
        try:
            found = read_json(path, "")
            other = [name for name, value in stamp.items() if found.get(name) != value]
        except UserError:
            other = list(stamp)
        if other:
            raise UserError(f"{path}: these features come from other {' and '.join(other)}; choose "
                            "another folder for the features, or delete this one.")


def map_features(path: Path, source: FeatureSource, split: str) -> np.ndarray:
    """Writes a split's features to a file, block by block, and returns its read-only memory map."""
    _write_matrix(path, source.count(split), source.blocks(split))
    return np.load(path, mmap_mode="r")


def _write_matrix(path: Path, count: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Writes a float32 matrix from blocks of rows and their positions."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        # Not through a memory map, where a full disk would crash the process.
        for positions, features in blocks:
            features = np.ascontiguousarray(features, "<f4")
            if not file.tell():
                shape = (count, features.shape[1])
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": shape})
                start = file.tell()
            for position, row in zip(positions.tolist(), features):
                file.seek(start + position * row.nbytes)
                file.write(row.tobytes())
