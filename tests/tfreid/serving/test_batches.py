"""Rows in served graphs: bounded decoding, slices, and refusal of unequal numbers."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.preprocessing import resize_images
from tfreid.records import decode_image
from tfreid.serving import batches

PIXELS = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
JPEG, PNG, BMP = (cv2.imencode(suffix, PIXELS)[1].tobytes() for suffix in (".jpg", ".png", ".bmp"))
PROGRESSIVE = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
GIF = (b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + b","
       + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0;")


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def decode(file):
    return batches.decode_bounded(file, 31 * 17)


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


def slices_of(monkeypatch, size):
    monkeypatch.setattr(batches, "SLICE", size)
    seen = []

    def note(some):
        tf.numpy_function(lambda x: seen.append(len(x)), [some["x"]], [])
        return {"sum": tf.reduce_sum(some["x"], 1) + some["y"], "x": 2 * some["x"]}

    return tf.function(
        lambda x, y: batches.in_slices(note, {"x": x, "y": y}),
        input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.float32)],
    ), seen


@pytest.mark.parametrize(("rows", "slices"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]),
                                              (11, [4, 4, 3])])
def test_rows_go_through_in_slices(monkeypatch, rows, slices):
    function, seen = slices_of(monkeypatch, 4)
    x = np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)
    y = np.arange(rows, dtype=np.float32)
    found = function(x, y)
    assert seen == slices
    np.testing.assert_allclose(found["sum"], x.sum(1) + y, rtol=1e-6)
    np.testing.assert_array_equal(found["x"], 2 * x)


def test_unequal_numbers_of_rows_are_refused(monkeypatch):
    function, _ = slices_of(monkeypatch, 4)
    for rows in ((1, 3), (3, 1), (0, 2), (8, 5)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one number of rows"):
            function(tf.zeros([rows[0], 3]), tf.zeros([rows[1]]))
