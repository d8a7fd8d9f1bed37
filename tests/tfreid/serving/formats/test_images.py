"""Images for device formats, against the decoding and resizing of training."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.layers.preprocessing import resize_images
from tfreid.serving.decoding import decode_bounded
from tfreid.serving.formats.images import load_image, resize_image, stored_file
from tfreid.serving.interface import RefusedImages

IMAGE = np.random.default_rng(0).integers(0, 256, (23, 17, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(46, 40), (7, 5), (46, 5), (23, 17), (64, 32), (1, 1)])
def test_resized_as_in_training(size):
    expected = resize_images(IMAGE, *size).numpy()
    found = resize_image(IMAGE, *size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    rounded = resize_image(IMAGE, *size, "uint8")
    assert rounded.dtype == np.uint8 and np.abs(rounded - expected).max() <= 0.501


def encoded(kind, image=IMAGE):
    return cv2.imencode(kind, image)[1].tobytes()


@pytest.mark.parametrize("kind", [".jpg", ".png"])
@pytest.mark.parametrize("image", [
    IMAGE, IMAGE[..., 0], np.dstack([IMAGE, IMAGE[..., :1]]), IMAGE.astype(np.uint16) * 257])
def test_decoded_as_in_the_served_graph(kind, image):
    if kind == ".jpg" and (image.dtype != np.uint8 or image.shape[2:] == (4,)):
        pytest.skip("JPEG has no such pixels")
    file = encoded(kind, image)
    expected = decode_bounded(file, 10**6).numpy()
    np.testing.assert_array_equal(load_image(file, 10**6), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_in_the_served_graph(tag_orientation, orientation):
    file = tag_orientation(encoded(".jpg"), orientation)
    np.testing.assert_array_equal(load_image(file, 10**6), decode_bounded(file, 10**6).numpy())


def test_paths_bytes_and_arrays_are_one_image(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    array = IMAGE[..., ::-1]
    for image in (path, str(path), path.read_bytes(), array):
        np.testing.assert_array_equal(load_image(image, 10**6), array)
        np.testing.assert_array_equal(load_image(stored_file(image), 10**6), array)


def test_mistakes_get_one_sentence(tmp_path):
    with pytest.raises(RefusedImages, match=r"an image: 17 x 23 pixels, more than 100; give"):
        load_image(encoded(".png"), 100)
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(RefusedImages, match=r"a\.jpg: neither JPEG.*; give a whole"):
        load_image(tmp_path / "a.jpg", 100)
    with pytest.raises(UserError, match=r"b\.jpg"):
        load_image(tmp_path / "b.jpg", 100)
    with pytest.raises(ValueError, match=r"received float32 \(2, 2, 3\)"):
        load_image(np.zeros((2, 2, 3), np.float32), 100)
    with pytest.raises(ValueError, match=r"received uint8 \(0, 2, 3\)"):
        stored_file(np.zeros((0, 2, 3), np.uint8))
