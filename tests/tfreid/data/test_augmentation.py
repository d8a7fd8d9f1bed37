"""Augmentation: what is drawn, and what is done with it, against NumPy."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tfreid import addons
from tfreid.config import AugmentationConfig, load_config
from tfreid.data.augmentation import (
    DRAWN,
    augment_batch,
    blur,
    color_map,
    draw_augmentations,
    recompress,
)
from tfreid.data.policies import OPERATIONS, apply_operations, grey, mix
from tfreid.layers.preprocessing import resize_images

HEIGHT, WIDTH = 32, 16
COLOR = (200, 7, 90)  # of erased rectangles
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
OFF = {"flip_probability": 0.0, "pad": 0, "erasing_probability": 0.0, "color_probability": 0.0}
NOTHING = {"flip": False, "shift": (0, 0), "erase": (0, 0, 0, 0), "color": (1.0, 1.0, 1.0, 0.0),
           "crop": (0.0, 0.0, 1.0, 1.0), "cutout": (0, 0, 0, 0), "noise": 0, "grey": False,
           "blur": 0.0, "jpeg": 0, "grey_patch": (), "patch": (), "patch_source": (),
           "randaugment": (), "augmix": (), "augmix_weights": ()}
# All that there was before grey-scale and what came with it.
OLDER = list(DRAWN)[:7]
FIRST = {
    "flip": [True, False, False],
    "shift": [[-9, -4], [0, -2], [-2, -10]],
    "erase": [[18, 7, 32, 16], [0, 0, 0, 0], [0, 0, 0, 0]],
    "color": [[1, 1, 1, 0], [1.12531, 1.12383, 1.02133, 0.00918], [1, 1, 1, 0]],
    "crop": [[0.17774, 0.10496, 0.83941, 0.76663], [0.26625, 0.48745, 0.71823, 0.93944],
             [0.12851, 0.04923, 0.99093, 0.91165]],
    "cutout": [[0, 0, 0, 0], [16, 9, 22, 14], [2, 0, 6, 15]],
    "noise": [2463802552, 645445395, 3693847574],
}
SOLARIZE, POSTERIZE = map(OPERATIONS.index, ("solarize", "posterize"))


def settings(**values) -> AugmentationConfig:
    return AugmentationConfig(**{**OFF, **values})


def draw(config, count=4000, seed=0, height=HEIGHT, width=WIDTH):
    return draw_augmentations(config, count, height, width, np.random.default_rng(seed))


def apply(image, height=HEIGHT, width=WIDTH, **drawn):
    row = {**NOTHING, **drawn}
    rows = {name: np.array([row[name]], kind) for name, kind in DRAWN.items()}
    target = np.empty((height, width, 3), np.uint8)
    augment_batch([image], rows, [target], COLOR)
    return target


def smooth(height, width):
    """An image of low frequencies, as uint8."""
    y, x = np.mgrid[:height, :width] + 0.5
    waves = [np.sin(3 * y / height + phase) + np.cos(4 * x / width + phase) for phase in range(3)]
    return np.rint(127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)


def coloured(image, brightness, contrast, saturation, hue):
    """The jitter one step after another, with an exact inverse."""
    bright = image.astype(float) * brightness
    pixels = (bright - bright.mean()) * contrast + bright.mean()
    yiq = pixels @ TO_YIQ.T
    chroma = (yiq[..., 1] + 1j * yiq[..., 2]) * saturation * np.exp(2j * np.pi * hue)
    pixels = np.stack([yiq[..., 0], chroma.real, chroma.imag], axis=-1) @ np.linalg.inv(TO_YIQ).T
    return np.clip(pixels, 0, 255)


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def test_the_generator_alone_fixes_what_is_drawn():
    chances = {f"{step}_probability": 0.5 for step in AugmentationConfig().steps()}
    config = AugmentationConfig(**chances, cutout_area_start=0.2)
    first, again, other = draw(config), draw(config), draw(config, seed=1)
    assert first.keys() == DRAWN.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
        assert len(first[name]) == 4000


def test_what_came_later_changes_nothing_that_older_runs_draw():
    """Their first numbers, from before grey-scale and what came with it."""
    older = AugmentationConfig(color_probability=0.5, crop_probability=1.0, cutout_probability=0.5,
                               cutout_area_start=0.2)
    drawn = draw(older, count=3)
    for name in OLDER:
        np.testing.assert_allclose(drawn[name], FIRST[name], atol=1e-5)
    chances = {f"{step}_probability": 1.0 for step in older.steps()[5:]}
    assert "grey_probability" in chances and "cutout_probability" not in chances
    both = draw(dataclasses.replace(older, **chances), count=3)
    for name in OLDER:
        np.testing.assert_array_equal(both[name], drawn[name])
    assert both["grey"].all() and both["blur"].all() and both["jpeg"].all()


def test_probability_zero_draws_nothing_and_one_always():
    none = draw(settings())
    for name in list(DRAWN)[7:]:
        assert len(none[name]) == 4000 and not none[name].any()
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


def test_translation_is_uniform_up_to_its_share_of_each_side():
    """CSN's 160 x 60 image and 0.05: 8 rows and 3 columns each way."""
    shift = draw(settings(translation=0.05), count=20000, height=160, width=60)["shift"]
    assert shift.dtype == np.int32
    for axis, reach in ((0, 8), (1, 3)):
        values, counts = np.unique(shift[:, axis], return_counts=True)
        np.testing.assert_array_equal(values, np.arange(-reach, reach + 1))
        np.testing.assert_allclose(counts / 20000, 1 / (2 * reach + 1), atol=0.015)
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.03


