"""What detectors give, read as boxes of people: YOLOX and SSD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

READ = ("YOLOX ([1, n, 5 + classes] of strides 8, 16 and 32) and SSD ([1, 1, n, 7], or outputs "
        "named boxes [1, n, 4], scores [1, n] and labels [1, n], or boxes and scores "
        "[1, n, classes])")
_STRIDES = (8, 16, 32)
# Words in the names of SSD's outputs; the first kind that fits counts.
_KINDS = {"scores": ("score", "conf"), "labels": ("label", "class"), "boxes": ("box",)}
_EVERY_CLASS = "multiclass"  # TensorFlow's scores of all classes, beside those of the best one
# Sides of boxes are exponentials; larger ones are no boxes.
_LARGEST_LOGARITHM = 20.0


class Found(NamedTuple):
    """Boxes of one image.

    Attributes:
        ends: Left, top, right and bottom [n, 4], in pixels of the input (YOLOX) or in parts of its
            width and height (SSD).
        scores: Confidences [n].
    """

    ends: np.ndarray
    scores: np.ndarray


def is_yolox(outputs: Mapping[str, np.ndarray], size: tuple[int, int]) -> bool:
    """Tells whether the outputs are YOLOX's, for an input of some height and width."""
    shapes = [output.shape for output in outputs.values()]
    return len(shapes) == 1 and len(shapes[0]) == 3 and (
        shapes[0][1] == len(_cells(size)[0]) and shapes[0][2] > 5)


def is_ssd(outputs: Mapping[str, np.ndarray]) -> bool:
    """Tells whether the outputs are those of SSD."""
    return _has_rows(outputs) or _ssd_parts(outputs) is not None


def class_count(outputs: Mapping[str, np.ndarray]) -> int | None:
    """Returns how many classes the outputs have a column for, None if they name one each box."""
    if len(outputs) == 1:
        return None if _has_rows(outputs) else next(iter(outputs.values())).shape[2] - 5
    _, scores, labels = _ssd_parts(outputs)
    return scores.shape[1] if labels is None else None


def read_yolox(outputs: Mapping[str, np.ndarray], size: tuple[int, int], person: int,
               least: float) -> Found:
    """Reads YOLOX's output, of the grid or decoded.

    Each row is centre x, centre y, width, height, the probability of an object, and those of the
    classes. Of the grid, a row of the cell (i, j) of stride s means the centre s (x + i, y + j) and
    the sides s exp(w), s exp(h): Ge et al., "YOLOX: exceeding YOLO series in 2021" (2021), and
    equation 1 to 4 of Redmon and Farhadi, "YOLOv3" (2018), without anchors.

    Args:
        outputs: Name -> array; see `is_yolox`.
        size: Height and width of the input.
        person: Which class is a person.
        least: Boxes of a lower confidence are left out.
    """
    (rows,), = outputs.values()
    scores = rows[:, 4] * rows[:, 5 + person]
    centres, sides = rows[:, :2], rows[:, 2:4]
    # Of the grid, centres are mostly inside their cell, decoded ones all over the image.
    if np.nanmedian(centres[:, 0]) < size[1] / 8:
        cells, strides = _cells(size)
        centres = (centres + cells) * strides
        sides = np.exp(np.minimum(sides, _LARGEST_LOGARITHM)) * strides
    return _confident(np.hstack([centres - sides / 2, centres + sides / 2]), scores, least)


def read_ssd(outputs: Mapping[str, np.ndarray], size: tuple[int, int], person: int,
             least: float) -> Found:
    """Reads SSD's outputs (Liu et al., "SSD: single shot multibox detector", ECCV 2016).

    Rows [1, 1, n, 7] are image, class, confidence, left, top, right, bottom. Boxes are left, top,
    right, bottom, but top, left, bottom, right where TensorFlow names them `detection_boxes`. All
    may be in pixels of the input or in parts of it.

    Args:
        outputs: Name -> array; see `is_ssd`.
        size: Height and width of the input.
        person: Which class is a person.
        least: Boxes of a lower confidence are left out.
    """
    if _has_rows(outputs):
        ((rows,),), = outputs.values()
        rows = rows[(rows[:, 0] >= 0) & (rows[:, 1] == person)]
        ends, scores = rows[:, 3:], rows[:, 2]
    else:
        ends, scores, labels = _ssd_parts(outputs)
        scores = scores[:, person] if labels is None else np.where(labels == person, scores, -1)
        if "detection_boxes" in _find(outputs, "boxes"):
            ends = ends[:, [1, 0, 3, 2]]
    found = _confident(ends, scores, least)
    in_pixels = len(found.ends) and np.abs(found.ends).max() > 2
    return found._replace(ends=found.ends / np.array([*size[::-1]] * 2)) if in_pixels else found


def _confident(ends: np.ndarray, scores: np.ndarray, least: float) -> Found:
    kept = (scores >= least) & (scores > 0) & np.isfinite(ends).all(1)
    return Found(ends[kept].astype(float), scores[kept].astype(float))


def _cells(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns columns and rows of the cells [n, 2] of all strides, and the strides [n, 1]."""
    cells = [np.argwhere(np.ones((size[0] // stride, size[1] // stride)))[:, ::-1]
             for stride in _STRIDES]
    return np.concatenate(cells), np.repeat(_STRIDES, [len(some) for some in cells])[:, None]


def _has_rows(outputs: Mapping[str, np.ndarray]) -> bool:
    shapes = [output.shape for output in outputs.values()]
    return len(shapes) == 1 and len(shapes[0]) == 4 and (
        shapes[0][:2] == (1, 1) and shapes[0][3] == 7)


def _ssd_parts(outputs: Mapping[str, np.ndarray],
               ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None] | None:
    """Returns boxes [n, 4] and scores and labels [n], or scores [n, classes] and None."""
    scores, labels, boxes = (outputs.get(_find(outputs, kind)) for kind in _KINDS)
    if boxes is None or scores is None or boxes.shape[-1] != 4:
        return None
    boxes = boxes.reshape(-1, 4)
    if labels is None:
        scores = scores.reshape(-1, scores.shape[-1])
    else:
        scores, labels = scores.ravel(), labels.ravel()
    lengths = {len(part) for part in (boxes, scores, labels) if part is not None}
    return (boxes, scores, labels) if len(lengths) == 1 else None


def _find(outputs: Mapping[str, np.ndarray], kind: str) -> str:
    """Returns the first output of a kind by its name, rather one after suppression; or ''."""
    names = [name for name in outputs if next(
        (known for known, words in _KINDS.items() if any(word in name.lower() for word in words)),
        None) == kind and _EVERY_CLASS not in name]
    return min(names, key=lambda name: "raw" in name.lower(), default="")
