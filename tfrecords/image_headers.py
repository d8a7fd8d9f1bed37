"""Formats, sizes and ends of image files, read from their bytes without decoding them."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

# Larger files hold more pixels than any limit admits.
MAX_BYTES = 512 << 20
# What records, training and serving hold; the builders convert the others.
STORED_FORMATS = ("jpeg", "png")

_STARTS = {"jpeg": b"\xff\xd8", "png": b"\x89PNG\r\n\x1a\n", "bmp": b"BM", "webp": b"RIFF"}
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
_START_OF_SCAN = 0xDA
_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_COMMON_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman-coded: sequential (two kinds) and progressive
_MARKERS_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
_BITMAP_HEADER = 34  # bytes up to the end of the compression field
_BITMAP_PLAIN = (0, 3, 6)  # uncompressed: plain, and two with colour masks
_OLD_BITMAP = 12  # size of OS/2's header, whose sides are 16-bit
_WEBP_HEADER = 30
EXIF_MARKER = 0xE1
EXIF_SIGNATURE = b"Exif\0\0"
TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # first bytes of a TIFF structure
ORIENTATION_TAG, SHORT = 0x0112, 3
# Where the orientation is looked for, also by a served graph: in so many entries of one of a JPEG's
# first segments, which are applications' or comments and start within so many bytes.
SEGMENTS_BEFORE = (*range(0xE0, 0xF0), 0xFE)
MOST_SEGMENTS, MOST_OFFSET, MOST_ENTRIES = 64, 1 << 16, 64


class CorruptImage(Exception):
    """Bytes that training could not decode as an image; the message says why."""


def image_format(start: bytes) -> str:
    """Returns "jpeg", "png", "bmp" or "webp" from the first bytes of a file.

    Raises:
        CorruptImage: If they are of none of these.
    """
    if not start:
        raise CorruptImage("empty file")
    for name, magic in _STARTS.items():
        if start.startswith(magic) and (name != "webp" or start[8:12] == b"WEBP"):
            return name
    raise CorruptImage("neither JPEG, PNG, BMP nor WebP")


def header_size(start: bytes) -> tuple[int, int]:
    """Reads height and width in pixels, as stored, from the first bytes of a file.

    Raises:
        CorruptImage: If the bytes are of no format that is read, are too few, or declare no pixels.
    """
    readers = {"jpeg": _jpeg_size, "png": _png_size, "bmp": _bitmap_size, "webp": _webp_size}
    try:
        height, width = readers[image_format(start)](start)
    except (struct.error, IndexError):
        raise CorruptImage("truncated") from None
    if height < 1 or width < 1:
        raise CorruptImage(f"{width} x {height} pixels")
    return height, width


def exif_orientation(data: bytes) -> int:
    """Reads how a viewer turns a JPEG or WebP: 1 (not at all) to 8, as EXIF numbers them.

    A broken tag counts as none, and so does one in a PNG, about which viewers disagree.

    Raises:
        CorruptImage: If the bytes are of no format that is read.
    """
    find = {"jpeg": _jpeg_exif, "webp": _webp_exif}.get(image_format(data))
    try:
        found = _orientation(find(data)) if find else 1
    except (struct.error, CorruptImage):
        return 1
    return found if 1 <= found <= 8 else 1


def check_whole(data: bytes) -> str:
    """Checks the start and the end of an image without decoding it, and returns its format.

    Decoders fill in a file that ends early, so this comes before any decoding. Damage that leaves
    the markers of a JPEG intact is found only by decoding it.

    Raises:
        CorruptImage: If the bytes are of no format that is read or end too early.
    """
    found = image_format(data)
    whole = {
        "jpeg": lambda: data.find(_JPEG_END, _scan_offset(data)) >= 0,
        "png": lambda: _PNG_END in data,
        "bmp": lambda: len(data) >= _bitmap_end(data),
        "webp": lambda: len(data) >= 8 + int.from_bytes(data[4:8], "little"),
    }[found]()
    if not whole:
        raise CorruptImage("truncated")
    return found


def _jpeg_size(start: bytes) -> tuple[int, int]:
    for marker, position in _segments(start):
        if marker in _STARTS_OF_FRAME:
            bits, height, width = struct.unpack_from(">BHH", start, position + 4)
            if marker not in _COMMON_FRAMES or bits != 8:
                raise CorruptImage("a JPEG that is lossless, arithmetic-coded or not of 8 bits")
            return height, width
    raise CorruptImage("truncated")


def _png_size(start: bytes) -> tuple[int, int]:
    name, width, height = struct.unpack_from(">4sII", start, 12)
    if name != b"IHDR":
        raise CorruptImage("broken PNG header")
    return height, width


def _bitmap_size(start: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", start, 14)
    width, height = struct.unpack_from("<HH" if header == _OLD_BITMAP else "<ii", start, 18)
    return abs(height), abs(width)


def _webp_size(start: bytes) -> tuple[int, int]:
    kind = start[12:16]
    if len(start) < _WEBP_HEADER:
        raise CorruptImage("truncated")
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(start[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(start[21:25], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", start, 26))
    else:
        raise CorruptImage("broken WebP header")
    return height, width


def _bitmap_end(data: bytes) -> int:
    """Returns the least number of bytes of a bitmap: decoders fill in one that ends early."""
    if len(data) < _BITMAP_HEADER:
        return _BITMAP_HEADER
    start, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if compression not in _BITMAP_PLAIN:
        return start
    row = (abs(width) * bits + 31) // 32 * 4
    return start + row * abs(height)


def _jpeg_exif(data: bytes) -> bytes:
    """Returns the TIFF structure of a JPEG's EXIF segment, empty if there is none."""
    for marker, position in itertools.islice(_segments(data), MOST_SEGMENTS):
        if position > MOST_OFFSET or marker not in SEGMENTS_BEFORE:
            break
        if marker == EXIF_MARKER and data.startswith(EXIF_SIGNATURE, position + 4):
            return data[position + 10 : _segment_end(data, position)]
    return b""


def _webp_exif(data: bytes) -> bytes:
    """Returns the TIFF structure of a WebP's EXIF chunk, empty if there is none."""
    position = 12
    while position + 8 <= len(data):
        start, length = position + 8, int.from_bytes(data[position + 4 : position + 8], "little")
        if data.startswith(b"EXIF", position):
            return data[start : start + length].removeprefix(EXIF_SIGNATURE)
        position = start + length + length % 2
    return b""


def _orientation(tiff: bytes) -> int:
    order = TIFF_ORDERS.get(tiff[:4])
    if order is None:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(min(count, MOST_ENTRIES)):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * entry)
        if tag == ORIENTATION_TAG:
            return value if kind == SHORT else 1
    return 1


def _scan_offset(data: bytes) -> int:
    """Finds the first scan of a JPEG; an embedded thumbnail before it has an end marker too."""
    for marker, position in _segments(data):
        if marker == _START_OF_SCAN:
            return position
    raise CorruptImage("truncated")


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yields the marker and position of each JPEG segment up to the first scan."""
    position = len(_STARTS["jpeg"])
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
            position = _segment_end(data, position)


def _segment_end(data: bytes, position: int) -> int:
    return position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
