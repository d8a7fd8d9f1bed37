"""Training-time augmentation: NumPy draws every random number, OpenCV applies them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from tfreid.config import AugmentationConfig
from tfreid.data.patches import draw_rectangles, draw_sources, paste
from tfreid.data.policies import apply_operations, draw_augmix, draw_randaugment, grey, mix

# The arrays that `draw_augmentations` returns, in the order in which batches carry them.
DRAWN = {
    "flip": np.bool_,
    "shift": np.int32,
    "erase": np.int32,
    "color": np.float32,
    "crop": np.float32,
    "cutout": np.int32,
    "noise": np.int64,
    "grey": np.bool_,
    "blur": np.float32,
    "jpeg": np.int32,
    "grey_patch": np.int32,
    "patch": np.int32,
    "patch_source": np.float32,
    "randaugment": np.float32,
    "augmix": np.float32,
    "augmix_weights": np.float32,
}

_NEUTRAL_COLOR = [1.0, 1.0, 1.0, 0.0]
# The NTSC matrix that turns RGB into YIQ and its inverse, with the digits of TensorFlow Addons.
_YIQ_FROM_RGB = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_RGB_FROM_YIQ = np.array([[1.0, 0.95617069, 0.62143257], [1.0, -0.2726886, -0.64681324],
                          [1.0, -1.103744, 1.70062309]])


def draw_augmentations(
    config: AugmentationConfig,
    count: int,
    height: int | np.ndarray,
    width: int | np.ndarray,
    random: np.random.Generator,
    epoch: int = 0,
    sources: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Draws all random numbers for the augmentation of `count` images.

    Args:
        config: Probabilities and ranges.
        count: Number of images.
        height: Height of the network's input in pixels, for all images or for each, [count].
        width: Width of the input, for all images or for each, [count].
        random: Source of the numbers.
        epoch: Epoch, from 0, which determines the largest cut-out.
        sources: Heights and widths [count] of the images before they are resized. Defaults to
            images with the aspect ratio of the input.

    Returns:
        The arrays named in `DRAWN`: `flip` [count]; `shift` [count, 2], rows and columns by which
        the padded image moves, in [-pad, pad] or up to the share `translation` of height and
        width, rounded (Ahmed et al. 2015); `erase` [count, 4], top, left, bottom, right of the
        erased rectangle (all 0 for none); `color` [count, 4], factors of brightness, contrast and
        saturation and the shift of the hue as a share of the circle; `crop` [count, 4], top, left,
        bottom, right of the part to keep, as shares of the sides; `cutout` [count, 4], a rectangle
        like `erase`; `noise` [count], the seeds of the noise in it; `grey` [count]; `blur` [count],
        the standard deviation in pixels, or 0; `jpeg` [count], the quality, or 0; `grey_patch` and
        `patch` [count, 4], rectangles like `erase`, and `patch_source`, what fills the latter (see
        `draw_sources`); `randaugment`, `augmix` and `augmix_weights`, as `draw_randaugment` and
        `draw_augmix` return them. Those from `grey_patch` on are empty, [count, 0], where their
        probability is 0.
    """
    ranges = np.array([config.brightness, config.contrast, config.saturation, config.hue])
    color = random.uniform(-ranges, ranges, (count, 4))
    color[random.random(count) >= config.color_probability] = 0.0
    height, width = (np.broadcast_to(side, count) for side in (height, width))
    drawn = {
        "flip": random.random(count) < config.flip_probability,
        "shift": _draw_shifts(config, count, height, width, random),
        "erase": draw_rectangles(config, "erasing", height, width, random),
        "color": color + (1.0, 1.0, 1.0, 0.0),
        "crop": draw_crops(config, *(sources or (height, width)), random),
        "cutout": draw_cutouts(config, height, width, epoch, random),
        "noise": random.integers(0, 2**32, count),
        **_draw_changes(config, count, height, width, random),
    }
    return {name: drawn[name].astype(kind, copy=False) for name, kind in DRAWN.items()}


