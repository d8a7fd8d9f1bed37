"""Image files through a client, batch by batch: their features, and the nearest of a gallery."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfrecords.errors import UserError
from tfrecords.image_files import read_file
from tfrecords.images import IMAGE_SUFFIXES
from tfrecords.storage import AnyPath, as_path, is_remote
from tfreid.serving.interface import Client, Outputs, RefusedImages

# Pairs that are compared at once, which bounds memory.
_MOST_PAIRS = 4096
# What a comparison orders by: smaller is nearer.
ORDER = "order"


class Nearest(NamedTuple):
    """The nearest gallery images of every query, nearest first.

    Attributes:
        indices: int64 array [q, k]. Positions in the gallery.
        figures: Name of a figure -> float32 array [q, k].
    """

    indices: np.ndarray
    figures: dict[str, np.ndarray]

    def without_self(self, k: int) -> Nearest:
        """Returns at most k of them other than the query itself, if the queries are the gallery."""
        other = self.indices != np.arange(len(self.indices))[:, np.newaxis]
        kept = np.argsort(~other, axis=1, kind="stable")[:, :min(k, len(self.indices) - 1)]
        return Nearest(
            np.take_along_axis(self.indices, kept, axis=1),
            {name: np.take_along_axis(x, kept, axis=1) for name, x in self.figures.items()})


def find_image_files(paths: Iterable[str | os.PathLike]) -> list[Path]:
    """Lists files, and the JPEG and PNG files in and below folders, sorted, hidden ones left out.

    Raises:
        UserError: If a path does not exist, or a folder holds no image.
    """
    files = []
    for path in map(as_path, paths):
        if not path.exists():
            raise UserError(f"{path} does not exist; check the path.")
        if not path.is_dir():
            files.append(path)
            continue
        found = [file for file in _files_below(path) if not file.name.startswith(".")
                 and file.name.lower().endswith(IMAGE_SUFFIXES)]
        if not found:
            raise UserError(f"{path} holds no image file ({', '.join(IMAGE_SUFFIXES)}); name "
                            "another folder.")
        files += sorted(found)
    return files


def _files_below(folder: AnyPath) -> Iterator[AnyPath]:
    if is_remote(folder):
        yield from folder.rglob("*")
    else:
        for above, _, names in os.walk(folder):
            yield from (Path(above, name) for name in names)


def extract_files(client: Client, names: Sequence[str | Path], batch_size: int, label: str,
                  read: Callable[[int], bytes] | None = None,
                  progress: bool = True) -> Iterator[tuple[slice, Outputs]]:
    """Yields the features of images, a batch at a time, with their places.

    Args:
        client: Asks the model.
        names: The image files, or what to call the images in messages.
        batch_size: Images that are in memory and go through the network together.
        label: What the progress bar calls them.
        read: Returns an image file's bytes by its place. Defaults to reading the file of that name.
        progress: Whether to show a progress bar if there are several batches.

    Raises:
        UserError: If a file cannot be read or decoded, with its name.
    """
    read = read or (lambda place: read_file(names[place]))
    with tqdm(total=len(names), desc=label, unit="image", leave=False,
              disable=not progress or len(names) <= batch_size) as bar:
        for start in range(0, len(names), batch_size):
            places = range(start, min(start + batch_size, len(names)))
            files = [read(place) for place in places]
            try:
                features = client.extract(files)
            except RefusedImages:
                for place, file in zip(places, files):
                    _extract_one(client, names[place], file)
                raise
            yield slice(places.start, places.stop), features
            bar.update(len(files))


def collect(blocks: Iterable[tuple[slice | list[int], Outputs]], count: int) -> Outputs:
    """Joins features of parts of `count` images, which come with their places."""
    features: Outputs = {}
    for places, block in blocks:
        for name, values in block.items():
            shape = (count, *values.shape[1:])
            features.setdefault(name, np.empty(shape, values.dtype))[places] = values
    return features


def find_nearest(queries: Outputs, blocks: Iterable[tuple[slice, Outputs]],
                 compare: Callable[[Outputs, Outputs], Outputs], k: int) -> Nearest:
    """Finds the k nearest gallery images of every query; equal ones in gallery order.

    Args:
        queries: Features of the queries.
        blocks: Features of parts of the gallery with their places, in order, of which only one is
            in memory at a time.
        compare: Computes figures [q, g] of queries and gallery images, among them `ORDER`.
        k: Most gallery images for each query.
    """
    count = len(next(iter(queries.values())))
    best: dict[str, np.ndarray] = {}
    for places, block in blocks:
        width = places.stop - places.start
        rows = max(1, _MOST_PAIRS // width)
        parts = [compare({name: values[start : start + rows] for name, values in queries.items()},
                         block) for start in range(0, count, rows)]
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        found["place"] = np.broadcast_to(np.arange(places.start, places.stop), (count, width))
        if best:
            found = {name: np.concatenate([best[name], values], 1)
                     for name, values in found.items()}
        order = np.argsort(found[ORDER], axis=1, kind="stable")[:, :k]
        best = {name: np.take_along_axis(values, order, axis=1) for name, values in found.items()}
    del best[ORDER]
    return Nearest(best.pop("place"), best)


def _extract_one(client, name, file):
    try:
        client.extract([file])
    except RefusedImages:
        raise UserError(f"{name}: the model cannot decode it, or it has more pixels than "
                        "export.max_pixels; give a whole JPEG or PNG that is smaller.") from None
