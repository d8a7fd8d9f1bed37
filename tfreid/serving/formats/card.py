"""The file `model.json` beside an exported model: all that its caller must know."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Optional

import numpy as np
from pydantic import TypeAdapter

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import as_path
from tfrecords.writing import write_json

CARD_NAME = "model.json"
FIX = "copy the whole folder again, or export again"


@dataclasses.dataclass(frozen=True)
class TensorCard:
    """An input or output: its name, shape with None for a free number of rows, and type."""

    name: str
    shape: list[Optional[int]]
    dtype: str


@dataclasses.dataclass(frozen=True)
class GraphCard:
    """One file of the model, with its inputs and outputs in the order of the file."""

    file: str
    inputs: list[TensorCard]
    outputs: list[TensorCard]

    @property
    def rows(self) -> int | None:
        """Rows of every call, or None if their number is free."""
        return self.inputs[0].shape[0]


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What `model.json` says.

    Attributes:
        format: `litert`, `onnx` or `openvino`.
        precision: `float32`, `float16`, `int8` or `int16x8`.
        name: Name of the recipe.
        system: `embedding`, `triplet`, `csn` or `siamese`.
        backbone: Name of the backbone.
        height: Height of the images that the graph takes, in pixels.
        width: Their width.
        colors: Order of the channels.
        values: Range of the colours, before `mean` and `deviation`.
        resize: How images become that size.
        max_pixels: Files of more pixels are refused.
        normalized: Whether embeddings are unit vectors.
        metric: The distance that ranks them.
        graphs: `extract`, and `compare` of systems that compare pairs.
        thresholds: Metric -> calibrated threshold, as in `thresholds.json`; empty without one.
        weights: Fingerprint of the weights.
        license: Under which terms the model may be used.
        measured: Differences to the trained model, and what the precision costs.
        weights_chosen_on: Which images chose the weights, `validation` or `test`; None if none did.
        profile: The loader that the files are for, a value of `--profile`.
        layout: Order of the axes of images: `NHWC` or `NCHW`.
        mean: What the caller subtracts from each colour; zeros where the graph normalises.
        deviation: What the caller then divides each colour by.
    """

    format: str
    precision: str
    name: str
    system: str
    backbone: str
    height: int
    width: int
    colors: str
    values: list[int]
    resize: str
    max_pixels: int
    normalized: bool
    metric: str
    graphs: dict[str, GraphCard]
    thresholds: dict[str, Any]
    weights: str
    license: str
    measured: dict[str, Any]
    weights_chosen_on: Optional[str] = None
    profile: str = "generic"
    layout: str = "NHWC"
    mean: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.0, 0.0])
    deviation: list[float] = dataclasses.field(default_factory=lambda: [1.0, 1.0, 1.0])

    @property
    def image_shape(self) -> list[int]:
        """Shape of an image as the graph takes it."""
        size = [self.height, self.width]
        return [3, *size] if self.layout == "NCHW" else [*size, 3]


_CARD = TypeAdapter(ModelCard)


def write_card(card: ModelCard, folder: Path) -> None:
    """Writes `model.json`."""
    write_json(folder / CARD_NAME, dataclasses.asdict(card))


def read_card(folder: str | Path) -> ModelCard:
    """Reads `model.json`.

    Raises:
        UserError: If it is missing, or is not what an export wrote.
    """
    path = as_path(folder) / CARD_NAME
    if not path.is_file():
        raise UserError(f"{folder} has no {CARD_NAME}; name a folder of `tfreid export --format`.")
    content = read_json(path, FIX)
    try:
        card = _CARD.validate_json(json.dumps(content), strict=True)
        if min(card.height, card.width) < 1 or not len(card.mean) == len(card.deviation) == 3 or (
                card.graphs["extract"].inputs[0].shape[1:] != card.image_shape):
            raise ValueError("no graph of such images")
        for graph in card.graphs.values():
            for tensor in (*graph.inputs, *graph.outputs):
                np.dtype(tensor.dtype)
    except (IndexError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} is not the file of an export; {FIX}.") from None
    return card
