"""Augmentation: what is drawn, and what is done with it, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid import addons
from tfreid.config import AugmentationConfig
from tfreid.data.augmentation import MEAN_COLOR, augment, draw_augmentations

HEIGHT, WIDTH = 32, 16
OFF = {"flip_probability": 0.0, "pad": 0, "erasing_probability": 0.0, "color_probability": 0.0}
NOTHING = {"flip": False, "shift": (0, 0), "erase": (0, 0, 0, 0), "color": (1.0, 1.0, 1.0, 0.0)}


def settings(**values) -> AugmentationConfig:
    return AugmentationConfig(**{**OFF, **values})


def draw(config, count=4000, seed=0, height=HEIGHT, width=WIDTH):
    return draw_augmentations(config, count, height, width, np.random.default_rng(seed))


def apply(image, config, height=HEIGHT, width=WIDTH, **drawn):
    """Augments in a graph with unknown sizes, as tf.data does."""
    row = {**NOTHING, **drawn}
    types = {"flip": tf.bool, "shift": tf.int32, "erase": tf.int32, "color": tf.float32}
    tensors = {name: tf.constant(value, types[name]) for name, value in row.items()}
    signature = [tf.TensorSpec([None, None, 3], tf.uint8),
                 {name: tf.TensorSpec(tensor.shape, tensor.dtype)
                  for name, tensor in tensors.items()}]
    function = tf.function(lambda image, row: augment(image, row, config, height, width),
                           input_signature=signature)
    return function(image, tensors).numpy()


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_the_generator_alone_fixes_what_is_drawn():
    config = AugmentationConfig(color_probability=0.5)
    first, again, other = draw(config), draw(config), draw(config, seed=1)
    assert first.keys() == {"flip", "shift", "erase", "color"}
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
        assert len(first[name]) == 4000


def test_probability_zero_draws_nothing_and_one_always():
    none = draw(settings())
    assert not none["flip"].any()
    assert not none["shift"].any()
    assert not none["erase"].any()
    np.testing.assert_array_equal(none["color"], np.tile(np.float32([1, 1, 1, 0]), (4000, 1)))
    always = draw(settings(flip_probability=1.0, erasing_probability=1.0, color_probability=1.0))
    assert always["flip"].all()
    assert (always["erase"][:, 2] > always["erase"][:, 0]).all()
    assert (always["color"] != np.float32([1, 1, 1, 0])).any(axis=1).all()


def test_half_of_the_images_are_flipped_erased_and_coloured():
    drawn = draw(AugmentationConfig(color_probability=0.5))
    shares = (drawn["flip"].mean(), drawn["erase"].any(axis=1).mean(),
              (drawn["color"][:, 0] != 1).mean())
    # The standard deviation of a share of 4,000 is 0.008.
    np.testing.assert_allclose(shares, 0.5, atol=0.04)
    assert abs(np.corrcoef(drawn["flip"], drawn["erase"].any(axis=1))[0, 1]) < 0.1


def test_shifts_are_uniform_over_the_padding():
    shift = draw(settings(pad=3))["shift"]
    assert shift.dtype == np.int32
    for axis in (0, 1):
        values, counts = np.unique(shift[:, axis], return_counts=True)
        np.testing.assert_array_equal(values, np.arange(-3, 4))
        np.testing.assert_allclose(counts / 4000, 1 / 7, atol=0.03)


@pytest.mark.parametrize(("height", "width"), [(256, 128), (64, 64)])
def test_rectangles_keep_area_aspect_and_image(height, width):
    config = settings(erasing_probability=1.0, erasing_area_min=0.05, erasing_area_max=0.2,
                      erasing_aspect_min=0.5)
    top, left, bottom, right = draw(config, height=height, width=width)["erase"].T
    tall, wide = bottom - top, right - left
    assert top.min() == 0
    assert left.min() == 0
    assert bottom.max() == height
    assert right.max() == width
    # Sides are rounded to whole pixels: half a pixel each way.
    assert ((tall + 0.5) * (wide + 0.5) >= 0.05 * height * width).all()
    assert ((tall - 0.5) * (wide - 0.5) <= 0.2 * height * width).all()
    assert ((tall + 0.5) / (wide - 0.5) >= 0.5).all()
    assert ((tall - 0.5) / (wide + 0.5) <= 2.0).all()
    share = tall * wide / (height * width)
    assert share.min() < 0.06
    assert share.max() > 0.18


def test_rectangles_that_cannot_fit_are_left_out():
    config = settings(erasing_probability=1.0, erasing_area_min=0.9, erasing_area_max=1.0,
                      erasing_aspect_min=0.3)
    erase = draw(config, count=200, height=200, width=10)["erase"]
    assert not erase.any()


def test_colours_stay_in_their_ranges():
    config = settings(color_probability=1.0, brightness=0.3, contrast=0.2, saturation=0.1, hue=0.05)
    color = draw(config)["color"] - np.float32([1, 1, 1, 0])
    ranges = np.array([0.3, 0.2, 0.1, 0.05])
    assert (np.abs(color) <= ranges + 1e-6).all()
    assert (color.max(axis=0) > 0.95 * ranges).all()
    assert (color.min(axis=0) < -0.95 * ranges).all()


def test_nothing_is_changed_when_all_is_off(image):
    result = apply(image, settings(), flip=True, shift=(3, 3), erase=(1, 1, 5, 5),
                   color=(0.5, 1, 1, 0))
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("flip", [True, False])
def test_flip_mirrors_left_and_right(image, flip):
    result = apply(image, settings(flip_probability=0.5), flip=flip)
    np.testing.assert_array_equal(result, image[:, ::-1] if flip else image)


@pytest.mark.parametrize("shift", [(0, 0), (4, 0), (-4, 0), (0, 3), (0, -3), (2, -4), (-1, 1),
                                   (4, 4), (-4, -4)])
def test_shift_is_padding_and_cropping(image, shift):
    pad = 4
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = pad + shift[0], pad + shift[1]
    expected = padded[top:top + HEIGHT, left:left + WIDTH]
    np.testing.assert_array_equal(apply(image, settings(pad=pad), shift=shift), expected)


def test_a_shift_as_large_as_the_image_leaves_black(image):
    result = apply(image, settings(pad=WIDTH), shift=(0, WIDTH))
    assert not result.any()


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (3, 2, 20, 9), (0, 0, 32, 15), (31, 15, 32, 16),
                                 (5, 0, 6, 16)])
def test_erase_fills_the_rectangle_with_the_mean_colour(image, box):
    top, left, bottom, right = box
    expected = image.astype(np.float32)
    expected[top:bottom, left:right] = MEAN_COLOR
    np.testing.assert_array_equal(
        apply(image, settings(erasing_probability=0.5), erase=box), expected)


def test_the_mean_colour_becomes_zero_in_the_network():
    from tfreid.layers.preprocessing import ImagePreprocessing

    pixel = np.float32(MEAN_COLOR).reshape(1, 1, 1, 3)
    np.testing.assert_allclose(ImagePreprocessing(1, 1, "torch")(pixel), 0, atol=1e-5)


def test_steps_come_in_order_flip_then_shift_then_erase(image):
    config = settings(flip_probability=0.5, pad=4, erasing_probability=0.5)
    result = apply(image, config, flip=True, shift=(2, -3), erase=(1, 1, 9, 7))
    expected = np.pad(image[:, ::-1], ((4, 4), (4, 4), (0, 0)))[6:6 + HEIGHT, 1:1 + WIDTH]
    expected = expected.astype(np.float32)
    expected[1:9, 1:7] = MEAN_COLOR
    np.testing.assert_array_equal(result, expected)


def test_neutral_factors_change_no_colour(image):
    result = apply(image, settings(color_probability=1.0))
    np.testing.assert_allclose(result, image, atol=0.01)


def test_brightness_and_contrast_match_numpy(image):
    gentle = (image // 2 + 40).astype(np.uint8)
    result = apply(gentle, settings(color_probability=1.0), color=(1.1, 0.8, 1.0, 0.0))
    bright = gentle * 1.1
    expected = (bright - bright.mean()) * 0.8 + bright.mean()
    np.testing.assert_allclose(result, expected, atol=0.05)


def test_saturation_zero_is_grey_and_hue_turns_red_into_green():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = 200
    config = settings(color_probability=1.0)
    grey = apply(image, config, color=(1, 1, 0, 0))
    np.testing.assert_allclose(grey, np.full_like(grey, grey[0, 0, 0]), atol=0.01)
    green = apply(image, config, color=(1, 1, 1, 1 / 3))
    np.testing.assert_allclose(green[0, 0], [0, 200, 0], atol=0.01)


@pytest.mark.parametrize("space", ["rgb", "yiq"])
def test_colours_are_clipped(image, space):
    if space == "yiq" and not addons.available():
        pytest.skip("TensorFlow Addons is not installed")
    config = settings(color_probability=1.0, color_space=space)
    result = apply(image, config, color=(2.0, 2.0, 2.0, 0.1))
    assert np.isfinite(result).all()
    assert result.min() == 0
    assert result.max() == 255


@pytest.mark.skipif(not addons.available(), reason="TensorFlow Addons is not installed")
def test_yiq_keeps_grey_and_neutral_images(image):
    config = settings(color_probability=1.0, color_space="yiq")
    # The matrix of Addons and its inverse are rounded to a few digits.
    np.testing.assert_allclose(apply(image, config), image, atol=1.0)
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    np.testing.assert_allclose(apply(grey, config, color=(1, 1, 1.5, 0.3)), 90, atol=1.0)


def test_yiq_without_addons_is_a_clear_error(image, monkeypatch):
    monkeypatch.setattr(addons, "_module", lambda: None)
    with pytest.raises(UserError, match="needs TensorFlow Addons.*requirements.txt"):
        apply(image, settings(color_probability=1.0, color_space="yiq"))


@pytest.mark.parametrize("size", [(32, 16), (17, 9), (200, 90), (5, 70), (1, 1)])
def test_images_of_any_size_come_out_at_the_networks_size(size):
    image = np.full((*size, 3), 77, np.uint8)
    config = AugmentationConfig(pad=2, color_probability=0.5)
    result = apply(image, config, flip=True, shift=(0, 0))
    assert result.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(result, 77, atol=0.01)
