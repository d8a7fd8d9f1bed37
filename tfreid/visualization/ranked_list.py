"""Draws queries next to their nearest gallery images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords.errors import UserError
from tfreid.visualization.page import (
    FRAME,
    MUTED,
    column,
    fit_image,
    image,
    note,
    row,
    save,
    text,
)

# Pixels: between columns, and between the query and its results. Width of a letter of the note.
_GAP, _QUERY_GAP = 12, 34
_LETTER = 5.2
_MATCH = (0, 146, 80)
_MISMATCH = (208, 48, 40)
_QUERY = (90, 90, 90)
# Frame and sign of a result, by whether it shows the query's identity.
_SIGNS = {True: (_MATCH, "\N{CHECK MARK}"), False: (_MISMATCH, "\N{MULTIPLICATION X}"),
          None: (_QUERY, "")}
_EXPLANATION = (
    "AP: average precision of the query; in brackets, the number of gallery images of its identity "
    "that count. Green frame and tick: the query's identity; red frame and cross: another one."
)


@dataclass(frozen=True)
class RankedImage:
    """One gallery result.

    Attributes:
        image: uint8 RGB [h, w, 3].
        is_match: Whether it shows the query's identity; None if that is unknown.
        camera: Its camera, or what to call it; unknown if negative.
        distance: Its distance to the query.
    """

    image: np.ndarray
    is_match: bool | None
    camera: int | str
    distance: float


@dataclass(frozen=True)
class RankedRow:
    """A query and its results.

    Attributes:
        query: uint8 RGB [h, w, 3].
        identity: The query's identity, or what to call it.
        camera: The query's camera, or what to call it; unknown if negative.
        results: Gallery images, best first.
        average_precision: The query's average precision in 0..1, if known.
        relevant: Number of gallery images relevant to the query, if known.
    """

    query: np.ndarray
    identity: int | str
    camera: int | str
    results: Sequence[RankedImage]
    average_precision: float | None = None
    relevant: int | None = None

    def score(self) -> str:
        """Returns the average precision in percent, with the number of relevant images."""
        if self.average_precision is None:
            return ""
        relevant = "" if self.relevant is None else f" ({self.relevant})"
        return f"AP {100 * self.average_precision:.1f} %{relevant}"


def person_name(identity: int | str) -> str:
    """Returns what to call an identity."""
    return identity if isinstance(identity, str) else f"person {identity}"


def camera_name(camera: int | str) -> str:
    """Returns what to call a camera; a negative one is unknown."""
    if isinstance(camera, str):
        return camera
    return f"camera {camera}" if camera >= 0 else "camera unknown"


def draw_ranked_lists(
    rows: Sequence[RankedRow], path: str | os.PathLike, cell_size: tuple[int, int] = (160, 80),
    explanation: str | None = None, remark: str = ""
) -> None:
    """Draws one row per query, its results framed green (same identity) or red, into one PNG.

    Results of which nothing is known are framed grey, as the queries are.

    Images of any size are fitted into a common cell with their aspect ratio kept. Under a result
    are its camera and its distance, with a tick or a cross for readers who cannot tell the colours
    apart; under a query, if known, its average precision and the number of its relevant images
    (Almazan et al., "Re-ID done right", 2018, Fig. 4).

    Args:
        rows: Queries with their results.
        path: PNG file; its folder is created if it is missing.
        cell_size: Height and width in pixels of the space for one image.
        explanation: Small print below. Defaults to that of the average precision, where it is
            known.
        remark: A sentence to follow it.

    Raises:
        UserError: If there are no rows.
        ValueError: If an image is not RGB uint8.
    """
    if not rows:
        raise UserError("there is no query to draw; choose at least one.")
    scored = any(found.score() for found in rows)
    places = max(len(found.results) for found in rows)
    width = cell_size[1] + 2 * FRAME
    heads = [column(text(head, 7.5, MUTED, bold=True), width=width, align="center")
             for head in ("query", *map(str, range(1, places + 1)))]
    boxes = [_line(heads)]
    for found in rows:
        query = [person_name(found.identity), camera_name(found.camera)]
        cells = [_cell(found.query, cell_size, _QUERY, query + [found.score() or " "] * scored)]
        for result in found.results:
            color, sign = _SIGNS[result.is_match]
            cells.append(_cell(
                result.image, cell_size, color,
                [f"{sign} {result.distance:.3f}".strip(), camera_name(result.camera)]))
        boxes.append(_line(cells))
    explanation = explanation or (_EXPLANATION if scored else "")
    if explanation or remark:
        across = (places + 1) * (width + _GAP) + _QUERY_GAP
        boxes.append(note(f"{explanation} {remark}".strip(), int(across / _LETTER), 6.25))
    save(path, *boxes, margin=16)


def _line(cells):
    """Packs a query's cell and those of its results."""
    query, *results = cells
    return row(query, row(*results, gap=_GAP), gap=_QUERY_GAP) if results else query


def _cell(pixels, size, color, captions):
    """Shows an image in the middle of its cell, with the frame close around it."""
    height, width = size
    fitted = fit_image(pixels, height, width)
    above, left = (height - fitted.shape[0]) // 2, (width - fitted.shape[1]) // 2
    framed = cv2.copyMakeBorder(fitted, *[FRAME] * 4, cv2.BORDER_CONSTANT, value=color)
    cell = cv2.copyMakeBorder(
        framed, above, height - fitted.shape[0] - above, left, width - fitted.shape[1] - left,
        cv2.BORDER_CONSTANT, value=(255,) * 3)
    first, *others = captions
    return column(image(cell, thickness=0), text(first, 7, color, bold=True),
                  *(text(caption, 6.25, MUTED) for caption in others),
                  gap=3, align="center", width=width + 2 * FRAME)
