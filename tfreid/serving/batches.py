"""Batches inside a served graph: bounded decoding, slice by slice, of as many rows on each side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tfreid.layers.preprocessing import resize_images
from tfreid.records import decode_image

# Rows that go through the network together, which bounds memory.
SLICE = 64
# What the error of inputs with different numbers of rows says.
UNEQUAL_ROWS = "the inputs must have one number of rows, but have"
_PNG_START, _PNG_HEADER, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"IHDR", b"\xff\xd8\xff"
_HEADER_BYTES = 24  # up to the end of a PNG's size


def decode_bounded(file: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Decodes one JPEG or PNG of bounded size to uint8 RGB [h, w, 3].

    Other formats are refused, which TensorFlow would read, some without a size in their first
    bytes.

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
        return decode_image(tf.identity(file))


def decode_files(files: tf.Tensor, height: int, width: int, max_pixels: int) -> tf.Tensor:
    """Decodes JPEG or PNG files [n] of any sizes to float32 RGB [n, height, width, 3], 0-255.

    Raises:
        tf.errors.InvalidArgumentError: As `decode_bounded`.
    """
    return tf.map_fn(
        lambda file: resize_images(decode_bounded(file, max_pixels), height, width),
        files,
        fn_output_signature=tf.TensorSpec([height, width, 3], tf.float32),
    )


def in_slices(function: Callable[..., Mapping[str, tf.Tensor]],
              *inputs: Any) -> dict[str, tf.Tensor]:
    """Calls a function with `SLICE` rows at a time, or fewer, and joins its outputs.

    Without rows the outputs have none either.

    Args:
        function: Maps tensors [n, ...] to outputs [n, ...] by name, whose other sides are known.
        *inputs: Its arguments: tensors [n, ...], or nests of them.

    Raises:
        tf.errors.InvalidArgumentError: If the inputs differ in the number of rows.
    """
    rows, check = same_rows(*inputs)
    traced = tf.function(function).get_concrete_function(*tf.nest.map_structure(
        lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), inputs))
    names = sorted(traced.structured_outputs)
    specs = [traced.structured_outputs[name] for name in names]
    with tf.control_dependencies([check]):
        slices = -(-rows // SLICE)
    found = [tf.TensorArray(spec.dtype, 0, dynamic_size=True, infer_shape=False,
                            element_shape=[None, *spec.shape[1:]]) for spec in specs]

    def add(number, found):
        part = slice(number * SLICE, (number + 1) * SLICE)
        outputs = traced(*tf.nest.flatten(tf.nest.map_structure(lambda x: x[part], inputs)))
        return number + 1, [array.write(number, outputs[name])
                            for array, name in zip(found, names)]

    _, found = tf.while_loop(lambda number, _: number < slices, add, (0, found),
                             parallel_iterations=1)
    return {name: tf.ensure_shape(array.concat(), [None, *spec.shape[1:]])
            for name, array, spec in zip(names, found, specs)}


def same_rows(*inputs: Any) -> tuple[tf.Tensor, tf.Operation]:
    """Returns the number of rows of tensors [n, ...], and an operation that fails if it differs."""
    counts = tf.stack([tf.shape(x)[0] for x in tf.nest.flatten(inputs)])
    return counts[0], tf.debugging.Assert(
        tf.reduce_all(tf.equal(counts, counts[0])),
        [UNEQUAL_ROWS, counts])


def _part(text: tf.Tensor, start: int, length: int) -> tf.Tensor:
    return tf.strings.substr(text, start, length)