def test_translation_changes_nothing_else_that_is_drawn_before_it():
    padded, translated = draw(AugmentationConfig(color_probability=0.5)), draw(
        AugmentationConfig(color_probability=0.5, pad=0, translation=0.1))
    np.testing.assert_array_equal(padded["flip"], translated["flip"])
    np.testing.assert_array_equal(padded["color"], translated["color"])


def test_the_draws_of_padding_stay_what_they_were():
    """Runs that were begun before must go on with the same images."""
    shift = draw(settings(pad=3), count=6)["shift"]
    expected = [[-1, 0], [2, 3], [-3, 3], [0, -1], [1, 1], [-2, -1]]
    np.testing.assert_array_equal(shift, expected)


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


def test_neutral_rows_change_nothing(image):
    result = apply(image)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, image)


def test_every_image_gets_its_own_row(image):
    config = AugmentationConfig(pad=3, color_probability=0.5)
    drawn = draw(config, count=12)
    images = [np.roll(image, k, axis=0) for k in range(12)]
    before = [one.copy() for one in images]
    batch = np.empty((len(drawn["flip"]), HEIGHT, WIDTH, 3), np.uint8)
    augment_batch(iter(images), drawn, batch, COLOR)
    assert batch.shape == (12, HEIGHT, WIDTH, 3)
    for k, one in enumerate(images):
        row = {name: values[k] for name, values in drawn.items()}
        np.testing.assert_array_equal(batch[k], apply(one, **row))
        np.testing.assert_array_equal(one, before[k])


@pytest.mark.parametrize("flip", [True, False])
def test_flip_mirrors_left_and_right(image, flip):
    result = apply(image, flip=flip)
    np.testing.assert_array_equal(result, image[:, ::-1] if flip else image)


@pytest.mark.parametrize("shift", [(0, 0), (4, 0), (-4, 0), (0, 3), (0, -3), (2, -4), (-1, 1),
                                   (4, 4), (-4, -4)])
def test_shift_is_padding_and_cropping(image, shift):
    pad = 4
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = pad + shift[0], pad + shift[1]
    expected = padded[top:top + HEIGHT, left:left + WIDTH]
    np.testing.assert_array_equal(apply(image, shift=shift), expected)


@pytest.mark.parametrize("shift", [(0, WIDTH), (0, -WIDTH), (HEIGHT + 3, 0), (-99, 99)])
def test_a_shift_as_large_as_the_image_leaves_black(image, shift):
    assert not apply(image, shift=shift).any()


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (3, 2, 20, 9), (0, 0, 32, 15), (31, 15, 32, 16),
                                 (5, 0, 6, 16)])
def test_erase_fills_the_rectangle_with_the_colour(image, box):
    top, left, bottom, right = box
    expected = image.copy()
    expected[top:bottom, left:right] = COLOR
    np.testing.assert_array_equal(apply(image, erase=box), expected)


@pytest.mark.parametrize("recipe, inside", [("osnet", (0, 0, 0)),
                                            ("bot_resnet50", (0.485, 0.456, 0.406))])
def test_what_the_network_sees_of_an_erased_pixel(recipe, inside):
    from tfreid.layers.preprocessing import ImagePreprocessing

    color = load_config(recipe).data.augmentation.erasing_color
    pixel = np.float32(color).reshape(1, 1, 1, 3)
    seen = np.ravel(ImagePreprocessing(1, 1, "torch")(pixel))
    np.testing.assert_allclose(seen, inside, atol=0.01)


def test_steps_come_in_order_flip_then_shift_then_erase(image):
    result = apply(image, flip=True, shift=(2, -3), erase=(1, 1, 9, 7))
    expected = np.pad(image[:, ::-1], ((4, 4), (4, 4), (0, 0)))[6:6 + HEIGHT, 1:1 + WIDTH]
    expected[1:9, 1:7] = COLOR
    np.testing.assert_array_equal(result, expected)


