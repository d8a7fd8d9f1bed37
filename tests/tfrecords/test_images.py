"""The check of encoded images, and their conversion."""

from __future__ import annotations

import contextlib
import os
import struct

import cv2
import numpy as np
import pytest

from tfrecords.image_headers import CorruptImage, exif_orientation, header_size
from tfrecords.images import (
    MAX_PIXELS,
    ImageInfo,
    decode_pixels,
    inspect_image,
    stored_image,
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
    (b"<html>not found</html>", "neither JPEG, PNG, BMP nor WebP"),
    (b"GIF89a" + bytes(50), "neither JPEG, PNG, BMP nor WebP"),
    (b"\xff\xd8" + bytes(50), "broken JPEG header"),
    (b"\xff\xd8\xff\xda\x00\x02\xff\xd9", "truncated"),
])
def test_other_bytes_are_named(data, reason):
    with pytest.raises(CorruptImage, match=reason):
        inspect_image(data)


def test_a_flipped_bit_in_a_png_is_found(encode_image):
    data = bytearray(encode_image(0, 64, 32, ".png"))
    data[len(data) // 2] ^= 1
    with pytest.raises(CorruptImage, match="cannot be decoded"):
        inspect_image(bytes(data))


def test_the_size_is_that_of_the_file(encode_image, tag_orientation):
    jpeg = tag_orientation(encode_image(0, 24, 12), 6)
    rotated = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert rotated.shape[:2] == (12, 24)
    assert inspect_image(jpeg) == ImageInfo("jpeg", 24, 12)
    assert header_size(jpeg) == (24, 12)
    assert decode_pixels(jpeg).shape == (24, 12, 3)


@pytest.mark.parametrize("orientation", range(10))
def test_images_are_stored_as_a_viewer_shows_them(encode_image, tag_orientation, orientation):
    for order in "<>":
        jpeg = tag_orientation(encode_image(0, 24, 12), orientation, order, orientation)
        stored, info = stored_image(jpeg)
        shown = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decode_pixels(stored), shown)
        assert (info.height, info.width) == shown.shape[:2] == header_size(stored)
        if orientation in (0, 1, 9):  # none, upright, and not a kind
            assert stored is jpeg and info.format == "jpeg"
        else:
            assert info.format == "png" and exif_orientation(stored) == 1


def test_tags_that_say_nothing(encode_image, tag_orientation):
    jpeg = encode_image()
    tagged = tag_orientation(jpeg, 6)
    assert exif_orientation(tagged) == 6
    assert exif_orientation(_with_segment(tagged, 0xE0, b"JFIF" + bytes(10))) == 6
    without = [
        jpeg, encode_image(suffix=".png"), tag_orientation(jpeg, 6, kind=4),
        tag_orientation(jpeg, 6, tag=0x0113), tagged.replace(b"MM\0*", b"MM\0+"),
        tagged.replace(b"Exif", b"exif"), tag_orientation(jpeg, 6, entries_before=64),
        # The entries begin beyond the segment.
        tagged.replace(struct.pack(">IH", 8, 1), struct.pack(">IH", 80, 1)),
        _with_segment(_with_segment(tagged, 0xE0, bytes(60_000)), 0xE0, bytes(60_000))]
    assert [exif_orientation(image) for image in without] == [1] * len(without)


