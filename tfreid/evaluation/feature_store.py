"""Features of whole splits in files, with a stamp that tells what they are of."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest, write_json
from tfreid.data.records import split_size
from tfreid.data.views import stored_split
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.thresholds import weights_fingerprint
from tfreid.settings import Config

# The values of the weights are in the stamp, wherever they came from.
_NO_MATTER = ("weights", "imagenet_weights")


class FeatureStore:
    """Extracts the features of a split once and keeps them as SPLIT.npy, beside SPLIT.json.

    Args:
        folder: where the files are; made if it is missing.
        model: embedding model.
        config: its whole configuration; `data.records` names the images.
    """

    def __init__(self, folder: str | Path, model: keras.Model, config: Config):
        self._folder, self._config = Path(folder), config
        self._extractor = FeatureExtractor(model, config)
        settings = {name: value for name, value in dataclasses.asdict(config.model).items()
                    if name not in _NO_MATTER}
        self._stamp = {
            "weights": weights_fingerprint(model),
            "settings": {**settings, "feature": config.evaluation.feature,
                         "split": config.data.split},
        }

    def features(self, split: str) -> np.ndarray:
        """Returns the features of a split in record order, read from the disk as they are used.

        Returns:
            float32 [n, d], read only.

        Raises:
            UserError: the folder holds features of other weights, records or settings, or a broken
                file, or an image cannot be decoded.
        """
        path, stamp_path = (self._folder / f"{split}.{suffix}" for suffix in ("npy", "json"))
        stamp, count = self._full_stamp(split), self._count(split)
        if stamp_path.is_file():
            self._check(stamp_path, stamp)
        else:
            self._folder.mkdir(parents=True, exist_ok=True)
            _write_matrix(path, count, self._extractor.blocks(split))
            # Written last: features without a stamp are not whole.
            write_json(stamp_path, stamp)
        try:
            features = np.load(path, mmap_mode="r")
            if features.ndim != 2 or len(features) != count:
                raise ValueError("of another shape")
        except (OSError, ValueError):
            raise UserError(f"{path} is missing or broken; delete {stamp_path}, so that the "
                            "features are extracted again.") from None
        return features

    def _full_stamp(self, split: str) -> dict[str, Any]:
        manifest = read_manifest(self._config.data.records)
        shards = manifest.splits[stored_split(manifest, split)].shards
        records = {"dataset": manifest.dataset, "checksums": [shard.checksum for shard in shards]}
        # As it comes back from a file.
        return json.loads(json.dumps({**self._stamp, "records": records}))

    def _count(self, split: str) -> int:
        data = self._config.data
        return split_size(data.records, split, data.split)[0]

    @staticmethod
    def _check(path: Path, stamp: dict[str, Any]) -> None:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            other = [name for name, value in stamp.items() if found.get(name) != value]
        except (ValueError, AttributeError):
            other = list(stamp)
        if other:
            raise UserError(f"{path}: the features beside it are of other {' and '.join(other)}; "
                            "name another folder for the features, or delete this one.")


def _write_matrix(
    path: Path, count: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Writes the rows of a float32 matrix that come block by block, each with its position."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            # Into a file rather than a mapped one, so that a full disk is an error and no crash.
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
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