def _draw_changes(config, count, height, width, random):
    """Draws what came later, after everything else, so that older runs go on as they began."""
    sigma = random.uniform(config.blur_sigma_min, config.blur_sigma_max, count)
    quality = random.integers(config.jpeg_quality_min, config.jpeg_quality_max, count,
                              endpoint=True)
    chosen = random.random((3, count))
    drawn = {
        "grey": chosen[0] < config.grey_probability,
        "blur": np.where(chosen[1] < config.blur_probability, sigma, 0.0),
        "jpeg": np.where(chosen[2] < config.jpeg_probability, quality, 0),
        "grey_patch": np.zeros((count, 0)), "patch": np.zeros((count, 0)),
        "patch_source": np.zeros((count, 0)),
    }
    if config.grey_patch_probability:
        drawn["grey_patch"] = draw_rectangles(config, "grey_patch", height, width, random)
    if config.patch_probability:
        drawn["patch"] = draw_rectangles(config, "patch", height, width, random)
        drawn["patch_source"] = draw_sources(count, random)
    drawn["randaugment"] = draw_randaugment(config, count, random)
    drawn["augmix"], drawn["augmix_weights"] = draw_augmix(config, count, random)
    return drawn


def augment_batch(images: Iterable[np.ndarray], drawn: dict[str, np.ndarray],
                  targets: Iterable[np.ndarray], erasing_color: Sequence[int]) -> None:
    """Augments images: where they are, what they look like, and what covers them, in this order.

    Flips, colours, crops, resizes; RandAugment, AugMix, grey-scale, blur, JPEG; shifts; pastes a
    patch, makes one grey, erases and cuts out.

    Args:
        images: uint8 RGB images [h, w, 3] of any size.
        drawn: As many rows of `draw_augmentations`.
        targets: As many uint8 arrays [height, width, 3] for the results, of the sizes that their
            rows were drawn for.
        erasing_color: RGB of erased rectangles, in 0-255.
    """
    if drawn["patch"].any():
        images = list(images)
    # Lists, because indexing arrays for every image would be slower than converting them once.
    rows = zip(*(drawn[name].tolist() for name in DRAWN))
    scratch = np.empty((0, 0, 3), np.uint8)
    for place, (image, target, row) in enumerate(zip(images, targets, rows)):
        row = dict(zip(DRAWN, row))
        height, width = target.shape[:2]
        if scratch.shape != target.shape:
            # Reused for all images of a size, since the system would clear new memory.
            scratch = np.empty(target.shape, np.uint8)
            fill = np.full((1, width, 3), erasing_color, np.uint8)
        # What commutes with resizing runs before it, on fewer pixels.
        if row["flip"]:
            image = cv2.flip(image, 1)
        if row["color"] != _NEUTRAL_COLOR:
            matrix = color_map(*row["color"], np.mean(cv2.mean(image)[:3]))
            image = cv2.transform(image, matrix)
        if row["crop"] != WHOLE:
            image = cut(image, *row["crop"])
        moved = any(row["shift"])
        resized = resize(image, height, width, scratch if moved else target)
        changed = _changed(resized, row)
        if moved:
            _shift(changed, row["shift"], target)
        elif changed is not resized:
            target[:] = changed
        if any(row["patch"]):
            paste(target, row["patch"], images, place, row["patch_source"])
        if any(row["grey_patch"]):
            top, left, bottom, right = row["grey_patch"]
            target[top:bottom, left:right] = grey(target[top:bottom, left:right])
        top, left, bottom, right = row["erase"]
        target[top:bottom, left:right] = fill[:, left:right]
        if any(row["cutout"]):
            fill_with_noise(target, row["cutout"], row["noise"])


