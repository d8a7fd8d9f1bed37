"""Images that are boxes of larger pictures, cut out and stored as PNG."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Callable

from tfrecords.image_headers import CorruptImage, header_size
from tfrecords.images import decode_pixels, png_of
from tfrecords.source import FolderSource

if TYPE_CHECKING:
    import numpy as np

Box = tuple[int, int, int, int]
_BOX_NAME = re.compile(r"(-?\d+)_(-?\d+)_(-?\d+)_(-?\d+)\.png")
_HEADER_BYTES = 1 << 16


class SceneSource(FolderSource):
    """Boxes of the scenes below a folder; `box_path` returns their paths.

    Consecutive boxes of a scene share one decoding.
    """

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[str], bytes]]:
        """Yields a function from a box's path to its bytes."""
        decode = functools.lru_cache(maxsize=1)(self._decode)
        yield lambda path: _cut(decode, path)

    def size(self, path: str) -> int:
        """Returns the size of a box's scene in bytes, -1 if it does not exist."""
        return super().size(path.rpartition("/")[0])

    def scene_size(self, scene: str) -> tuple[int, int] | None:
        """Returns height and width of a scene in pixels, or None if its header is unreadable."""
        try:
            with self._open_file(scene) as stream:
                start = stream.read(_HEADER_BYTES)
                with contextlib.suppress(CorruptImage):
                    return header_size(start)
                return header_size(start + stream.read())
        except (OSError, CorruptImage):
            return None

    def _decode(self, scene: str) -> np.ndarray:
        return decode_pixels(self._read(scene))


def box_path(scene: str, box: Box) -> str:
    """Returns the path of a box (x, y, width, height): SCENE/X_Y_WIDTH_HEIGHT.png."""
    return f"{scene}/{'_'.join(map(str, box))}.png"


def clip_box(box: Box, height: int, width: int) -> tuple[slice, slice] | None:
    """Returns the rows and columns of a box inside a picture, or None if it lies outside."""
    x, y, box_width, box_height = box
    left, right = max(x, 0), min(x + box_width, width)
    top, bottom = max(y, 0), min(y + box_height, height)
    return None if left >= right or top >= bottom else (slice(top, bottom), slice(left, right))


def _cut(decode: Callable[[str], np.ndarray], path: str) -> bytes:
    scene, _, name = path.rpartition("/")
    match = _BOX_NAME.fullmatch(name)
    if match is None:
        raise CorruptImage("not a box of a scene")
    pixels = decode(scene)
    inside = clip_box(tuple(map(int, match.groups())), *pixels.shape[:2])
    if inside is None:
        raise CorruptImage("the box lies outside its scene")
    return png_of(pixels[inside])
