"""Checks that encoded images are complete JPEG or PNG files.

Pillow is not used: it takes twice as long, accepts PNG files that lack their last bytes and misses
some damage in PNG data that OpenCV finds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_START_OF_SCAN = 0xDA
_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKERS_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
_BITMAP_START, _BITMAP_HEADER = b"BM", 34  # bytes up to the end of the compression field
_BITMAP_PLAIN = (0, 3, 6)  # uncompressed: plain, and two with colour masks


class CorruptImage(Exception):
    """Bytes that training could not decode as an image; the message says why."""


class ImageInfo(NamedTuple):
    """Format ("jpeg" or "png") and size in pixels, as stored (no EXIF rotation)."""

    format: str
    height: int
    width: int


def inspect_image(data: bytes) -> ImageInfo:
    """Decodes an image fully and returns its format and size.

    Raises:
        CorruptImage: If the bytes are not a JPEG or PNG, end too early or do not decode.
    """
    image_format = check_whole(data)
    height, width = _decoded_size(data)
    return ImageInfo(image_format, height, width)


def check_whole(data: bytes) -> str:
    """Checks the start and the end of an image without decoding it, and returns its format.

    Decoders fill in a JPEG that ends early, so this comes before any decoding. Damage that leaves
    a JPEG's markers intact only changes colours and is not found.

    Raises:
        CorruptImage: If the bytes are not a JPEG or PNG or end too early.
    """
    if not data:
        raise CorruptImage("empty file")
    if data.startswith(_JPEG_START):
        image_format, whole = "jpeg", data.find(_JPEG_END, _scan_offset(data)) >= 0
    elif data.startswith(_PNG_START):
        image_format, whole = "png", _PNG_END in data
    else:
        raise CorruptImage("neither JPEG nor PNG")
    if not whole:
        raise CorruptImage("truncated")
    return image_format


def header_size(start: bytes) -> tuple[int, int]:
    """Reads height and width in pixels, as stored, from the first bytes of a JPEG or PNG.

    Raises:
        CorruptImage: If the bytes are not a JPEG or PNG, or too few.
    """
    if start.startswith(_PNG_START):
        if len(start) < 24:
            raise CorruptImage("truncated")
        width, height = struct.unpack_from(">II", start, 16)
        return height, width
    if not start.startswith(_JPEG_START):
        raise CorruptImage("neither JPEG nor PNG")
    for marker, position in _segments(start):
        if marker in _STARTS_OF_FRAME and position + 9 <= len(start):
            return struct.unpack_from(">HH", start, position + 5)
    raise CorruptImage("truncated")


def decode_pixels(data: bytes) -> np.ndarray:
    """Decodes a whole image to uint8 BGR [height, width, 3], without EXIF rotation.

    Raises:
        CorruptImage: If the bytes are not a JPEG or PNG, end too early or do not decode.
    """
    check_whole(data)
    import cv2

    return _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def png_of_bitmap(data: bytes) -> bytes:
    """Converts a Windows bitmap to a PNG, without loss.

    Raises:
        CorruptImage: If the bytes are not a bitmap, end too early or do not decode.
    """
    if not data:
        raise CorruptImage("empty file")
    if not data.startswith(_BITMAP_START):
        raise CorruptImage("not a bitmap")
    if len(data) < _bitmap_end(data):
        raise CorruptImage("truncated")
    import cv2

    return cv2.imencode(".png", _decode(data, cv2.IMREAD_COLOR))[1].tobytes()


def _bitmap_end(data: bytes) -> int:
    """Returns the least number of bytes of a bitmap: decoders fill in one that ends early."""
    if len(data) < _BITMAP_HEADER:
        return _BITMAP_HEADER
    start, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if compression not in _BITMAP_PLAIN:
        return start
    row = (abs(width) * bits + 31) // 32 * 4
    return start + row * abs(height)


def _scan_offset(data: bytes) -> int:
    """Finds the first scan of a JPEG; an embedded thumbnail before it has an end marker too."""
    for marker, position in _segments(data):
        if marker == _START_OF_SCAN:
            return position
    raise CorruptImage("truncated")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the marker and position of each JPEG segment up to the first scan."""
    position = len(_JPEG_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise CorruptImage("broken JPEG header")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        yield marker, position
        if marker == _START_OF_SCAN:
            return
        if marker in _MARKERS_WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _decoded_size(data: bytes) -> tuple[int, int]:
    import cv2

    # IMREAD_UNCHANGED keeps the stored orientation, as TensorFlow's decoder does.
    return _decode(data, cv2.IMREAD_UNCHANGED).shape[:2]


def _decode(data: bytes, how: int) -> np.ndarray:
    import cv2
    import numpy as np

    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error as error:
        raise CorruptImage("cannot be decoded") from error
    if pixels is None:
        raise CorruptImage("cannot be decoded")
    return pixels