def _changed(image, row):
    """Returns the image, or a new one if a row changes what it looks like."""
    image = apply_operations(image, row["randaugment"])
    if row["augmix_weights"] and row["augmix_weights"][0] < 1.0:
        image = mix(image, row["augmix_weights"], row["augmix"])
    if row["grey"]:
        image = grey(image)
    if row["blur"]:
        image = blur(image, row["blur"])
    if row["jpeg"]:
        image = recompress(image, row["jpeg"])
    return image


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Returns an image under a Gaussian filter of a standard deviation in pixels."""
    # Twice as fast as cv2.GaussianBlur.
    taps = cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma)) + 1, sigma)
    return cv2.sepFilter2D(image, -1, taps, taps)


def recompress(image: np.ndarray, quality: int) -> np.ndarray:
    """Returns what a JPEG file of some quality, 0 to 100, keeps of a uint8 RGB image [h, w, 3]."""
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
                           [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def color_map(brightness: float, contrast: float, saturation: float, hue: float,
              mean: float) -> np.ndarray:
    """Composes a colour jitter into one affine map of RGB: float64 [3, 4], the last column added.

    Brightness scales, contrast scales about the image's mean, saturation and hue (a share of the
    circle) scale and rotate the chrominance plane of YIQ, as Addons' `adjust_hsv_in_yiq` does.
    """
    angle = 2.0 * np.pi * hue
    cosine, sine = saturation * np.cos(angle), saturation * np.sin(angle)
    turn = np.array([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    matrix = _RGB_FROM_YIQ @ turn @ _YIQ_FROM_RGB
    offset = matrix.sum(axis=1, keepdims=True) * (1.0 - contrast) * mean
    return brightness * np.hstack([contrast * matrix, offset])


def resize(image: np.ndarray, height: int, width: int,
           target: np.ndarray | None = None) -> np.ndarray:
    """Resizes a uint8 image [h, w, 3], into `target` if given.

    OpenCV's closest match to `tfreid.layers.preprocessing.resize_images`: enlarging differs by
    about one grey level, from rounding; shrinking averages with equal weights instead of linearly
    decreasing ones, which differs at edges.
    """
    old_height, old_width = image.shape[:2]
    if old_height > height or old_width > width:
        # OpenCV averages areas only if no side grows.
        small = (min(old_width, width), min(old_height, height))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)


def _draw_shifts(config, count, height, width, random):
    reach = config.pad
    if config.translation:
        reach = np.rint(config.translation * np.stack([height, width], axis=1)).astype(np.int32)
    return random.integers(-reach, reach, (count, 2), np.int32, endpoint=True)


def _shift(image, shift, target):
    """Shifts an image, filling with zeros: copies the part that stays inside."""
    (to_rows, rows), (to_columns, columns) = map(_overlap, shift, target.shape)
    target[: to_rows.start] = 0
    target[to_rows.stop :] = 0
    target[:, : to_columns.start] = 0
    target[:, to_columns.stop :] = 0
    target[to_rows, to_columns] = image[rows, columns]


def _overlap(shift, size):
    kept = max(size - abs(shift), 0)
    to, start = max(-shift, 0), max(shift, 0)
    return slice(to, to + kept), slice(start, start + kept)


# The crop that keeps everything: top, left, bottom, right as shares of the sides.
WHOLE = [0.0, 0.0, 1.0, 1.0]
_ATTEMPTS = 10


def draw_crops(config: AugmentationConfig, heights: np.ndarray, widths: np.ndarray,
               random: np.random.Generator) -> np.ndarray:
    """Draws crops [n, 4] as shares (Szegedy et al., "Going deeper with convolutions", 2015).

    The area is a uniform share of the image's, the aspect ratio log-uniform or the image's own. A
    crop that does not fit is drawn again; after ten attempts it is the largest central crop with
    an allowed aspect ratio.
    """
    crops = np.tile(WHOLE, (len(heights), 1))
    if not config.crop_probability:
        return crops
    aspects = np.asarray(widths) / np.asarray(heights)
    pending = np.flatnonzero(random.random(len(crops)) < config.crop_probability)
    for _ in range(_ATTEMPTS):
        if not pending.size:
            return crops
        share = random.uniform(config.crop_area_min, config.crop_area_max, pending.size)
        # Ratio of the aspect ratios of crop and image.
        wider = 1.0
        if config.crop_aspect_min is not None:
            reach = -np.log(config.crop_aspect_min)
            wider = np.exp(random.uniform(-reach, reach, pending.size)) / aspects[pending]
        sides = np.stack([np.sqrt(share / wider), np.sqrt(share * wider)], axis=1)
        corners = random.random((pending.size, 2)) * (1.0 - sides)
        fits = np.all(sides <= 1.0, axis=1)
        crops[pending[fits]] = np.hstack([corners, corners + sides])[fits]
        pending = pending[~fits]
    crops[pending] = _largest(aspects[pending], config.crop_aspect_min)
    return crops


def cut(image: np.ndarray, top: float, left: float, bottom: float, right: float) -> np.ndarray:
    """Returns a view of an image's part inside a crop, at least one pixel."""
    (first_row, last_row), (first_column, last_column) = (
        _pixels(first, last, size)
        for first, last, size in zip((top, left), (bottom, right), image.shape)
    )
    return image[first_row:last_row, first_column:last_column]


