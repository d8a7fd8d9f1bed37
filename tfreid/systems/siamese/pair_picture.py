"""Pictures of two images and how far apart a network finds them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import cv2
import numpy as np

from tfreid.visualization.images import fit_image
from tfreid.visualization.page import MUTED, Page

# Okabe and Ito's palette, which stays apart under colour blindness.
_ONE_PERSON, _TWO_PERSONS = (0, 158, 115), (213, 94, 0)
_SMALL_HEIGHT, _BORDER, _LINE = 128, 3, 16
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Inches.
_MARGIN, _HEAD, _FOOT, _GAP, _HEIGHT = 0.4, 1.15, 0.75, 0.35, 3.6
_NARROWEST, _NAME_LETTERS = 5.6, 34


def draw_small_pair(first: np.ndarray, second: np.ndarray, is_match: bool, distance: float,
                    probability: float) -> np.ndarray:
    """Draws a pair for a grid of many: green or red around it says whether it is one person.

    Args:
        first: uint8 RGB [h, w, 3].
        second: uint8 RGB [h, w, 3].
        is_match: Whether both show one person.
        distance: Euclidean, of the embeddings.
        probability: That they do, by the network.

    Returns:
        uint8 RGB, of one size for images of one size.
    """
    width = max(1, round(_SMALL_HEIGHT * first.shape[1] / first.shape[0]))
    images = np.hstack([cv2.resize(image, (width, _SMALL_HEIGHT)) for image in (first, second)])
    color = _ONE_PERSON if is_match else _TWO_PERSONS
    framed = cv2.copyMakeBorder(images, *[_BORDER] * 4, cv2.BORDER_CONSTANT, value=color)
    strip = np.full((_LINE, framed.shape[1], 3), _WHITE, np.uint8)
    cv2.putText(strip, f"d {distance:.2f} p {probability:.2f}", (2, _LINE - 4),
                cv2.FONT_HERSHEY_SIMPLEX, 0.38, _BLACK, 1, cv2.LINE_AA)
    return np.vstack([framed, strip])


def draw_verdict(
    images: tuple[np.ndarray, np.ndarray],
    names: tuple[str, str],
    heading: str,
    distances: Mapping[str, float],
    path: str | os.PathLike,
) -> None:
    """Draws two images, the verdict on them and their distances above (Bojja, Figure 1.3).

    Args:
        images: uint8 RGB [h, w, 3], of any sizes.
        names: What to call them.
        heading: The verdict.
        distances: Name -> distance of the embeddings.
        path: PNG file; its folder is made if it is missing.
    """
    shown = [fit_image(image, round(100 * _HEIGHT), round(100 * _HEIGHT)) for image in images]
    widths = [image.shape[1] / 100 for image in shown]
    page = Page(max(sum(widths) + _GAP + 2 * _MARGIN, _NARROWEST), _HEAD + _HEIGHT + _FOOT)
    page.write(_MARGIN, 0.3, heading, size=12, weight="bold")
    words = [f"{name} {value:.4f}" for name, value in distances.items()]
    for line, some in enumerate((words[:3], words[3:])):
        page.write(_MARGIN, 0.6 + 0.22 * line, ",  ".join(some), size=8.5)
    left = (page.width - sum(widths) - _GAP) / 2
    for image, width, name in zip(shown, widths, names):
        height = image.shape[0] / 100
        page.show(image, left, _HEAD + (_HEIGHT - height), width, height)
        page.write(left, _HEAD + _HEIGHT + 0.16, _shortened(name), size=7.5, color=MUTED)
        left += width + _GAP
    page.save(path)


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_LETTERS else f"...{name[3 - _NAME_LETTERS:]}"
