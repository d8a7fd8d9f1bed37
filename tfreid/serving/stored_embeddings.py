"""Embeddings that `tfreid embed-images` wrote, in the place of a model that computes them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError, shortened
from tfrecords.files import read_json
from tfrecords.storage import as_path, local_file
from tfreid.evaluation.features import FeatureSource
from tfreid.records import Records
from tfreid.serving.embedding_files import (
    PLAN_NAME,
    REFUSED_NAME,
    require_pyarrow,
    shard_files,
)
from tfreid.weights.choice import valid_choice

# Rows in memory at a time.
_BLOCK = 4096
_UNEMBEDDED = -1
_FIX = "embed the images again"


class _Rows(NamedTuple):
    """Rows of a shard that hold images of a split, and the places of these in it."""

    file: Path
    rows: np.ndarray
    places: np.ndarray


def holds_embeddings(folder: str | Path) -> bool:
    """Returns whether `tfreid embed-images` wrote into a folder."""
    return (as_path(folder) / PLAN_NAME).is_file()


def stored_chosen_on(folder: str | Path) -> str | None:
    """Returns which images chose the weights of a folder's embeddings, or None."""
    path = as_path(folder) / PLAN_NAME
    plan = read_json(path, _FIX) if path.is_file() else {}
    return valid_choice(plan.get("weights_chosen_on"))


class StoredEmbeddings(FeatureSource):
    """The embeddings of records' images, read block by block from Parquet shards.

    Args:
        folder: What `tfreid embed-images` wrote for the records.
        records: The records.

    Raises:
        UserError: If the folder has no embeddings, or misses a shard.
    """

    def __init__(self, folder: str | Path, records: Records):
        require_pyarrow("reading Parquet")
        self._folder, self._records = as_path(folder), records
        if not holds_embeddings(folder):
            raise UserError(f"{folder} has no {PLAN_NAME}: name a folder of `tfreid embed-images`.")
        plan = read_json(self._folder / PLAN_NAME, _FIX)
        try:
            names = shard_files(int(plan["images"]), int(plan["images_per_shard"]))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{self._folder / PLAN_NAME} is broken; {_FIX}.") from None
        self._files = [self._folder / name for name in names]
        missing = [file.name for file in self._files if not file.is_file()]
        if missing:
            raise UserError(f"{folder} lacks {missing[0]} ({len(missing)} of {len(names)} shards); "
                            "give the command of `tfreid embed-images` again.")
        self._located: dict[str, list[_Rows]] = {}

    def blocks(self, split: str, indices: np.ndarray | None = None,
               progress: bool = True) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `FeatureSource`.

        Raises:
            UserError: If an image of the split has no embedding, or a shard is broken.
        """
        located = self._locate(split)
        count = len(self._records[split])
        wanted = np.full(count, _UNEMBEDDED)
        chosen = np.arange(count) if indices is None else np.asarray(indices)
        wanted[chosen] = np.arange(len(chosen))
        with tqdm(total=len(chosen), desc=f"{split} embeddings", unit="image",
                  disable=not progress, leave=False) as bar:
            for shard in located:
                for rows, features in self._read(shard):
                    places = wanted[rows]
                    kept = places >= 0
                    if kept.any():
                        yield places[kept], features[kept]
                        bar.update(int(kept.sum()))

    def _locate(self, split) -> list[_Rows]:
        if split not in self._located:
            paths = self._records[split].index.paths
            place_of = {str(path): place for place, path in enumerate(paths)}
            found, seen = [], np.zeros(len(paths), bool)
            for file in self._files:
                table = _read_table(file, ["split", "path"])
                rows = [(row, place_of[path]) for row, (name, path) in enumerate(
                    zip(*(table[name].to_pylist() for name in ("split", "path"))))
                    if name == split and path in place_of]
                if rows:
                    rows, places = np.array(rows).T
                    found.append(_Rows(file, rows, places))
                    seen[places] = True
            if not seen.all():
                missing = paths[int(np.argmin(seen))]
                raise UserError(
                    f"{self._folder} has no embedding of {int((~seen).sum()):,} of {len(paths):,} "
                    f"images of split {split}, among them {missing}; embed "
                    f"{self._records.directory} with `tfreid embed-images` ({REFUSED_NAME} lists "
                    "what cannot be read).")
            self._located[split] = found
        return self._located[split]

    def _read(self, shard: _Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields places in the split and embeddings of a shard's rows, some at a time."""
        place_of = np.full(shard.rows[-1] + 1, _UNEMBEDDED)
        place_of[shard.rows] = shard.places
        start = 0
        for batch in _batches(shard.file):
            width = batch.column(0).type.list_size
            if width != self._width:
                raise UserError(f"{shard.file} has embeddings of {width} numbers, the first shard "
                                f"of {self._width}; delete it and embed its images again.")
            values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
            places = place_of[start : start + batch.num_rows]
            features = values.reshape(-1, width)[: len(places)].astype(np.float32)
            yield places[places >= 0], features[places >= 0]
            start += batch.num_rows

    @functools.cached_property
    def _width(self) -> int:
        return next(_batches(self._files[0])).column(0).type.list_size


@contextlib.contextmanager
def _sentence(file: Path) -> Iterator[None]:
    """Turns what pyarrow says of a broken file into a sentence."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        reason = shortened(str(error).splitlines()[0], 200)
        raise UserError(f"{file} is no whole shard of embeddings ({reason}); delete it and embed "
                        "its images again.") from None


def _read_table(file: Path, columns: list[str]) -> Any:
    from pyarrow import parquet

    with _sentence(file), local_file(file) as local:
        return parquet.read_table(local, columns=columns)


def _batches(file: Path) -> Iterator[Any]:
    from pyarrow import parquet

    with _sentence(file), local_file(file) as local, parquet.ParquetFile(local) as opened:
        yield from opened.iter_batches(_BLOCK, columns=["embedding"])
