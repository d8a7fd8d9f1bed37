"""Resizing and normalisation against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.preprocessing import ImagePreprocessing, InputSize, resize_images


def random_images(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def triangle_weights(source, target):
    """Row t holds the weights of a triangle filter over the source pixels (half-pixel centres)."""
    scale = source / target
    radius = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(source) - centres[:, None]) / radius)
    return weights / weights.sum(1, keepdims=True)


def numpy_resize(images, height, width):
    rows = triangle_weights(images.shape[1], height)
    columns = triangle_weights(images.shape[2], width)
    return np.einsum("th,nhwc,sw->ntsc", rows, images.astype(np.float64), columns)


@pytest.mark.parametrize("size", [(8, 6), (30, 17), (31, 5), (5, 40)])
def test_resize_is_a_triangle_filter(size):
    images = random_images(2, *size)
    resized = resize_images(tf.constant(images), 16, 8)
    np.testing.assert_allclose(resized, numpy_resize(images, 16, 8), atol=0.01)


def test_resize_leaves_the_target_size_alone():
    images = random_images(1, 16, 8)
    graph = tf.function(lambda x: resize_images(x, 16, 8)).get_concrete_function(images).graph
    assert "ResizeBilinear" not in {op.type for op in graph.get_operations()}
    np.testing.assert_array_equal(resize_images(images, 16, 8), images.astype(np.float32))


def test_resize_of_unknown_sizes_is_that_of_known_ones():
    resize = tf.function(
        lambda x: resize_images(x, 16, 8), input_signature=[tf.TensorSpec((None, None, None, 3))]
    )
    for size in [(16, 8), (31, 5), (8, 4)]:
        images = random_images(2, *size).astype(np.float32)
        np.testing.assert_allclose(resize(images), resize_images(images, 16, 8), atol=1e-4)


def test_resize_averages_stripes_away_when_shrinking():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    resized = resize_images(stripes, 8, 8).numpy()
    assert np.abs(resized[:, :, 1:-1] - 127.5).max() < 8


def test_resize_takes_a_single_image():
    image = random_images(9, 7)[0:9]
    np.testing.assert_allclose(
        resize_images(image, 4, 4), resize_images(image[None], 4, 4)[0], atol=1e-4
    )


def test_torch_mode():
    images = random_images(2, 4, 4)
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(ImagePreprocessing(4, 4, "torch")(images), expected, atol=1e-5)


def test_caffe_mode_is_that_of_keras_applications():
    images = random_images(2, 4, 4)
    expected = keras.applications.resnet50.preprocess_input(images.astype(np.float32))
    np.testing.assert_allclose(ImagePreprocessing(4, 4, "caffe")(images), expected, atol=1e-4)


def test_unit_mode():
    images = random_images(2, 4, 4)
    np.testing.assert_allclose(ImagePreprocessing(4, 4, "unit")(images), images / 255, atol=1e-6)


def test_unknown_mode():
    with pytest.raises(ValueError, match="torch, caffe, unit, got 'tf'"):
        ImagePreprocessing(4, 4, "tf")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_sizes_may_be_unknown_when_the_model_is_built(dtype):
    inputs = keras.Input((None, None, 3), dtype=dtype)
    model = keras.Model(inputs, ImagePreprocessing(6, 4)(inputs))
    images = random_images(2, 9, 7)
    assert model.output_shape == (None, 6, 4, 3)
    np.testing.assert_allclose(
        model(images.astype(dtype)), ImagePreprocessing(6, 4)(images), atol=1e-5
    )


def test_half_precision_rounds_only_the_result():
    images = random_images(1, 8, 8).astype(np.float32) + 0.01
    half = ImagePreprocessing(8, 8, dtype="mixed_float16")(images)
    assert half.dtype == tf.float16
    full = ImagePreprocessing(8, 8)(images).numpy()
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_config_round_trip():
    layer = ImagePreprocessing(6, 4, "caffe", longest_side=9, name="pixels")
    copy = ImagePreprocessing.from_config(layer.get_config())
    assert (copy.size, copy.mode, copy.name) == (InputSize(6, 4, 9), "caffe", "pixels")


@pytest.mark.parametrize(("height", "width", "expected"), [
    (128, 64, (416, 208)), (64, 128, (208, 416)), (500, 500, (416, 416)), (832, 3, (416, 2)),
    (1000, 1, (416, 1)), (97, 41, (416, 176)),  # 41 * 416 / 97 = 175.8
])
def test_the_longer_side_is_fixed_and_the_aspect_ratio_kept(height, width, expected):
    size = InputSize(256, 128, 416)
    assert size.of(height, width) == expected
    sides = size.of(np.array([height]), np.array([width]))
    assert [int(side[0]) for side in sides] == list(expected)
    tensors = size.of(tf.constant(height), tf.constant(width))
    assert [int(side) for side in tensors] == list(expected)


def test_images_of_a_batch_are_not_distorted():
    """A disc stays a disc, at either orientation and through a graph of unknown sizes."""
    layer = ImagePreprocessing(8, 8, "unit", longest_side=64)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(inputs))
    rows, columns = np.mgrid[:100, :40]
    disc = (np.hypot(rows - 49.5, columns - 19.5) < 16)[..., None] * np.full(3, 255.0)
    for image in (disc, disc.swapaxes(0, 1)):
        seen = np.asarray(model(image[None].astype(np.float32)))[0, ..., 0] > 0.5
        assert seen.shape == ((64, 26) if image is disc else (26, 64))
        tall, wide = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        assert abs(np.ptp(tall) - np.ptp(wide)) <= 1
    assert tuple(layer.compute_output_shape((2, 100, 40, 3))) == (2, 64, 26, 3)
    assert tuple(layer.compute_output_shape((2, None, None, 3))) == (2, None, None, 3)
