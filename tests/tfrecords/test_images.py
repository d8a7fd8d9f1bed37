"""The check of encoded images."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from tfrecords.images import (
    CorruptImage,
    ImageInfo,
    decode_pixels,
    header_size,
    inspect_image,
)


def _with_segment(jpeg: bytes, marker: int, payload: bytes) -> bytes:
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + (
        jpeg[2:])


def test_the_format_comes_from_the_bytes(encode_image):
    assert inspect_image(encode_image(0, 24, 12)) == ImageInfo("jpeg", 24, 12)
    assert inspect_image(encode_image(0, 9, 17, ".png")) == ImageInfo("png", 9, 17)


def test_grey_progressive_and_padded_images_pass(encode_image):
    grey = cv2.imencode(".png", np.zeros((5, 7), np.uint8))[1].tobytes()
    assert inspect_image(grey) == ImageInfo("png", 5, 7)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    progressive = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert inspect_image(progressive) == ImageInfo("jpeg", 64, 32)
    assert inspect_image(encode_image() + bytes(100)).format == "jpeg"


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_file_that_ends_early_is_truncated(encode_image, suffix, kept):
    data = encode_image(0, 64, 32, suffix)
    with pytest.raises(CorruptImage, match="truncated"):
        inspect_image(data[:max(8, int(len(data) * kept))])


def test_the_end_marker_of_a_thumbnail_does_not_count(encode_image):
    jpeg = _with_segment(encode_image(), 0xE1, b"thumbnail" + encode_image(1, 8, 8))
    assert inspect_image(jpeg).height == 24
    with pytest.raises(CorruptImage, match="truncated"):
        inspect_image(jpeg[:-20])


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "empty"),
    (b"<html>not found</html>", "neither JPEG nor PNG"),
    (b"GIF89a" + bytes(50), "neither JPEG nor PNG"),
    (b"\xff\xd8" + bytes(50), "broken JPEG header"),
    (b"\xff\xd8\xff\xda\x00\x02\xff\xd9", "cannot be decoded"),
])
def test_other_bytes_are_named(data, reason):
    with pytest.raises(CorruptImage, match=reason):
        inspect_image(data)


def test_a_flipped_bit_in_a_png_is_found(encode_image):
    data = bytearray(encode_image(0, 64, 32, ".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptImage, match="cannot be decoded"):
        inspect_image(bytes(data))


def test_the_size_is_that_of_the_stored_pixels(encode_image):
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # orientation: rotate by 90 degrees
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    jpeg = _with_segment(encode_image(0, 24, 12), 0xE1, exif)
    rotated = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert rotated.shape[:2] == (12, 24)
    assert inspect_image(jpeg) == ImageInfo("jpeg", 24, 12)
    assert header_size(jpeg) == (24, 12)
    assert decode_pixels(jpeg).shape == (24, 12, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_size_is_in_the_first_bytes(encode_image, suffix):
    data = encode_image(0, 64, 32, suffix)
    assert header_size(data[:len(data) // 2]) == (64, 32)
    for start, reason in ((data[:12], "truncated"), (b"GIF89a" + data, "neither JPEG nor PNG")):
        with pytest.raises(CorruptImage, match=reason):
            header_size(start)


def test_a_progressive_image_has_its_size_in_another_segment():
    pixels = np.zeros((64, 32, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert b"\xff\xc2" in data and b"\xff\xc0" not in data
    assert header_size(data) == (64, 32)


def test_pixels_are_decoded_of_whole_images_only(encode_image):
    data = encode_image(0, 64, 32)
    np.testing.assert_array_equal(decode_pixels(data), cv2.imdecode(
        np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    with pytest.raises(CorruptImage, match="truncated"):
        decode_pixels(data[:-20])
