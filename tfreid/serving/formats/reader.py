"""Opens an export of any format: images in, embeddings out. Device formats need no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfrecords.checksums import find_changed_file
from tfrecords.errors import UserError
from tfrecords.pool import usable_cores
from tfrecords.storage import as_path, is_remote
from tfreid.serving.formats.card import CARD_NAME, GraphCard, ModelCard, TensorCard, read_card
from tfreid.serving.formats.images import Image, as_input, load_image, resize_image
from tfreid.serving.formats.registry import FORMATS, foreign_errors
from tfreid.serving.interface import Outputs, embedding_of, joined, sided

# File of the checksums of all others.
CHECKSUMS_NAME = "checksums.json"
# Rows that go through a graph of a free number of rows together.
_MOST_ROWS = 64


def is_device_export(folder: str | Path) -> bool:
    """Returns whether `tfreid export --format` wrote a device format into a folder."""
    return (as_path(folder) / CARD_NAME).is_file()


def graph_files(folder: str | Path) -> list[Path]:
    """Returns the files of the graphs and their weights."""
    folder = as_path(folder)
    return sorted(path for graph in read_card(folder).graphs.values()
                  for path in folder.glob(f"{Path(graph.file).with_suffix('')}.*"))


class DeviceModel:
    """A model in a device format: LiteRT, ONNX or OpenVINO; a `Client`.

    Args:
        folder: The folder with `model.json`.
        threads: Threads of the runtime. Defaults to those of the machine.

    Attributes:
        folder: The folder.
        card: What `model.json` says.

    Raises:
        UserError: If the folder is no such export, a file has changed, or the runtime is not
            installed.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        if is_remote(as_path(folder)):
            raise UserError(f"{folder}: runtimes open files of this machine; copy the folder here.")
        self.folder = Path(folder)
        changed = find_changed_file(self.folder / CHECKSUMS_NAME)
        if changed is not None:
            raise UserError(f"{changed} is not the file that was exported; copy the whole folder "
                            "again, or export again.")
        self.card = read_card(self.folder)
        if self.card.format not in FORMATS:
            raise UserError(f"{self.folder / CARD_NAME} names the format {self.card.format!r}, "
                            f"which is not one of {', '.join(FORMATS)}; export again.")
        threads = threads or usable_cores()
        self._graphs = {name: open_graph(self.folder, self.card, name, threads)
                        for name in self.card.graphs}

    @property
    def compares(self) -> bool:
        """Whether the model compares features of pairs of images."""
        return "compare" in self._graphs

    @property
    def judges(self) -> bool:
        """Whether it decides if two images show the same identity."""
        return self.compares and any(
            output.name == "same_person" for output in self.card.graphs["compare"].outputs)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the graph takes."""
        return self.card.height, self.card.width

    def embed(self, images: Sequence[Image]) -> np.ndarray:
        """Embeds images.

        Args:
            images: Paths, bytes of image files, or uint8 RGB arrays [h, w, 3], of any sizes.

        Returns:
            float32 array [n, d].

        Raises:
            RefusedImages: If a file is not a whole image.
            ValueError: If an array is not uint8 RGB.
            UserError: If there is no such file, or the model compares images and has no embedding
                of one (`system: csn`).
        """
        return embedding_of(self.extract(images))

    def extract(self, images: Sequence[Image]) -> Outputs:
        """Computes the features of images; see `embed`."""
        images = list(images)
        return joined(self._extract_some(images[start : start + _MOST_ROWS])
                       for start in range(0, max(len(images), 1), _MOST_ROWS))

    def extract_images(self, images: np.ndarray) -> Outputs:
        """Computes the features of uint8 RGB images [n, h, w, 3] of one size."""
        if images.dtype == np.uint8 and images.shape[1:] == (*self.size, 3):
            return self.extract_crops(images)
        return self.extract(list(images))

    def extract_crops(self, crops: np.ndarray) -> Outputs:
        """Computes the features of images [n, height, width, 3] of the model's size and type."""
        card = self.card
        return self._graphs["extract"]({
            self._input.name: as_input(crops, card.layout, card.mean, card.deviation)})

    def compare(self, first: Outputs, second: Outputs) -> Outputs:
        """Compares features of n first and n second images, pair by pair."""
        if not self.compares:
            raise UserError("this model embeds images and compares no features; compare the "
                            "embeddings by a distance.")
        return self._graphs["compare"](sided(first=first, second=second))

    def compare_all(self, queries: Outputs, gallery: Outputs) -> Outputs:
        """Compares the features of q queries and g gallery images: outputs [q, g]."""
        count = len(next(iter(gallery.values())))
        rows = [self.compare({name: np.repeat(x[row : row + 1], count, 0)
                              for name, x in queries.items()}, gallery)
                for row in range(len(next(iter(queries.values()))))]
        found = {output.name: np.stack([row[output.name] for row in rows]) if rows
                 else np.empty((0, count), output.dtype)
                 for output in self.card.graphs["compare"].outputs}
        if "score" not in found:  # of a Siamese network
            found = {"probability": found["probability"], "score": found["probability"],
                     "distance": found["euclidean"]}
        return found

    def verify(self, first: Sequence[Image], second: Sequence[Image]) -> Outputs:
        """Compares pairs of images."""
        return self.compare(self.extract(first), self.extract(second))

    def prepare(self, images: Sequence[Image]) -> np.ndarray:
        """Returns images of the model's size and type: RGB in 0-255, [n, height, width, 3]."""
        return np.array([resize_image(load_image(image, self.card.max_pixels), *self.size,
                                      self._input.dtype) for image in images]
                        or np.empty((0, *self.size, 3)), self._input.dtype)

    @property
    def _input(self):
        return self.card.graphs["extract"].inputs[0]

    def _extract_some(self, images) -> Outputs:
        return self.extract_crops(self.prepare(images))


