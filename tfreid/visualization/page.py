"""Pages of images and texts, laid out by matplotlib's offset boxes.

Boxes nest: `row` and `column` pack boxes into one, and `save` writes boxes one below the other.
Lengths are pixels of the page.
"""

from __future__ import annotations

import functools
import os
import textwrap
from collections.abc import Mapping

import cv2
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.offsetbox import HPacker, OffsetBox, OffsetImage, TextArea, VPacker

from tfrecords.writing import whole_file

MUTED = (85, 85, 85)
DPI = 120
_POINTS = 72 / DPI
_BORDER = (187, 187, 187)
FRAME = 5
_NOTE_LETTERS = 100
_BAR, _PATCH = 14, 10


class _SharpImage(OffsetImage):
    """An image that begins at a whole pixel of the page."""

    def set_offset(self, xy):
        super().set_offset(np.rint(xy))


def fit_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scales an image to the largest size that fits, keeping its aspect ratio.

    Args:
        image: uint8 RGB [h, w, 3].
        height: Available height in pixels.
        width: Available width in pixels.

    Returns:
        uint8 RGB of at most [height, width, 3].

    Raises:
        ValueError: If the image is not RGB uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"images must be RGB uint8 [h, w, 3], received {image.dtype} of shape {image.shape}"
        )
    scale = min(height / image.shape[0], width / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def text(content: str, size: float = 8, color=(0, 0, 0), bold: bool = False) -> OffsetBox:
    """Returns lines of text of a size in points and an RGB colour in 0-255.

    Letters that the font lacks are escaped, and `$` is a letter as any other.
    """
    content = "".join(letter if letter == "\n" or drawable(letter)
                      else letter.encode("unicode_escape").decode() for letter in content)
    style = {"fontsize": size, "color": np.divide(color, 255), "weight": "bold" if bold else None,
             "parse_math": False}
    return TextArea(content, textprops=style, multilinebaseline=True)


def drawable(content: str) -> bool:
    """Returns whether the font has every letter."""
    return all(map(_has_glyph, content))


@functools.lru_cache(maxsize=4096)
def _has_glyph(letter: str) -> bool:
    return get_font(findfont(FontProperties())).get_char_index(ord(letter)) > 0


def note(content: str, letters: int = _NOTE_LETTERS, size: float = 8) -> OffsetBox:
    """Returns small print in lines of at most so many letters."""
    return text("\n".join(textwrap.wrap(content, letters)), size, MUTED)


def shortened(name: str, letters: int) -> str:
    """Returns the end of a name that is too long."""
    return name if len(name) <= letters else "\N{HORIZONTAL ELLIPSIS}" + name[1 - letters:]


def image(pixels: np.ndarray, frame: tuple[int, int, int] = _BORDER,
          thickness: int = 1) -> OffsetBox:
    """Returns an image at its own size in a frame, by default a thin grey one."""
    framed = cv2.copyMakeBorder(pixels, *[thickness] * 4, cv2.BORDER_CONSTANT, value=frame)
    return _SharpImage(framed, dpi_cor=False, interpolation="nearest")


def row(*boxes: OffsetBox, gap: float = 10, align: str = "top") -> OffsetBox:
    """Packs boxes from left to right."""
    return HPacker(children=boxes, pad=0, sep=gap * _POINTS, align=align)


def column(*boxes: OffsetBox, gap: float = 4, align: str = "left",
           width: float | None = None) -> OffsetBox:
    """Packs boxes from the top down, in a given width or in that of the widest."""
    return VPacker(children=boxes, pad=0, sep=gap * _POINTS, align=align, width=width)


def scale(norm: Normalize, colors: str, length: int, upright: bool = True) -> OffsetBox:
    """Returns a bar of colours with the values at its ends and in its middle."""
    gradient = matplotlib.colormaps[colors](np.linspace(0, 1, length))[..., :3]
    gradient = np.rint(255 * np.tile(gradient[np.newaxis], (_BAR, 1, 1))).astype(np.uint8)
    ticks = norm.inverse(np.array([0.0, 0.5, 1.0]))
    labels = [text(f"{tick:.0f}" if abs(tick) >= 10 else f"{tick:.2g}", 7) for tick in ticks]
    if upright:
        values = VPacker(children=labels[::-1], pad=0, mode="expand", height=length)
        return row(image(np.rot90(gradient)), values, gap=4)
    values = HPacker(children=labels, pad=0, mode="expand", width=length)
    return column(image(gradient), values)


def legend(colors: Mapping[str, tuple[int, int, int]]) -> OffsetBox:
    """Explains colours, one below the other: text -> RGB in 0-255."""
    return column(*(row(image(np.full((_PATCH, _PATCH, 3), color, np.uint8)), text(label, 7),
                        gap=6, align="center") for label, color in colors.items()))


def drawn(figure: Figure) -> np.ndarray:
    """Returns the pixels of a figure, uint8 RGB, to be shown as an image."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(path: str | os.PathLike, *boxes: OffsetBox, margin: float = 26, gap: float = 12) -> None:
    """Writes boxes one below the other into a PNG; its folder is created if it is missing."""
    figure = Figure(dpi=DPI)
    page = VPacker(children=boxes, pad=margin * _POINTS, sep=gap * _POINTS, align="left")
    figure.add_artist(page)
    bounds = page.get_bbox(FigureCanvasAgg(figure).get_renderer())
    size = np.ceil(bounds.size)
    figure.set_size_inches(size / DPI)
    page.set_offset((-bounds.x0, size[1] - bounds.y1))
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
