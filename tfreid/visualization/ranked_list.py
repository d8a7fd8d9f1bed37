"""Draws queries next to their nearest gallery images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfrecords.errors import UserError

_DPI = 100
_FRAME = 5
_GAP = 12
# Between the query and its results, and above the rows for the column heads.
_QUERY_GAP = 34
_HEAD = 34
# Under each image: two lines of text.
_CAPTION = 40
_MARGIN = 16
_PAPER = 255
_MATCH = (0, 146, 80)
_MISMATCH = (208, 48, 40)
_QUERY = (90, 90, 90)


@dataclass(frozen=True)
class RankedImage:
    """One gallery result: RGB uint8 [h, w, 3], whether it is the query's person, camera, distance.

    A negative camera is unknown.
    """

    image: np.ndarray
    is_match: bool
    camera: int
    distance: float


@dataclass(frozen=True)
class RankedRow:
    """A query image, RGB uint8 [h, w, 3], its identity and camera, and its results in order."""

    query: np.ndarray
    identity: int
    camera: int
    results: Sequence[RankedImage]


def draw_ranked_lists(
    rows: Sequence[RankedRow], path: str | os.PathLike, cell_size: tuple[int, int] = (160, 80)
) -> None:
    """Draws one row per query, its results framed green (same person) or red, into one PNG.

    Images of any size are fitted into a common cell with their aspect kept. Under a result stand
    its camera and its distance, with a tick or a cross for readers who cannot tell the colours.

    Args:
        rows: the queries; `top_matches` finds their results.
        path: the PNG file; its folder is made if it is missing.
        cell_size: height and width in pixels of the space for one image.

    Raises:
        UserError: no rows.
        ValueError: an image that is not RGB uint8.
    """
    if not rows:
        raise UserError("there is no query to draw; choose at least one.")
    columns = max(len(row.results) for row in rows)
    sheet = _Sheet(len(rows), columns, cell_size)
    for index, row in enumerate(rows):
        sheet.add_query(index, row)
        for place, result in enumerate(row.results):
            sheet.add_result(index, place, result)
    sheet.save(Path(path))


class _Sheet:
    """A pixel canvas for the images and the texts to write over it."""

    def __init__(self, rows: int, columns: int, cell_size: tuple[int, int]):
        self._cell_height, self._cell_width = cell_size
        height = _HEAD + rows * self._row_height() + _MARGIN
        width = self._left(columns) - _GAP + _MARGIN
        self._canvas = np.full((height, width, 3), _PAPER, np.uint8)
        self._texts: list[tuple[float, float, str, dict]] = []
        self._head(0, "query", self._left(-1))
        for place in range(columns):
            self._head(place, str(place + 1), self._left(place))

    def add_query(self, index: int, row: RankedRow) -> None:
        left, top = self._left(-1), self._top(index)
        self._place(row.query, left, top, _QUERY)
        self._caption(left, top, f"person {row.identity}", _camera(row.camera), _QUERY)

    def add_result(self, index: int, place: int, result: RankedImage) -> None:
        left, top = self._left(place), self._top(index)
        colour = _MATCH if result.is_match else _MISMATCH
        self._place(result.image, left, top, colour)
        sign = "\N{CHECK MARK}" if result.is_match else "\N{MULTIPLICATION X}"
        self._caption(left, top, f"{sign} {result.distance:.3f}", _camera(result.camera), colour)

    def save(self, path: Path) -> None:
        height, width = self._canvas.shape[:2]
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(figure)
        # One figure pixel per canvas pixel, so that the images stay sharp.
        figure.figimage(self._canvas, resize=False, origin="upper")
        for x, y, text, style in self._texts:
            figure.text(x / width, 1.0 - y / height, text, ha="center", va="center", **style)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=_DPI)

    def _row_height(self) -> int:
        return self._cell_height + 2 * _FRAME + _CAPTION + _GAP

    def _top(self, index: int) -> int:
        return _HEAD + index * self._row_height()

    def _left(self, place: int) -> int:
        """Left edge of a result's frame; place -1 is the query."""
        step = self._cell_width + 2 * _FRAME + _GAP
        return _MARGIN + (place + 1) * step + (_QUERY_GAP - _GAP if place >= 0 else 0)

    def _middle(self, left: int) -> float:
        return left + _FRAME + self._cell_width / 2

    def _head(self, place: int, text: str, left: int) -> None:
        style = {"fontsize": 9, "color": "#555555", "weight": "bold"}
        self._texts.append((self._middle(left), _HEAD / 2, text, style))

    def _place(self, image: np.ndarray, left: int, top: int, colour: tuple[int, int, int]) -> None:
        """Draws the image in the middle of its cell, with the frame close around it."""
        fitted = _fit(image, self._cell_height, self._cell_width)
        height, width = fitted.shape[:2]
        top += (self._cell_height - height) // 2
        left += (self._cell_width - width) // 2
        self._canvas[top : top + height + 2 * _FRAME, left : left + width + 2 * _FRAME] = colour
        top, left = top + _FRAME, left + _FRAME
        self._canvas[top : top + height, left : left + width] = fitted

    def _caption(
        self, left: int, top: int, first: str, second: str, colour: tuple[int, int, int]
    ) -> None:
        below = top + self._cell_height + 2 * _FRAME
        tint = tuple(channel / 255 for channel in colour)
        first_style = {"fontsize": 8.5, "color": tint, "weight": "bold"}
        second_style = {"fontsize": 7.5, "color": "#555555"}
        self._texts.append((self._middle(left), below + 11, first, first_style))
        self._texts.append((self._middle(left), below + 26, second, second_style))


def _fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales an image to the largest size that fits, keeping its aspect."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"images must be RGB uint8 [h, w, 3], received {image.dtype} of shape {image.shape}"
        )
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _camera(camera: int) -> str:
    return f"camera {camera}" if camera >= 0 else "camera unknown"
