"""RandAugment and AugMix: every operation against NumPy, and what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.config import AugmentationConfig
from tfreid.data.policies import (
    OPERATIONS,
    apply_operations,
    draw_augmix,
    draw_randaugment,
    grey,
    mix,
)

HEIGHT, WIDTH = 48, 24
GREY = np.array([0.299, 0.587, 0.114])
# Those of Cubuk et al. 2020, Section 3.1; the first ten less identity are AugMix's.
RANDAUGMENT = {"identity", "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x",
               "shear_y", "translate_x", "translate_y", "brightness", "color", "contrast",
               "sharpness"}
AUGMIX = RANDAUGMENT - {"identity", "brightness", "color", "contrast", "sharpness"}


@pytest.fixture
def image():
    """Low contrast, so that stretching does something."""
    return np.random.default_rng(1).integers(40, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def smooth():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(y / 9 + phase) + np.cos(x / 7 + phase) for phase in range(3)]
    return np.rint(127 + 55 * np.stack(waves, axis=-1)).astype(np.uint8)


def operate(image, name, strength=0.0):
    before = image.copy()
    result = apply_operations(image, [(OPERATIONS.index(name), strength)])
    np.testing.assert_array_equal(image, before)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    return result


def sampled(image, x, y):
    """Interpolates linearly at points of the image; outside it is (128, 128, 128)."""
    padded = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), constant_values=128.0)
    x = np.clip(x + 1, 0, padded.shape[1] - 1)
    y = np.clip(y + 1, 0, padded.shape[0] - 1)
    left = np.minimum(np.floor(x).astype(int), padded.shape[1] - 2)
    top = np.minimum(np.floor(y).astype(int), padded.shape[0] - 2)
    u, v = (x - left)[..., None], (y - top)[..., None]
    return ((1 - v) * ((1 - u) * padded[top, left] + u * padded[top, left + 1])
            + v * ((1 - u) * padded[top + 1, left] + u * padded[top + 1, left + 1]))


def centred():
    """Coordinates of the pixels from the centre, x and y [h, w]."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2


def test_the_operations_are_those_of_the_papers():
    assert set(OPERATIONS) == RANDAUGMENT and len(OPERATIONS) == 14


def test_grey_has_the_weights_of_bt_601(image):
    expected = np.repeat((image @ GREY)[..., np.newaxis], 3, axis=2)
    np.testing.assert_allclose(grey(image), expected, atol=0.51)


def test_identity_changes_nothing(image):
    np.testing.assert_array_equal(operate(image, "identity", 0.9), image)


def test_autocontrast_stretches_each_channel_to_the_whole_range(image):
    image[..., 2] = image[..., 2] // 4 + 90
    pixels = image.astype(float)
    low, high = pixels.min((0, 1)), pixels.max((0, 1))
    expected = (pixels - low) * 255 / (high - low)
    np.testing.assert_allclose(operate(image, "autocontrast"), expected, atol=0.51)
    plain = np.full_like(image, 77)
    np.testing.assert_array_equal(operate(plain, "autocontrast"), plain)


def test_equalize_makes_each_channels_distribution_even(image):
    """The cumulative histogram less that of the lowest level, stretched to 0-255."""
    expected = np.empty(image.shape)
    for channel in range(3):
        below = np.cumsum(np.bincount(image[..., channel].ravel(), minlength=256))
        lowest = below[image[..., channel].min()]
        levels = (below - lowest) * 255 / (HEIGHT * WIDTH - lowest)
        expected[..., channel] = levels[image[..., channel]]
    np.testing.assert_allclose(operate(image, "equalize"), expected, atol=0.51)


@pytest.mark.parametrize(("strength", "bits"), [(0.0, 8), (0.3, 7), (-0.5, 6), (0.75, 5), (1.0, 4)])
def test_posterize_keeps_the_highest_bits(image, strength, bits):
    step = 2 ** (8 - bits)
    np.testing.assert_array_equal(operate(image, "posterize", strength), image // step * step)


@pytest.mark.parametrize(("strength", "threshold"),
                         [(0.0, 256), (0.5, 128), (-0.7, 76.8), (1.0, 0)])
def test_solarize_inverts_from_the_threshold_on(image, strength, threshold):
    image[0, 0], image[0, 1] = 128, 127
    expected = np.where(image >= threshold, 255 - image, image)
    np.testing.assert_array_equal(operate(image, "solarize", strength), expected)


@pytest.mark.parametrize("strength", [-1.0, 0.4])
@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y"])
def test_rotations_and_shears_are_about_the_centre(smooth, name, strength):
    x, y = centred()
    angle = np.deg2rad(30 * strength)
    cosine, sine = np.cos(angle), np.sin(angle)
    moved = {"rotate": (cosine * x - sine * y, sine * x + cosine * y),
             "shear_x": (x + 0.3 * strength * y, y),
             "shear_y": (x, y + 0.3 * strength * x)}[name]
    expected = sampled(smooth, moved[0] + (WIDTH - 1) / 2, moved[1] + (HEIGHT - 1) / 2)
    result = operate(smooth, name, strength)
    # OpenCV rounds places to a 32nd of a pixel, which shows at the border with the grey.
    assert np.abs(result - expected).max() < 6
    assert np.abs(result - expected).mean() < 0.5
    assert np.abs(smooth - expected).mean() > 2


@pytest.mark.parametrize("strength", [1.0, -0.3, 0.0])
def test_translations_move_by_a_share_of_the_side_over_grey(image, strength):
    for axis, name, size in ((1, "translate_x", WIDTH), (0, "translate_y", HEIGHT)):
        by = round(150 / 331 * strength * size)
        expected = np.roll(image, -by, axis)
        outside = slice(size - by, None) if by > 0 else slice(0, -by)
        expected[(slice(None),) * axis + (outside,)] = 128
        np.testing.assert_array_equal(operate(image, name, strength), expected)


@pytest.mark.parametrize("strength", [-1.0, -0.4, 0.0, 0.6, 1.0])
def test_enhancements_mix_with_black_grey_the_mean_and_a_smoothed_image(image, strength):
    factor, pixels = 1 + 0.9 * strength, image.astype(float)
    lightness = pixels @ GREY
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (0, 1))
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    for name, other in {"brightness": 0.0, "color": lightness[..., np.newaxis],
                        "contrast": lightness.mean(),
                        "sharpness": (windows * kernel).sum((-2, -1))}.items():
        expected = np.clip(factor * pixels + (1 - factor) * other, 0, 255)
        # The grey level is rounded before it is mixed.
        np.testing.assert_allclose(operate(image, name, strength), expected, atol=1.01)


