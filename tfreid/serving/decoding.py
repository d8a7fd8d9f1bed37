"""Decoding inside a served graph: bounded, and to the pixels that a viewer shows."""

from __future__ import annotations

import tensorflow as tf

from tfrecords.image_headers import (
    EXIF_MARKER,
    EXIF_SIGNATURE,
    MOST_ENTRIES,
    MOST_OFFSET,
    MOST_SEGMENTS,
    ORIENTATION_TAG,
    SEGMENTS_BEFORE,
    SHORT,
    TIFF_ORDERS,
)
from tfrecords.images import MIRRORED, UPSIDE_DOWN
from tfreid.layers.preprocessing import resize_images
from tfreid.records import decode_image

_PNG_START, _PNG_HEADER, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"IHDR", b"\xff\xd8\xff"
_HEADER_BYTES = 26  # up to a PNG's kind of colours
_PNG_GREY = b"\0"
# Files that are decoded at once, which bounds memory.
_DECODED_AT_ONCE = 10
_EXIF_BYTES = MOST_OFFSET + 2 + 0xFFFF  # the end of the last segment that counts
_SIGNATURE = EXIF_SIGNATURE.decode().replace("\0", r"\x00")
_LITTLE = next(start for start, order in TIFF_ORDERS.items() if order == "<")


