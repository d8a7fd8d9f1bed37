"""Pictures of two images and of their distance by a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from tfreid.visualization.page import MUTED, column, fit_image, image, row, save, shortened, text

# Okabe and Ito's palette, which stays apart under colour blindness.
_POSITIVE, _NEGATIVE = (0, 158, 115), (213, 94, 0)
_SMALL_HEIGHT, _BORDER, _LINE = 128, 3, 16
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
# Greatest height and width of an image in pixels; letters of a name.
_SIDE, _LETTERS = 432, 34


def draw_small_pair(first: np.ndarray, second: np.ndarray, is_match: bool, distance: float,
                    probability: float) -> np.ndarray:
    """Draws a pair for a grid, framed green for a positive pair and red for a negative one.

    Args:
        first: uint8 RGB [h, w, 3].
        second: uint8 RGB [h, w, 3].
        is_match: Whether both show one identity.
        distance: Euclidean distance of the embeddings.
        probability: The network's probability of a positive pair.

    Returns:
        uint8 RGB; its size depends only on the sizes of the images.
    """
    width = max(1, round(_SMALL_HEIGHT * first.shape[1] / first.shape[0]))
    images = np.hstack([cv2.resize(image, (width, _SMALL_HEIGHT)) for image in (first, second)])
    color = _POSITIVE if is_match else _NEGATIVE
    framed = cv2.copyMakeBorder(images, *[_BORDER] * 4, cv2.BORDER_CONSTANT, value=color)
    strip = np.full((_LINE, framed.shape[1], 3), _WHITE, np.uint8)
    cv2.putText(strip, f"d {distance:.2f} p {probability:.2f}", (2, _LINE - 4),
                cv2.FONT_HERSHEY_SIMPLEX, 0.38, _BLACK, 1, cv2.LINE_AA)
    return np.vstack([framed, strip])


def draw_verdict(images: tuple[np.ndarray, np.ndarray], names: tuple[str, str], heading: str,
                 figures: Iterable[Mapping[str, float]], path: str | os.PathLike) -> None:
    """Draws two images below the decision on them and their distances (Bojja, Figure 1.3).

    Args:
        images: uint8 RGB [h, w, 3], of any sizes.
        names: Names of the images.
        heading: The decision.
        figures: Groups of figures by name, which are written in lines of three.
        path: PNG file; its folder is created if it is missing.
    """
    shown = [
        column(image(fit_image(pixels, _SIDE, _SIDE)), text(shortened(name, _LETTERS), 7.5, MUTED))
        for pixels, name in zip(images, names)
    ]
    lines = []
    for group in figures:
        words = [f"{name} {value:.4f}" for name, value in group.items()]
        lines += [",  ".join(words[start : start + 3]) for start in range(0, len(words), 3)]
    save(
        path,
        text(heading, 12, bold=True),
        *(text(line, 8.5) for line in lines),
        row(*shown, gap=40, align="bottom"),
        margin=48,
    )