CHANGES = [(1.1, 0.8, 1.0, 0.0), (1.0, 1.0, 1.4, 0.05), (0.9, 1.15, 0.7, -0.08),
           (1.0, 1.0, 0.0, 0.3), (1.5, 1.5, 3.0, 0.4)]


@pytest.mark.parametrize("change", CHANGES)
def test_colours_match_numpy_step_by_step(image, change):
    gentle = image // 2 + 40
    # Half a grey level of rounding, and the inverse of the YIQ matrix has few digits.
    np.testing.assert_allclose(apply(gentle, color=change), coloured(gentle, *change), atol=1.5)


@pytest.mark.skipif(not addons.available(), reason="TensorFlow Addons is not installed")
@pytest.mark.parametrize(("hue", "saturation", "brightness"),
                         [(0.0, 1.0, 1.1), (0.05, 1.0, 1.0), (-0.2, 1.4, 0.8), (0.4, 0.0, 1.0)])
def test_the_colour_map_is_the_one_of_addons(image, hue, saturation, brightness):
    pixels = image.astype(np.float32)
    matrix = color_map(brightness, 1.0, saturation, hue, 100.0)
    expected = addons.require("the test").image.adjust_hsv_in_yiq(
        pixels, 2 * np.pi * hue, saturation, brightness)
    np.testing.assert_allclose(pixels @ matrix[:, :3].T + matrix[:, 3], expected, atol=1e-3)


def test_saturation_zero_is_grey_and_grey_stays_grey(image):
    result = apply(image, color=(1, 1, 0, 0)).astype(int)
    assert np.ptp(result, axis=-1).max() <= 1
    np.testing.assert_allclose(result[..., 0], image @ TO_YIQ[0], atol=1)
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    np.testing.assert_allclose(apply(grey, color=(1, 1, 1.5, 0.3)), 90, atol=1)


def test_colours_are_clipped(image):
    result = apply(image, color=(2.0, 2.0, 2.0, 0.1))
    assert result.min() == 0
    assert result.max() == 255
    np.testing.assert_allclose(result, coloured(image, 2.0, 2.0, 2.0, 0.1), atol=2)


@pytest.mark.parametrize("size", [(128, 64), (255, 100), (31, 17), (256, 128), (1, 1)])
def test_enlarging_is_within_a_grey_level_of_the_serving_resize(size):
    image = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = resize_images(image, 256, 128)
    np.testing.assert_allclose(apply(image, 256, 128), expected, atol=1.1)


@pytest.mark.parametrize("size", [(300, 150), (512, 256), (400, 60), (60, 300)])
def test_shrinking_a_side_is_near_the_serving_resize(size):
    image = smooth(*size)
    np.testing.assert_allclose(apply(image, 256, 128), resize_images(image, 256, 128), atol=2)


