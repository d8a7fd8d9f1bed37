"""Checks that encoded image bytes are a whole JPEG or PNG."""

from __future__ import annotations

from typing import NamedTuple

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_START_OF_SCAN = 0xDA
_MARKERS_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))


class CorruptImage(Exception):
    """The bytes are no image that training could decode; the message says why."""


class ImageInfo(NamedTuple):
    """Format ("jpeg" or "png") and size in pixels, as stored (no EXIF rotation)."""

    format: str
    height: int
    width: int


def inspect_image(data: bytes) -> ImageInfo:
    """Decodes an image fully and returns its format and size.

    Raises:
        CorruptImage: if the bytes are not a JPEG or PNG, end too early or do not decode.
    """
    image_format = check_whole(data)
    height, width = _decoded_size(data)
    return ImageInfo(image_format, height, width)


def check_whole(data: bytes) -> str:
    """Looks for the start and the end of an image, without decoding it, and returns its format.

    Decoders patch up a JPEG that ends early, so this comes before any decoding. Damage that leaves
    a JPEG's markers whole shows only as wrong colours and is not found.

    Raises:
        CorruptImage: if the bytes are not a JPEG or PNG or end too early.
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


def _scan_offset(data: bytes) -> int:
    """Walks the JPEG segments to the first scan: an embedded thumbnail has an end marker too."""
    position = len(_JPEG_START)
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise CorruptImage("broken JPEG header")
        marker = data[position + 1]
        if marker == _START_OF_SCAN:
            return position
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _MARKERS_WITHOUT_LENGTH:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise CorruptImage("truncated")


def _decoded_size(data: bytes) -> tuple[int, int]:
    import cv2
    import numpy as np

    try:
        # IMREAD_UNCHANGED keeps the stored orientation, as TensorFlow's decoder does.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise CorruptImage("cannot be decoded") from error
    if pixels is None:
        raise CorruptImage("cannot be decoded")
    return pixels.shape[0], pixels.shape[1]