def decode_bounded(file: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes one JPEG or PNG of bounded size to the uint8 RGB [h, w, 3] that a viewer shows.

    As in records, a JPEG is turned by its EXIF tag and transparent pixels are laid on white. Other
    formats are refused, which TensorFlow would read, some without a size in their first bytes.

    Raises:
        tf.errors.InvalidArgumentError: If the file is of another format, its header declares more
            than `max_pixels`, or it cannot be decoded.
    """
    start = tf.strings.substr(file, 0, _HEADER_BYTES)
    start = tf.strings.join([start, bytes(_HEADER_BYTES)])  # so that every part exists
    is_png = tf.logical_and(tf.equal(_part(start, 0, 8), _PNG_START),
                            tf.equal(_part(start, 12, 4), _PNG_HEADER))
    is_jpeg = tf.equal(_part(start, 0, 3), _JPEG_START)
    known = tf.debugging.Assert(
        tf.logical_or(is_png, is_jpeg), ["an image is neither a JPEG nor a PNG"])
    with tf.control_dependencies([known]):
        sides = tf.cond(
            is_png,
            lambda: tf.io.decode_raw(_part(start, 16, 8), tf.int32, little_endian=False),
            lambda: tf.image.extract_jpeg_shape(file)[1::-1])
    width, height = tf.unstack(tf.cast(tf.ensure_shape(sides, [2]), tf.int64))
    bounded = tf.debugging.Assert(
        tf.reduce_all([width > 0, height > 0, width * height <= max_pixels]),
        [f"an image must have 1 to {max_pixels} pixels (export.max_pixels); its width and height:",
         width, height])
    with tf.control_dependencies([bounded]):
        file = tf.identity(file)
    return tf.cond(is_png, lambda: _png_on_white(file, _part(start, 25, 1)),
                   lambda: _turned(decode_image(file), exif_orientation(file)))


def decode_or_blank(file: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what `decode_bounded` does and True or, where it fails, a black pixel and False."""
    # A graph has no other way to go on after an error than the data sets' one.
    datasets = tf.data.Dataset
    decoded = datasets.from_tensors(file).map(
        lambda file: (decode_bounded(file, max_pixels), True)).ignore_errors()
    blank = datasets.from_tensors((tf.zeros([1, 1, 3], tf.uint8), False))
    return decoded.concatenate(blank).take(1).get_single_element()


def decode_files(files: tf.Tensor, height: int, width: int,
                 max_pixels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes JPEG or PNG files [n] of any sizes.

    Returns:
        float32 RGB [n, height, width, 3] in 0-255, and bool [n]: whether `decode_bounded` reads the
        file. Other images are black.
    """
    count, shape = tf.size(files, tf.int64), [height, width, 3]
    datasets = tf.data.Dataset
    # One pipeline for all files: starting one for each would take longer than decoding them.
    decoded = datasets.from_tensor_slices(files).enumerate().map(
        lambda place, file: (place, resize_images(
            decode_bounded(file, max_pixels), height, width)),
        num_parallel_calls=_DECODED_AT_ONCE).ignore_errors()
    # Behind the last place, so that there is always an element.
    behind = datasets.from_tensors((count, tf.zeros(shape)))
    places, images = decoded.concatenate(behind).batch(count + 1).get_single_element()
    ones = tf.ones_like(places)
    valid = tf.scatter_nd(places[:, tf.newaxis], ones, [count + 1])[:-1]
    last = tf.size(places, tf.int64) - 1
    images = tf.cond(
        tf.equal(last, count), lambda: images[:-1],
        lambda: tf.gather(images, tf.where(valid > 0, tf.cumsum(valid) - 1, last)))
    return tf.ensure_shape(images, [None, *shape]), valid > 0


def exif_orientation(file: tf.Tensor) -> tf.Tensor:
    """Reads how a viewer turns a JPEG, int64 scalar; see `tfrecords.image_headers`."""
    head = tf.strings.substr(file, 0, _EXIF_BYTES)
    # Most files have no EXIF data, and one search costs less than the walk.
    return tf.cond(tf.strings.regex_full_match(head, rf"\C*{_SIGNATURE}\C*"),
                   lambda: _orientation(head), lambda: tf.ones([], tf.int64))


def _orientation(head: tf.Tensor) -> tf.Tensor:
    head = tf.io.decode_raw(head, tf.uint8)
    last = tf.size(head, tf.int64) - 1

    def parts(positions, length):
        places = positions[..., tf.newaxis] + tf.range(length, dtype=tf.int64)
        return tf.cast(tf.gather(head, tf.minimum(places, last)), tf.int64)

    def look(number, position, *_):
        segment = parts(position, 4 + len(EXIF_SIGNATURE))
        marker, end = segment[1], position + 2 + _number(segment[2:4], False)
        about = tf.reduce_any(marker == list(SEGMENTS_BEFORE))
        is_fill = marker == 0xFF
        going = tf.reduce_all([segment[0] == 0xFF, tf.logical_or(about, is_fill),
                               position <= MOST_OFFSET])
        found = tf.reduce_all([going, marker == EXIF_MARKER,
                               _equal(segment[4:], EXIF_SIGNATURE)])
        following = tf.where(is_fill, position + 1, end)
        return (number + 1, tf.where(found, position, following), found,
                tf.logical_and(going, tf.logical_not(found)))

    zero, no = tf.zeros([], tf.int64), tf.constant(False)
    _, position, found, _ = tf.while_loop(
        lambda number, position, found, going: tf.logical_and(number < MOST_SEGMENTS, going),
        look, (zero, zero + 2, no, tf.constant(True)), parallel_iterations=1)

    def tagged():
        end = tf.minimum(position + 2 + _number(parts(position + 2, 2), False), last + 1)
        tiff = position + 10
        mark = parts(tiff, 4)
        little = _equal(mark, _LITTLE)
        known = tf.reduce_any([_equal(mark, start) for start in TIFF_ORDERS])
        first = tiff + _number(parts(tiff + 4, 4), little)
        rows = tf.range(MOST_ENTRIES, dtype=tf.int64)
        entries = parts(first + 2 + 12 * rows, 10)
        # Beyond the segment there is nothing.
        exist = tf.logical_and(rows < _number(parts(first, 2), little),
                               first + 2 + 12 * rows + 10 <= end)
        tags, kinds, values = (_number(entries[:, at : at + 2], little) for at in (0, 2, 8))
        is_tag = tf.logical_and(exist, tags == ORIENTATION_TAG)
        row = tf.argmax(is_tag)
        valid = tf.reduce_all([known, is_tag[row], kinds[row] == SHORT,
                               values[row] >= 1, values[row] <= 8])
        return tf.where(valid, values[row], 1)

    return tf.cond(found, tagged, lambda: zero + 1)


def _number(digits: tf.Tensor, little: tf.Tensor | bool) -> tf.Tensor:
    """Returns the whole numbers of bytes [..., n], of which the first counts least or most."""
    powers = 256 ** tf.range(digits.shape[-1], dtype=tf.int64)
    return tf.reduce_sum(digits * tf.where(little, powers, powers[::-1]), axis=-1)


def _equal(found: tf.Tensor, text: bytes) -> tf.Tensor:
    return tf.reduce_all(found == tf.constant(list(text), tf.int64))


def _turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image [h, w, 3] as an EXIF orientation demands."""
    def turn():
        upright = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        backwards = [tf.reduce_any(orientation == kinds) for kinds in (UPSIDE_DOWN, MIRRORED)]
        return tf.reverse(upright, tf.boolean_mask([0, 1], backwards))

    return tf.cond(orientation == 1, lambda: image, turn)


def _png_on_white(file: tf.Tensor, colors: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG, whose transparent pixels are laid on white; of a grey one, none are."""
    def laid():
        image = tf.io.decode_png(file, channels=4)
        return tf.cond(tf.reduce_all(image[..., 3] == 255), lambda: image[..., :3],
                       lambda: composed(tf.cast(image, tf.uint16)))

    def composed(image):
        alpha = image[..., 3:]
        return tf.cast((image[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)

    return tf.cond(colors == _PNG_GREY, lambda: decode_image(file), laid)


def _part(text: tf.Tensor, start: int, length: int) -> tf.Tensor:
    return tf.strings.substr(text, start, length)