def test_operations_follow_each_other_in_order(image):
    first, second = OPERATIONS.index("posterize"), OPERATIONS.index("solarize")
    expected = operate(operate(image, "posterize", 1.0), "solarize", 0.5)
    np.testing.assert_array_equal(apply_operations(image, [(first, 1.0), (second, 0.5)]), expected)
    assert np.any(expected != apply_operations(image, [(second, 0.5), (first, 1.0)]))


@pytest.mark.parametrize("weights", [(0.2, 0.5, 0.3), (0.0, 0.0, 1.0), (0.7, 0.3, 0.0)])
def test_mixtures_are_weighted_means_of_the_chains(image, weights):
    chains = [[(OPERATIONS.index("solarize"), 0.5), (OPERATIONS.index("equalize"), 0.0)],
              [(OPERATIONS.index("translate_x"), -0.5)]]
    layers = np.stack([image, *(apply_operations(image, chain) for chain in chains)])
    expected = np.tensordot(weights, layers.astype(float), 1)
    np.testing.assert_allclose(mix(image, weights, chains), expected, atol=0.51)


def test_randaugment_draws_every_operation_as_often_with_one_strength():
    config = AugmentationConfig(randaugment_probability=1.0, randaugment_operations=3,
                                randaugment_magnitude=6)
    chains = draw_randaugment(config, 7000, np.random.default_rng(0))
    numbers, strengths = np.moveaxis(chains, -1, 0)
    assert numbers.shape == (7000, 3)
    np.testing.assert_allclose(np.bincount(numbers.astype(int).ravel()) / 21000, 1 / 14, atol=0.006)
    np.testing.assert_allclose(np.abs(strengths), 0.6)
    assert abs(strengths.mean()) < 0.02


def test_randaugment_leaves_its_share_of_images_alone():
    config = AugmentationConfig(randaugment_probability=0.3, randaugment_operations=4)
    chains = draw_randaugment(config, 4000, np.random.default_rng(0))
    assert abs(np.mean(chains[..., 0].any(axis=1)) - 0.3) < 0.03
    assert draw_randaugment(AugmentationConfig(), 5, np.random.default_rng(0)).shape == (5, 0, 2)


def test_augmix_draws_chains_of_one_to_three_operations_and_weights_that_add_up():
    config = AugmentationConfig(augmix_probability=1.0, augmix_width=4, augmix_severity=5)
    chains, weights = draw_augmix(config, 4000, np.random.default_rng(0))
    assert (chains.shape, weights.shape) == ((4000, 4, 3, 2), (4000, 5))
    numbers = chains[..., 0].astype(int)
    assert {OPERATIONS[number] for number in np.unique(numbers)} == AUGMIX | {"identity"}
    lengths = (numbers > 0).sum(axis=-1)
    np.testing.assert_allclose(np.bincount(lengths.ravel(), minlength=4) / 16000,
                               [0, 1 / 3, 1 / 3, 1 / 3], atol=0.02)
    assert np.all((numbers > 0) == (np.arange(3) < lengths[..., np.newaxis])), "no gaps"
    strengths = np.abs(chains[..., 1])
    assert strengths.min() >= 0.01 and 0.49 < strengths.max() <= 0.5
    np.testing.assert_allclose(strengths.mean(), (0.1 + 5) / 20, atol=0.005)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    # Beta(1, 1) is uniform; of a Dirichlet(1, 1, 1, 1) each weight has the variance 3 / 80.
    np.testing.assert_allclose(np.quantile(weights[:, 0], [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75],
                               atol=0.03)
    within = weights[:, 1:] / (1 - weights[:, :1])
    np.testing.assert_allclose(within.mean(axis=0), 0.25, atol=0.01)
    np.testing.assert_allclose(within.var(axis=0), 3 / 80, atol=0.004)


def test_augmix_leaves_its_share_of_images_alone():
    chains, weights = draw_augmix(
        AugmentationConfig(augmix_probability=0.25), 4000, np.random.default_rng(0))
    alone = weights[:, 0] == 1.0
    assert abs(alone.mean() - 0.75) < 0.03 and not weights[alone, 1:].any()
    chains, weights = draw_augmix(AugmentationConfig(), 5, np.random.default_rng(0))
    assert (chains.shape, weights.shape) == ((5, 0, 3, 2), (5, 0))