def _pixels(first, last, size):
    start = min(int(np.rint(first * size)), size - 1)
    return start, max(int(np.rint(last * size)), start + 1)


def _largest(aspects, aspect_min):
    allowed = np.clip(aspects, aspect_min, 1.0 / aspect_min)
    sides = np.stack([np.minimum(aspects / allowed, 1.0), np.minimum(allowed / aspects, 1.0)], 1)
    return np.hstack([(1.0 - sides) / 2, (1.0 + sides) / 2])


def cutout_limit(config: AugmentationConfig, epoch: int) -> float:
    """Returns the cut-out curriculum's largest share of an image's area in an epoch, from 0.

    Almazan et al., "Re-ID done right: towards good practices for person re-identification" (2018),
    Sections 3.2 and 3.3, cut out rectangles of random noise that grow during training. The paper
    gives neither the sizes nor their schedule; here the limit of the area grows linearly.
    """
    if not config.cutout_probability:
        return 0.0
    last = config.cutout_epochs - 1
    grown = 1.0 if epoch >= last else epoch / last
    return config.cutout_area_start + grown * (config.cutout_area_end - config.cutout_area_start)


def draw_cutouts(config: AugmentationConfig, heights: np.ndarray, widths: np.ndarray, epoch: int,
                 random: np.random.Generator) -> np.ndarray:
    """Draws cut-out rectangles [n, 4] in pixels, all 0 for none.

    The area is uniform up to `cutout_limit`, the aspect ratio log-uniform among those at which a
    rectangle of this area fits into the image.
    """
    count = len(heights)
    if not config.cutout_probability:
        return np.zeros((count, 4), np.int64)
    share = random.uniform(0.0, cutout_limit(config, epoch), count)
    # Aspect ratios at which the rectangle is as high, and as wide, as the image.
    highest, widest = share * widths / heights, widths / heights / np.maximum(share, 1e-12)
    low = np.minimum(np.maximum(config.cutout_aspect_min, highest), widest)
    high = np.maximum(np.minimum(1.0 / config.cutout_aspect_min, widest), highest)
    aspect = np.exp(random.uniform(np.log(low), np.log(high)))
    area = share * heights * widths
    # Rounded down, so that the limit is never exceeded.
    tall = np.minimum(np.sqrt(area / aspect), heights).astype(np.int64)
    wide = np.minimum(area / np.maximum(tall, 1), widths).astype(np.int64)
    top = np.floor(random.random(count) * (heights - tall + 1)).astype(np.int64)
    left = np.floor(random.random(count) * (widths - wide + 1)).astype(np.int64)
    boxes = np.stack([top, left, top + tall, left + wide], axis=1)
    none = (random.random(count) >= config.cutout_probability) | (tall * wide == 0)
    return np.where(none[:, np.newaxis], 0, boxes)


def fill_with_noise(image: np.ndarray, box: tuple[int, int, int, int], seed: int) -> None:
    """Fills the box top, left, bottom, right of a uint8 image [h, w, 3] with uniform noise."""
    top, left, bottom, right = box
    shape = (bottom - top, right - left, image.shape[2])
    image[top:bottom, left:right] = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
