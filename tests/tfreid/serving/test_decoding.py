"""Decoding in served graphs: bounded, and to the pixels that records hold of the same file."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfrecords import image_headers
from tfrecords.images import stored_image
from tfreid.layers.preprocessing import resize_images
from tfreid.records import decode_image
from tfreid.serving.decoding import decode_bounded, exif_orientation

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
JPEG, PNG, BMP = (cv2.imencode(suffix, PIXELS)[1].tobytes() for suffix in (".jpg", ".png", ".bmp"))
PROGRESSIVE = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
GIF = (b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + b","
       + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(file):
    return decode_bounded(file, 31 * 17)


def declare(data, at, layout, width, height):
    return data[:at] + struct.pack(layout, width, height) + data[at + struct.calcsize(layout):]


def declare_jpeg(data, height, width):
    frame = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return declare(data, frame + 5, ">HH", height, width)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG], ids=["jpeg", "progressive", "png"])
def test_images_within_the_limit_are_decoded(data):
    np.testing.assert_array_equal(decode(data), decode_image(data))


@pytest.mark.parametrize(("data", "message"), [
    (declare_jpeg(JPEG, 20_000, 20_000), "must have 1 to 527 pixels .*20000. .20000"),
    (declare_jpeg(PROGRESSIVE, 31, 18), "must have 1 to 527 pixels .*18. .31"),
    (declare(PNG, 16, ">II", 20_000, 19_000), "must have 1 to 527 pixels .*20000. .19000"),
    (declare(PNG, 16, ">II", 2**31, 2**31 + 1), "must have 1 to 527 pixels"),
    (declare(PNG, 16, ">II", 0, 5), "must have 1 to 527 pixels"),
    (GIF, "neither a JPEG nor a PNG"),
    (BMP, "neither a JPEG nor a PNG"),
    (b"", "neither a JPEG nor a PNG"),
    (b"text", "neither a JPEG nor a PNG"),
    (PNG[:20], "pixels"),
    (PNG[:12] + b"IDAT" + PNG[16:], "neither a JPEG nor a PNG"),
    (JPEG[:10], "JPEG"),
    (JPEG[:len(JPEG) // 2], "JPEG"),
])
def test_other_files_are_refused(data, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode(data)


def test_bytes_are_resized_like_floats():
    for image in (PIXELS, PIXELS[::2]):
        for size in ((20, 11), (40, 30), (31, 17), (31, 40)):
            found = resize_images(tf.constant(image), *size)
            assert found.dtype == tf.float32
            expected = resize_images(tf.constant(image, tf.float32), *size)
            np.testing.assert_array_equal(found, expected)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def orientation(file):
    return exif_orientation(file)


@pytest.mark.parametrize("number", range(10))
def test_a_jpeg_is_turned_as_in_records(tag_orientation, number):
    for order in "<>":
        jpeg = tag_orientation(JPEG, number, order, number)
        np.testing.assert_array_equal(decode(jpeg), decode_image(stored_image(jpeg)[0]))


def test_damaged_tags_are_read_as_by_the_builders(tag_orientation):
    random = np.random.default_rng(0)
    whole = tag_orientation(tag_orientation(JPEG, 6, entries_before=3), 6, "<", tag=0x0113)
    assert whole.count(b"Exif") == 2
    found = set()
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = random.integers(2, 140, random.integers(1, 4))
        damaged[places] = random.choice([0, 1, 3, 6, 8, 0xE1, 0xFF], len(places))
        damaged = damaged[:random.integers(30, 600)].tobytes()
        expected = image_headers.exif_orientation(damaged)
        assert orientation(damaged) == expected, damaged
        found.add(expected)
    assert found >= {1, 6}


def test_the_search_for_a_tag_is_bounded(tag_orientation):
    def before(count, length):
        filler = b"\xff\xe2" + struct.pack(">H", length + 2) + bytes(length)
        return JPEG[:2] + count * filler + tag_orientation(JPEG, 6)[2:]

    for count, length, expected in ((1, 60_000, 6), (2, 60_000, 1), (63, 0, 6), (64, 0, 1)):
        jpeg = before(count, length)
        assert orientation(jpeg) == image_headers.exif_orientation(jpeg) == expected


@pytest.mark.parametrize("pixels", [
    np.dstack([PIXELS, PIXELS[..., :1]]), np.dstack([PIXELS, np.full((31, 17), 255, np.uint8)]),
    np.dstack([PIXELS, PIXELS[..., :1]]).astype(np.uint16) * 257, PIXELS, PIXELS[..., 0]])
def test_a_png_is_laid_on_white_as_in_records(pixels):
    png = cv2.imencode(".png", pixels)[1].tobytes()
    np.testing.assert_array_equal(decode(png), decode_image(stored_image(png)[0]))