def test_a_webp_is_turned_too(encode_image, tag_orientation):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 12, 3), dtype=np.uint8)
    plain = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    tagged = tag_orientation(encode_image(), 6)
    tiff = tagged[tagged.index(b"MM\0*"):][:26]
    chunks = (b"VP8X" + struct.pack("<IB", 10, 8) + bytes(3) + b"\x0b\0\0" + b"\x17\0\0"
              + plain[12:] + b"EXIF" + struct.pack("<I", len(tiff)) + tiff)
    webp = b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks
    assert exif_orientation(webp) == 6
    np.testing.assert_array_equal(decode_pixels(stored_image(webp)[0]), np.rot90(pixels, -1))


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".webp", 8)])
def test_transparent_pixels_are_laid_on_white(suffix, bits):
    pixels = np.full((10, 12, 4), (60, 30, 200, 255), np.uint8)
    pixels[:5, :, 3] = 0
    pixels[5:8, :, 3] = 51
    scaled = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    encoded = cv2.imencode(suffix, scaled, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    stored, info = stored_image(encoded)
    shown = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    assert shown.shape == (10, 12, 3) and info == ImageInfo("png", 10, 12)
    assert (shown[:5] == 255).all()
    # 255 + (color - 255) / 5
    np.testing.assert_array_equal(shown[5:8], np.broadcast_to((216, 210, 244), (3, 12, 3)))
    np.testing.assert_array_equal(shown[8:], pixels[8:, :, :3])


def test_an_opaque_alpha_channel_changes_nothing():
    for pixels in (np.full((10, 12, 4), 255, np.uint8), np.full((10, 12, 4), 65535, np.uint16)):
        png = cv2.imencode(".png", pixels)[1].tobytes()
        assert stored_image(png)[0] is png


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_size_is_in_the_first_bytes(encode_image, suffix):
    data = encode_image(0, 64, 32, suffix)
    assert header_size(data[:len(data) // 2]) == (64, 32)
    for start, reason in ((data[:12], "truncated"), (b"GIF89a" + data, "neither JPEG, PNG")):
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


def declare_size(jpeg: bytes, height: int, width: int) -> bytes:
    """Replaces the size in the header of a sequential JPEG."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4:]


def test_a_small_file_that_declares_many_pixels_is_not_decoded(encode_image):
    png = bytearray(encode_image(0, 24, 12, ".png"))
    png[16:24] = struct.pack(">II", 20_000, 20_000)
    for bomb in (declare_size(encode_image(), 20_000, 20_000), bytes(png)):
        with pytest.raises(CorruptImage, match="20,000 x 20,000 pixels, more than 40,000,000"):
            inspect_image(bomb)
    assert inspect_image(encode_image(0, 24, 12), 24 * 12).height == 24
    with pytest.raises(CorruptImage, match="12 x 24 pixels, more than 287"):
        inspect_image(encode_image(0, 24, 12), 24 * 12 - 1)


def test_a_jpeg_that_decoders_fill_with_grey_is_damaged(encode_image, capfd):
    whole = encode_image(0, 64, 32)
    with pytest.raises(CorruptImage, match="damaged: Corrupt JPEG data: premature end"):
        inspect_image(whole[:len(whole) // 2] + b"\xff\xd9")
    with pytest.raises(CorruptImage, match="damaged"):
        inspect_image(declare_size(whole, 640, 320))
    assert capfd.readouterr().err == ""


def test_only_what_a_decoder_prints_is_caught(encode_image, capfd, monkeypatch):
    odd = encode_image(0, 64, 32).replace(b"JFIF\0\x01", b"JFIF\0\x41")
    decode = cv2.imdecode

    def meanwhile(*arguments):
        os.write(2, b"somebody else\n")
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", meanwhile)
    info = inspect_image(odd)
    assert (info.height, info.width) == (64, 32)
    assert info.remark == "Warning: unknown JFIF revision number 65.01"
    assert capfd.readouterr().err == "somebody else\n"
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_a_full_pipe_of_remarks_does_not_block(encode_image, monkeypatch):
    decode = cv2.imdecode

    def talks(*arguments):
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                os.write(2, b"x" * 4096)
        return decode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", talks)
    assert inspect_image(encode_image(0, 24, 12)).height == 24


@pytest.mark.parametrize(("suffix", "settings"), [
    (".bmp", []), (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]), (".webp", [])])
def test_other_formats_become_a_png_of_the_same_pixels(suffix, settings):
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    encoded = cv2.imencode(suffix, pixels, settings)[1].tobytes()
    stored, info = stored_image(encoded)
    assert info == ImageInfo("png", 31, 17) == inspect_image(stored)
    assert header_size(encoded) == (31, 17)
    np.testing.assert_array_equal(decode_pixels(stored), decode_pixels(encoded))
    if suffix == ".bmp":
        np.testing.assert_array_equal(decode_pixels(stored), pixels)
    with pytest.raises(CorruptImage, match="truncated"):
        stored_image(encoded[:-20])


def test_the_declared_size_of_every_webp_is_read():
    for start in (b"VP8X" + bytes(8) + b"\x1f\x4e\0\x1f\x4e\0",
                  b"VP8L" + bytes(4) + b"\x2f" + struct.pack("<I", 9_999 | 9_999 << 14) + bytes(9),
                  b"VP8 " + bytes(10) + struct.pack("<HH", 16_000, 16_000) + bytes(9)):
        data = b"RIFF" + struct.pack("<I", len(start) + 4) + b"WEBP" + start
        with pytest.raises(CorruptImage, match="more than 40,000,000"):
            inspect_image(data)
    assert MAX_PIXELS < 10_000 ** 2


def test_jpegs_that_only_some_decoders_read_are_refused(encode_image):
    arithmetic = encode_image().replace(b"\xff\xc0", b"\xff\xc9")
    with pytest.raises(CorruptImage, match="lossless, arithmetic-coded or not of 8 bits"):
        inspect_image(arithmetic)


def test_stored_formats_are_left_alone(encode_image):
    for suffix in (".jpg", ".png"):
        data = encode_image(0, 24, 12, suffix)
        assert stored_image(data)[0] is data