def test_shrinking_averages_what_a_pixel_covers():
    image = np.random.default_rng(4).integers(0, 256, (4 * HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)
    blocks = image.reshape(HEIGHT, 4, WIDTH, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(apply(image), blocks, atol=1)
    # The other side grows.
    tall = np.repeat(image[:, :1], WIDTH // 2, axis=1)
    rows = np.broadcast_to(tall[:, :1].reshape(HEIGHT, 4, 1, 3).mean(axis=1), (HEIGHT, WIDTH, 3))
    np.testing.assert_allclose(apply(tall), rows, atol=1.1)


def test_crops_come_before_resizing_and_cut_outs_last(image):
    cropped = apply(image, crop=(0.25, 0.5, 0.75, 1.0))
    height, width = image.shape[:2]
    part = image[height // 4: height * 3 // 4, width // 2:]
    np.testing.assert_array_equal(cropped, cv2.resize(part, (WIDTH, HEIGHT)))
    noisy = apply(image, cutout=(2, 1, 6, 5), erase=(0, 0, 4, 4), noise=3)
    expected = np.random.default_rng(3).integers(0, 256, (4, 4, 3), np.uint8)
    np.testing.assert_array_equal(noisy[2:6, 1:5], expected)
    assert np.all(noisy[:2, :4] == COLOR)


def test_grey_blur_and_jpeg_are_drawn_by_their_settings_apart_from_each_other():
    drawn = draw(settings(grey_probability=0.3, blur_probability=0.5, blur_sigma_min=0.5,
                          blur_sigma_max=1.5, jpeg_probability=0.7, jpeg_quality_min=40,
                          jpeg_quality_max=43), count=8000)
    chosen = np.stack([drawn["grey"], drawn["blur"] > 0, drawn["jpeg"] > 0])
    np.testing.assert_allclose(chosen.mean(axis=1), [0.3, 0.5, 0.7], atol=0.02)
    assert np.abs(np.corrcoef(chosen) - np.eye(3)).max() < 0.04
    sigma = drawn["blur"][drawn["blur"] > 0]
    np.testing.assert_allclose(np.quantile(sigma, [0, 0.5, 1]), [0.5, 1, 1.5], atol=0.03)
    quality, counts = np.unique(drawn["jpeg"][drawn["jpeg"] > 0], return_counts=True)
    np.testing.assert_array_equal(quality, [40, 41, 42, 43])
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.02)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_blur_is_a_gaussian_filter(image, sigma):
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-np.arange(-reach, reach + 1) ** 2 / (2 * sigma**2))
    taps /= taps.sum()
    expected = np.pad(image.astype(float), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, taps, "valid")
    np.testing.assert_allclose(blur(image, sigma), expected, atol=1)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_recompression_is_that_of_another_jpeg_library(quality):
    pixels = smooth(64, 48)
    pixels[20:40, 10:30] = (250, 20, 60)  # swapped channels would show here
    encoded = tf.io.encode_jpeg(pixels, quality=quality, chroma_downsampling=True)
    expected = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE").numpy()
    found = recompress(pixels, quality)
    np.testing.assert_allclose(found, expected, atol=3)
    assert 0.05 < np.abs(found.astype(float) - pixels).mean() < 12


def test_lower_quality_keeps_less():
    pixels = np.random.default_rng(5).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    losses = [np.abs(recompress(pixels, quality).astype(float) - pixels).mean()
              for quality in (95, 60, 30, 5)]
    assert losses == sorted(losses) and losses[-1] > 1.2 * losses[0]


def test_looks_change_in_order_policies_grey_blur_and_jpeg_before_shift_and_erasing(image):
    chain, chains = [(SOLARIZE, 0.5)], [[(POSTERIZE, 1.0)] * 3]
    result = apply(image, flip=True, randaugment=chain, augmix=chains, augmix_weights=(0.5, 0.5),
                   grey=True, blur=0.8, jpeg=60, shift=(2, -3), erase=(1, 1, 9, 7))
    expected = apply_operations(image[:, ::-1].copy(), chain)
    expected = mix(expected, (0.5, 0.5), chains)
    expected = recompress(blur(grey(expected), 0.8), 60)
    expected = np.pad(expected, ((4, 4), (4, 4), (0, 0)))[6:6 + HEIGHT, 1:1 + WIDTH]
    expected[1:9, 1:7] = COLOR
    np.testing.assert_array_equal(result, expected)


def test_an_image_that_augmix_leaves_out_is_not_touched(image):
    result = apply(image, augmix=[[(SOLARIZE, 1.0)] * 3], augmix_weights=(1.0, 0.0))
    np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_grey_patches_lie_in_the_shifted_image_under_the_erased_rectangle(image, shift):
    result = apply(image, grey_patch=(4, 2, 20, 12), erase=(10, 0, 14, 16), shift=shift)
    expected = apply(image, shift=shift)
    expected[4:20, 2:12] = grey(expected[4:20, 2:12].copy())
    expected[10:14] = COLOR
    np.testing.assert_array_equal(result, expected)


def test_patches_come_from_the_other_images_as_they_were_before_they_were_changed(image):
    images = [image, 255 - image, image // 2]
    names = ("flip", "grey", "patch", "patch_source")
    drawn = {name: np.array([NOTHING[name]] * 3, kind) for name, kind in DRAWN.items()
             if name not in names}
    drawn.update(flip=np.array([True] * 3), grey=np.array([True] * 3),
                 patch=np.array([[4, 2, 12, 10], [0, 0, 0, 0], [0, 8, 16, 16]]),
                 patch_source=np.array([[0.0, 0, 0, 1, 0], [0.0] * 5, [0.9, 1, 1, 1, 0]]))
    batch = np.empty((3, HEIGHT, WIDTH, 3), np.uint8)
    augment_batch(iter(images), {name: drawn[name] for name in DRAWN}, batch, COLOR)
    expected = [grey(one[:, ::-1].copy()) for one in images]
    expected[0][4:12, 2:10] = images[1][:8, :8]
    expected[2][:16, 8:] = images[1][16:, 8:]
    np.testing.assert_array_equal(batch, expected)


def test_every_image_is_drawn_for_its_own_size():
    heights, widths = np.array([100, 40] * 500), np.array([20, 90] * 500)
    config = settings(erasing_probability=1.0, translation=0.1)
    drawn = draw_augmentations(config, 1000, heights, widths, np.random.default_rng(0))
    top, left, bottom, right = drawn["erase"].T
    assert np.all((bottom <= heights) & (right <= widths))
    share = (bottom - top) * (right - left) / (heights * widths)
    assert share.min() > 0.015 and share.max() < 0.42
    reach = np.abs(drawn["shift"])[::2].max(axis=0), np.abs(drawn["shift"])[1::2].max(axis=0)
    np.testing.assert_array_equal(reach, [[10, 2], [4, 9]])
