"""RandAugment and AugMix: chains of random image operations, and mixtures of them.

Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space"
(2020); Hendrycks et al., "AugMix: A simple data processing method to improve robustness and
uncertainty" (2020). Both take the operations of Cubuk et al., "AutoAugment: Learning augmentation
strategies from data" (2019), whose ranges (Table 6 there) are the strength 1 here.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tfreid.config import AugmentationConfig

# What comes into the image where an operation moves it.
_FILL = (128, 128, 128)
# The longest chain of AugMix.
_DEPTH = 3
# The strongest blur by which `sharpness` mixes: a weighted mean of 3x3 pixels.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13.0
_ONE_PIXEL = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def grey(image: np.ndarray) -> np.ndarray:
    """Returns a uint8 RGB image [h, w, 3] in grey: 0.299 R + 0.587 G + 0.114 B in each channel."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _identity(image, strength):
    return image


def _autocontrast(image, strength):
    return cv2.merge([_stretched(channel) for channel in cv2.split(image)])


def _stretched(channel):
    low, high = cv2.minMaxLoc(channel)[:2]
    if low == high:
        return channel
    scale = 255.0 / (high - low)
    return cv2.addWeighted(channel, scale, channel, 0.0, -low * scale)


def _equalize(image, strength):
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _posterize(image, strength):
    """Keeps the highest 8 to 4 bits."""
    return image & np.uint8(256 - 2 ** round(4 * abs(strength)))


def _solarize(image, strength):
    """Inverts what is at least as bright as a threshold, from 256 down to 0."""
    highest_kept = np.ceil(256 * (1 - abs(strength))) - 1
    # 255 where pixels are inverted, which flips all of their bits.
    above = cv2.threshold(image, highest_kept, 255, cv2.THRESH_BINARY)[1]
    return cv2.bitwise_xor(image, above)


def _rotate(image, strength):
    """Turns by up to 30 degrees."""
    angle = np.deg2rad(30.0 * strength)
    cosine, sine = np.cos(angle), np.sin(angle)
    return _moved(image, [[cosine, -sine], [sine, cosine]])


def _shear_x(image, strength):
    return _moved(image, [[1.0, 0.3 * strength], [0.0, 1.0]])


def _shear_y(image, strength):
    return _moved(image, [[1.0, 0.0], [0.3 * strength, 1.0]])


def _translate_x(image, strength):
    """Moves by up to 150/331 of the width, to the left where the strength is positive."""
    by = round(150 / 331 * strength * image.shape[1])
    left, right = max(-by, 0), max(by, 0)
    kept = image[:, right : image.shape[1] - left]
    return cv2.copyMakeBorder(kept, 0, 0, left, right, cv2.BORDER_CONSTANT, value=_FILL)


def _translate_y(image, strength):
    by = round(150 / 331 * strength * image.shape[0])
    top, bottom = max(-by, 0), max(by, 0)
    kept = image[bottom : image.shape[0] - top]
    return cv2.copyMakeBorder(kept, top, bottom, 0, 0, cv2.BORDER_CONSTANT, value=_FILL)


def _moved(image, matrix):
    """Takes the pixel at x from A (x - centre) + centre, with x to the right and down."""
    height, width = image.shape[:2]
    centre = np.array([width - 1, height - 1]) / 2
    offset = centre - np.dot(matrix, centre)
    return cv2.warpAffine(image, np.column_stack([matrix, offset]), (width, height),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=_FILL)


def _brightness(image, strength):
    """Mixes with black by a factor from 0.1 to 1.9, which extrapolates above 1."""
    return cv2.addWeighted(image, 1 + 0.9 * strength, image, 0.0, 0.0)


def _color(image, strength):
    """Mixes with the grey image likewise."""
    factor = 1 + 0.9 * strength
    return cv2.addWeighted(image, factor, grey(image), 1 - factor, 0.0)


def _contrast(image, strength):
    """Mixes with the mean grey likewise."""
    factor = 1 + 0.9 * strength
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return cv2.addWeighted(image, factor, image, 0.0, (1 - factor) * mean)