def open_graph(folder: Path, card: ModelCard, name: str,
               threads: int) -> Callable[[Mapping[str, np.ndarray]], Outputs]:
    """Opens one graph of an export; the function takes any number of rows.

    Raises:
        UserError: If the runtime is not installed, or cannot read the file.
    """
    graph = card.graphs[name]
    file = folder / graph.file
    with foreign_errors(f"{file} cannot be opened by the runtime of {card.format}",
                        "export again, or update that runtime"):
        run = FORMATS[card.format].open_graph(file, threads)
    return lambda inputs: _in_rows(run, graph, dict(inputs))


def _in_rows(run, graph: GraphCard, inputs: dict[str, np.ndarray]) -> Outputs:
    """Runs a graph on as many rows at a time as it takes, and joins its outputs."""
    expected = {card.name: card for card in graph.inputs}
    if inputs.keys() != expected.keys():
        raise UserError(f"the graph takes {', '.join(sorted(expected))}, received "
                        f"{', '.join(sorted(inputs))}; give the features of `extract`.")
    inputs = {name: _fitting(np.asarray(values), expected[name])
              for name, values in inputs.items()}
    counts = {len(values) for values in inputs.values()}
    if len(counts) > 1:
        raise UserError("compare takes as many first as second images; give pairs.")
    count, step = counts.pop(), graph.rows or _MOST_ROWS
    if not count:
        return {output.name: np.empty((0, *output.shape[1:]), output.dtype)
                for output in graph.outputs}
    return joined(
        {name: values[: count - start] for name, values in run(
            {name: _filled(values[start : start + step], graph.rows)
             for name, values in inputs.items()}).items()}
        for start in range(0, count, step))


def _fitting(values: np.ndarray, card: TensorCard) -> np.ndarray:
    """Returns an input as the graph takes it."""
    if list(values.shape[1:]) != card.shape[1:] or not np.can_cast(
            values.dtype, card.dtype, "same_kind"):
        shape = [size or "n" for size in card.shape]
        raise UserError(f"{card.name} must be {card.dtype} {shape}, received {values.dtype} "
                        f"{list(values.shape)}; give images of another size to embed or extract.")
    return np.ascontiguousarray(values, card.dtype)


def _filled(rows: np.ndarray, count: int | None) -> np.ndarray:
    """Repeats the last row until there are `count`, if that is given."""
    if count is None or len(rows) == count:
        return rows
    return np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), 0)])
