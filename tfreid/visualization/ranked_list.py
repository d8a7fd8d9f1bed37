"""Draws queries next to their nearest gallery images."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfrecords.errors import UserError
from tfreid.visualization.images import fit_image

_DPI = 100
_FRAME = 5
_GAP = 12
# Between the query and its results, and above the rows for the column heads.
_QUERY_GAP = 34
_HEAD = 34
# Under each image: two lines of text, and a third where queries have their average precision.
_CAPTION = 40
_SCORE = 14
# The foot's lines, and the width of its letters.
_FOOT_LINE = 14
_LETTER = 5.0
_MARGIN = 16
_PAPER = 255
_MATCH = (0, 146, 80)
_MISMATCH = (208, 48, 40)
_QUERY = (90, 90, 90)
_MUTED = "#555555"
_EXPLANATION = (
    "AP: the query's average precision; in brackets, the number of gallery images that count as "
    "its matches. Green frame and tick: the query's person; red frame and cross: another."
)


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
    """A query image, RGB uint8 [h, w, 3], its identity and camera, and its results in order.

    `average_precision`, in 0..1, and `relevant`, how many gallery images are relevant to the
    query, stand under it where they are known.
    """

    query: np.ndarray
    identity: int
    camera: int
    results: Sequence[RankedImage]
    average_precision: float | None = None
    relevant: int | None = None

    def score(self) -> str:
        """Returns the average precision in percent, with the number of relevant images."""
        if self.average_precision is None:
            return ""
        relevant = "" if self.relevant is None else f" ({self.relevant})"
        return f"AP {100 * self.average_precision:.1f} %{relevant}"


def camera_name(camera: int) -> str:
    """Returns a camera in words; a negative one is unknown."""
    return f"camera {camera}" if camera >= 0 else "camera unknown"


def draw_ranked_lists(
    rows: Sequence[RankedRow], path: str | os.PathLike, cell_size: tuple[int, int] = (160, 80)
) -> None:
    """Draws one row per query, its results framed green (same person) or red, into one PNG.

    Images of any size are fitted into a common cell with their aspect kept. Under a result stand
    its camera and its distance, with a tick or a cross for readers who cannot tell the colours;
    under a query its average precision and, in brackets, the number of its relevant images
    (Almazan et al., "Re-ID done right", 2018, Fig. 4), where the row has them.

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
    sheet = _Sheet(len(rows), columns, cell_size, scored=any(row.score() for row in rows))
    for index, row in enumerate(rows):
        sheet.add_query(index, row)
        for place, result in enumerate(row.results):
            sheet.add_result(index, place, result)
    sheet.save(Path(path))


class _Sheet:
    """A pixel canvas for the images and the texts to write over it."""

    def __init__(self, rows: int, columns: int, cell_size: tuple[int, int], scored: bool):
        self._cell_height, self._cell_width = cell_size
        self._caption_height = _CAPTION + (_SCORE if scored else 0)
        width = self._left(columns) - _GAP + _MARGIN
        foot = textwrap.wrap(_EXPLANATION, int((width - 2 * _MARGIN) / _LETTER)) if scored else []
        bottom = self._top(rows) + _FOOT_LINE * len(foot)
        self._canvas = np.full((bottom + _MARGIN, width, 3), _PAPER, np.uint8)
        self._texts: list[tuple[float, float, str, dict]] = []
        for place, line in enumerate(foot):
            self._write(_MARGIN, self._top(rows) + _FOOT_LINE * (place + 0.5), line, ha="left",
                        fontsize=7.5, color=_MUTED)
        self._head(0, "query", self._left(-1))
        for place in range(columns):
            self._head(place, str(place + 1), self._left(place))

    def add_query(self, index: int, row: RankedRow) -> None:
        left, top = self._left(-1), self._top(index)
        self._place(row.query, left, top, _QUERY)
        self._caption(left, top, f"person {row.identity}", camera_name(row.camera), _QUERY)
        self._write(self._middle(left), self._below(top) + 40, row.score(), fontsize=7.5,
                    color=_MUTED)

    def add_result(self, index: int, place: int, result: RankedImage) -> None:
        left, top = self._left(place), self._top(index)
        colour = _MATCH if result.is_match else _MISMATCH
        self._place(result.image, left, top, colour)
        sign = "\N{CHECK MARK}" if result.is_match else "\N{MULTIPLICATION X}"
        self._caption(left, top, f"{sign} {result.distance:.3f}", camera_name(result.camera),
                      colour)

    def save(self, path: Path) -> None:
        height, width = self._canvas.shape[:2]
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
        FigureCanvasAgg(figure)
        # One figure pixel per canvas pixel, so that the images stay sharp.
        figure.figimage(self._canvas, resize=False, origin="upper")
        for x, y, text, style in self._texts:
            figure.text(x / width, 1.0 - y / height, text, va="center", **style)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", dpi=_DPI)

    def _row_height(self) -> int:
        return self._cell_height + 2 * _FRAME + self._caption_height + _GAP

    def _top(self, index: int) -> int:
        return _HEAD + index * self._row_height()

    def _left(self, place: int) -> int:
        """Left edge of a result's frame; place -1 is the query."""
        step = self._cell_width + 2 * _FRAME + _GAP
        return _MARGIN + (place + 1) * step + (_QUERY_GAP - _GAP if place >= 0 else 0)

    def _middle(self, left: int) -> float:
        return left + _FRAME + self._cell_width / 2

    def _below(self, top: int) -> float:
        """Lower edge of the frames of a row."""
        return top + self._cell_height + 2 * _FRAME

    def _head(self, place: int, text: str, left: int) -> None:
        self._write(self._middle(left), _HEAD / 2, text, fontsize=9, color=_MUTED, weight="bold")

    def _write(self, x: float, y: float, text: str, ha: str = "center", **style) -> None:
        self._texts.append((x, y, text, {"ha": ha, **style}))

    def _place(self, image: np.ndarray, left: int, top: int, colour: tuple[int, int, int]) -> None:
        """Draws the image in the middle of its cell, with the frame close around it."""
        fitted = fit_image(image, self._cell_height, self._cell_width)
        height, width = fitted.shape[:2]
        top += (self._cell_height - height) // 2
        left += (self._cell_width - width) // 2
        self._canvas[top : top + height + 2 * _FRAME, left : left + width + 2 * _FRAME] = colour
        top, left = top + _FRAME, left + _FRAME
        self._canvas[top : top + height, left : left + width] = fitted

    def _caption(
        self, left: int, top: int, first: str, second: str, colour: tuple[int, int, int]
    ) -> None:
        middle, below = self._middle(left), self._below(top)
        tint = tuple(channel / 255 for channel in colour)
        self._write(middle, below + 11, first, fontsize=8.5, color=tint, weight="bold")
        self._write(middle, below + 26, second, fontsize=7.5, color=_MUTED)
