"""Decodes encoded images, to check that they are whole or to convert them.

Pillow is not used: it takes twice as long, accepts PNG files that lack their last bytes and misses
some damage in PNG data that OpenCV finds.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tfrecords.image_headers import (
    MAX_BYTES,
    STORED_FORMATS,
    CorruptImage,
    check_whole,
    exif_orientation,
    header_size,
)

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
MAX_PIXELS = 40_000_000
# TensorFlow decodes no JPEG of 2^29 numbers or more.
DECODABLE_PIXELS = (2**29 - 1) // 3

# EXIF orientations whose rows or columns run backwards, after those from 5 on are transposed.
UPSIDE_DOWN, MIRRORED = (3, 4, 7, 8), (2, 3, 6, 7)

# What the decoders' libraries print, and those of their lines that mean lost pixels.
_REMARK = re.compile(
    r"Corrupt JPEG data: |Premature end of JPEG|Inconsistent progression|Invalid SOS|Warning: unk|"
    r"Unknown Adobe|Application transferred|Unsupported marker|libpng |\[ *(WARN|ERROR|INFO):")
_LOSS = re.compile(
    r"[Pp]remature end|bad \w+ code|instead of RST|Inconsistent progression|Invalid SOS")
_standard_error = threading.Lock()


class ImageInfo(NamedTuple):
    """What decoding an image tells.

    Attributes:
        format: "jpeg", "png", "bmp" or "webp".
        height: Height in pixels, as in the file (no EXIF rotation).
        width: Width in pixels, as in the file.
        remark: What the decoder's library printed about a blemish that costs no pixels, or "".
    """

    format: str
    height: int
    width: int
    remark: str = ""


def inspect_image(data: bytes, max_pixels: int = MAX_PIXELS) -> ImageInfo:
    """Decodes an image fully.

    Args:
        data: A JPEG, PNG, BMP or WebP.
        max_pixels: Images of more pixels are not decoded.

    Raises:
        CorruptImage: If the bytes are of no format that is read, declare too many pixels, end too
            early or do not decode fully.
    """
    import cv2

    # IMREAD_UNCHANGED keeps the stored orientation, as TensorFlow's decoder does.
    return _decode(data, cv2.IMREAD_UNCHANGED, max_pixels)[1]


def stored_image(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[bytes, ImageInfo]:
    """Checks an image and returns it as records store it, with what is known of it.

    A JPEG or PNG stays as it is if its pixels are those that a viewer shows. Others become a PNG of
    what a viewer shows: BMP and WebP (of an animation the first image), images that their EXIF tag
    turns, and PNG and WebP with transparent pixels, which are laid on white.

    Raises:
        CorruptImage: As `inspect_image`.
    """
    import cv2

    # IMREAD_UNCHANGED keeps the alpha channel, and the stored orientation.
    pixels, info = _decode(data, cv2.IMREAD_UNCHANGED, max_pixels)
    orientation, seen_through = exif_orientation(data), _is_transparent(pixels, info.format)
    if info.format in STORED_FORMATS and orientation == 1 and not seen_through:
        return data, info
    shown = _shown(data, pixels, info.format, max_pixels)
    height, width = shown.shape[:2]
    return png_of(shown), info._replace(format="png", height=height, width=width)


def decode_pixels(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image to uint8 BGR [height, width, 3], without EXIF rotation or transparency.

    Raises:
        CorruptImage: As `inspect_image`.
    """
    import cv2

    return _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, max_pixels)[0]


def shown_pixels(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an image to the uint8 BGR [height, width, 3] that a viewer shows; see `stored_image`.

    Raises:
        CorruptImage: As `inspect_image`.
    """
    import cv2

    pixels, info = _decode(data, cv2.IMREAD_UNCHANGED, max_pixels)
    return _shown(data, pixels, info.format, max_pixels)


def _shown(data: bytes, pixels: np.ndarray, kind: str, max_pixels: int) -> np.ndarray:
    """Returns what a viewer shows of pixels that were decoded unchanged."""
    if _is_transparent(pixels, kind):
        pixels = _on_white(pixels)
    elif pixels.dtype.itemsize == 2 or pixels.ndim != 3 or pixels.shape[2] != 3:
        pixels = decode_pixels(data, max_pixels)
    return _turned(pixels, exif_orientation(data))


def png_of(pixels: np.ndarray) -> bytes:
    """Encodes uint8 BGR [height, width, 3] as a PNG."""
    import cv2

    return cv2.imencode(".png", pixels)[1].tobytes()


def _is_transparent(pixels: np.ndarray, kind: str) -> bool:
    # The fourth channel of a bitmap often means nothing.
    return kind != "bmp" and pixels.ndim == 3 and pixels.shape[2] == 4 and bool(
        (_upper_8_bits(pixels[..., 3]) < 255).any())


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Lays BGRA pixels [height, width, 4] on white; uint8 BGR."""
    import numpy as np

    pixels = _upper_8_bits(pixels).astype(np.uint32)
    colors, alpha = pixels[..., :3], pixels[..., 3:]
    return ((colors * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _upper_8_bits(values: np.ndarray) -> np.ndarray:
    return values >> 8 if values.dtype.itemsize == 2 else values


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turns pixels [height, width, 3] as an EXIF orientation, 1 to 8, demands."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in MIRRORED else pixels


def _decode(data: bytes, how: int, max_pixels: int) -> tuple[np.ndarray, ImageInfo]:
    import cv2
    import numpy as np

    if len(data) > MAX_BYTES:
        raise CorruptImage(f"larger than {MAX_BYTES >> 20} MiB")
    found = check_whole(data)
    height, width = header_size(data)
    if height * width > max_pixels:
        raise CorruptImage(f"{width:,} x {height:,} pixels, more than {max_pixels:,}")
    pixels = None
    with _catch_remarks() as remarks, contextlib.suppress(cv2.error):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    remark = "; ".join(remarks)
    if pixels is None:
        raise CorruptImage("cannot be decoded" + (f": {remark}" if remark else ""))
    if _LOSS.search(remark):
        raise CorruptImage(f"damaged: {remark}")
    return pixels, ImageInfo(found, *pixels.shape[:2], remark)


@contextlib.contextmanager
def _catch_remarks() -> Iterator[list[str]]:
    """Catches what decoders print to standard error; what others print meanwhile goes through."""
    remarks: list[str] = []
    with _standard_error:
        try:
            stderr = os.dup(2)
        except OSError:  # closed
            yield remarks
            return
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)  # a full pipe loses text instead of waiting for ever
        try:
            os.dup2(writer, 2)
            yield remarks
        finally:
            os.dup2(stderr, 2)
            printed = b""
            with contextlib.suppress(BlockingIOError):
                printed = os.read(reader, 1 << 16)
            for line in printed.splitlines(keepends=True):
                if _REMARK.match(text := line.decode(errors="replace").strip()):
                    remarks.append(text)
                else:
                    os.write(2, line)
            for end in (reader, writer, stderr):
                os.close(end)