def _sharpness(image, strength):
    """Mixes with a smoothed image likewise."""
    factor = 1 + 0.9 * strength
    return cv2.filter2D(image, -1, factor * _ONE_PIXEL + (1 - factor) * _SMOOTH)


# By the numbers with which they are drawn. AugMix takes those from 1 on that change neither
# brightness, color, contrast nor sharpness.
_OPERATIONS = (_identity, _autocontrast, _equalize, _posterize, _rotate, _solarize, _shear_x,
               _shear_y, _translate_x, _translate_y, _brightness, _color, _contrast, _sharpness)
OPERATIONS = tuple(function.__name__[1:] for function in _OPERATIONS)
_OF_AUGMIX = OPERATIONS.index("translate_y")


def apply_operations(image: np.ndarray, operations: Sequence[tuple[float, float]]) -> np.ndarray:
    """Applies a chain of operations to a uint8 RGB image [h, w, 3] and returns the result.

    Args:
        image: The image, which stays as it is.
        operations: Pairs of a place in `OPERATIONS` and a strength in [-1, 1]. The sign is the
            direction, where an operation has two.
    """
    for number, strength in operations:
        image = _OPERATIONS[int(number)](image, strength)
    return image


def mix(image: np.ndarray, weights: Sequence[float],
        chains: Sequence[Sequence[tuple[float, float]]]) -> np.ndarray:
    """Returns the weighted mean of an image and of what chains of operations make of it (AugMix).

    Args:
        image: uint8 RGB image [h, w, 3].
        weights: Weights of the image and of each chain, which add up to 1.
        chains: Operations as in `apply_operations`.
    """
    mixed, total = image.astype(np.float32), weights[0]
    for weight, chain in zip(weights[1:], chains):
        total += weight
        if weight > 0.0:
            # The mean of what came before, whose weights add up to the rest of the total.
            cv2.accumulateWeighted(apply_operations(image, chain), mixed, weight / total)
    return cv2.convertScaleAbs(mixed)


def draw_randaugment(config: AugmentationConfig, count: int,
                     random: np.random.Generator) -> np.ndarray:
    """Draws each image's chain for `apply_operations`, [count, operations, 2].

    Every operation is as likely and has the strength of the magnitude, in either direction. The
    images left out get the operation `identity`; without any the chains are empty.
    """
    if not config.randaugment_probability:
        return np.zeros((count, 0, 2))
    shape = count, config.randaugment_operations
    numbers = random.integers(0, len(OPERATIONS), shape)
    strengths = random.choice([-1.0, 1.0], shape) * config.randaugment_magnitude / 10
    numbers[random.random(count) >= config.randaugment_probability] = 0
    return np.stack([numbers, strengths], axis=-1)


def draw_augmix(config: AugmentationConfig, count: int,
                random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws each image's chains [count, width, 3, 2] and weights [count, 1 + width] for `mix`.

    As Algorithm 1 of the paper: chains of one to three operations, their weights from a Dirichlet
    and the share of their mixture from a Beta distribution, both with alpha 1. A strength is
    uniform up to the severity, as in the authors' code. The images left out have the weight 1
    for themselves; without any the arrays are empty.
    """
    if not config.augmix_probability:
        return np.zeros((count, 0, _DEPTH, 2)), np.zeros((count, 0))
    shape = count, config.augmix_width, _DEPTH
    numbers = random.integers(1, _OF_AUGMIX + 1, shape)
    numbers[np.arange(_DEPTH) > random.integers(0, _DEPTH, shape[:2])[..., np.newaxis]] = 0
    strengths = random.choice([-1.0, 1.0], shape) * random.uniform(
        0.1, config.augmix_severity, shape) / 10
    share = random.beta(1.0, 1.0, (count, 1))
    share[random.random(count) >= config.augmix_probability] = 0.0
    weights = share * random.dirichlet(np.ones(config.augmix_width), count)
    return np.stack([numbers, strengths], axis=-1), np.hstack([1 - share, weights])
