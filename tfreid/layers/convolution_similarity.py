"""Per-sample depthwise cross-correlation: the similarity of the parts of one image with another."""

from __future__ import annotations

import keras
import tensorflow as tf

_STRIDES = (1, 1, 1, 1)
# No length is below this, so that an empty part or place has the similarity zero.
_SHORTEST = 1e-2


def correlate(maps: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """Slides the parts of every sample over the map of the same sample, channel by channel.

    Computes s[n, y, x, p, c] = sum_{i, j} maps[n, y + i - t, x + j - t, c] * filters[n, p, i, j, c]
    with t = (f - 1) // 2 and zeros outside the map (Guo and Cheung, "Efficient and Deep Person
    Re-Identification using Multi-Level Similarity", CVPR 2018, Eq. 2).

    Samples and parts are folded into channels with one filter each, and both gradients are forward
    convolutions of the same kind: CPUs run these more than ten times as fast as TensorFlow's own
    gradients of a depthwise convolution, or as several filters per channel.

    Args:
        maps: Float array [n, h, w, c].
        filters: Float array [n, p, f, f, c].

    Returns:
        Float array [n, h, w, p, c].
    """
    return _correlate(tf.convert_to_tensor(maps), tf.convert_to_tensor(filters))


def correlate_plain(maps: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """Computes `correlate` with TensorFlow's own gradient: the oracle of tests and benchmarks."""
    shape = _Shape(maps, filters)
    folded = tf.nn.depthwise_conv2d(
        shape.fold_maps(maps), shape.fold_filters(filters), _STRIDES, "SAME")
    return shape.unfold(folded)


def correlate_shared(repeated_maps: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
    """Slides the parts of one image over the maps of many, as `correlate` does with copies.

    It does not fold, and is faster than `correlate`: for galleries, which need no gradient.

    Args:
        repeated_maps: [n, h, w, p * c], result of `repeat_for_parts`, computed once for many calls.
        filters: [p, f, f, c], the parts of one image.

    Returns:
        Float array [n, h, w, p * c].
    """
    side = filters.shape[1]
    kernel = tf.reshape(tf.transpose(filters, (1, 2, 0, 3)), (side, side, -1, 1))
    return tf.nn.depthwise_conv2d(repeated_maps, kernel, _STRIDES, "SAME")


def repeat_for_parts(maps: tf.Tensor, parts: int) -> tf.Tensor:
    """Repeats the channels of maps once for each part: [n, h, w, c] -> [n, h, w, parts * c]."""
    return tf.tile(maps, (1, 1, 1, parts))


def unit_parts(parts: tf.Tensor) -> tf.Tensor:
    """Divides each channel of each part [..., f, f, c] by its Euclidean length."""
    values = tf.cast(parts, tf.float32)
    squares = tf.reduce_sum(tf.square(values), (-3, -2), keepdims=True)
    return tf.cast(values * _inverse_lengths(squares), parts.dtype)


def place_scales(maps: tf.Tensor, side: int) -> tf.Tensor:
    """Returns what makes `correlate` with `unit_parts` the cosine: one over each place's length.

    A place is the window of a map that a part is multiplied with; cells outside the map are zero.

    Args:
        maps: Float array [n, h, w, c].
        side: Side f of the parts.

    Returns:
        Float array [n, h, w, c]: the inverse Euclidean length of the place, in each channel.
    """
    padding = _padding(side)
    squares = tf.pad(tf.square(tf.cast(maps, tf.float32)), ((0, 0), padding, padding, (0, 0)))
    squares = side**2 * tf.nn.avg_pool2d(squares, side, 1, "VALID")
    return tf.cast(_inverse_lengths(squares), maps.dtype)


@keras.saving.register_keras_serializable(package="tfreid")
class ConvolutionSimilarity(keras.layers.Layer):
    """Compares two images at one level: the parts of each slide over the map of the other.

    The first p groups of c channels are the first image's parts on the second image's map, in the
    order of the parts; the next p are the second's parts on the first's map. Swapping the images
    swaps the two halves.

    Args:
        cosine: Whether a sum of Eq. 2 is divided by the lengths of the part and of the place that
            it is compared with, in each channel.
    """

    def __init__(self, cosine: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.cosine = cosine

    def call(self, inputs):
        """Compares images pair by pair.

        Args:
            inputs: Maps [n, h, w, c] and parts [n, p, f, f, c] of the first images, then maps and
                parts of the second.

        Returns:
            Float array [n, h, w, 2 * p * c].
        """
        maps, parts, other_maps, other_parts = inputs
        # One call for both directions.
        maps, parts = tf.concat([other_maps, maps], 0), tf.concat([parts, other_parts], 0)
        if self.cosine:
            scales = place_scales(maps, parts.shape[2])
            both = correlate(maps, unit_parts(parts)) * scales[:, :, :, tf.newaxis]
        else:
            both = correlate(maps, parts)
        height, width, groups, channels = both.shape[1:]
        both = tf.reshape(both, (-1, height, width, groups * channels))
        return tf.concat(tf.split(both, 2), -1)

    def compute_output_shape(self, input_shape):
        """Returns [n, h, w, 2 * p * c]."""
        batch, height, width, channels = input_shape[0]
        return (batch, height, width, 2 * input_shape[1][1] * channels)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "cosine": self.cosine}


def _padding(side):
    """Returns the zeros before and behind a map, so that there is a place for each of its cells."""
    return (side - 1) // 2, side // 2


def _inverse_lengths(squares):
    return tf.math.rsqrt(squares + _SHORTEST**2)


@tf.custom_gradient
def _correlate(maps, filters):
    def gradient(upstream):
        return _one_by_one(_gradients, (maps.dtype, filters.dtype), maps, filters, upstream)

    return _one_by_one(correlate_plain, maps.dtype, maps, filters), gradient


def _gradients(maps, filters, upstream):
    shape = _Shape(maps, filters)
    gradients = shape.fold(upstream)
    return _map_gradient(shape, gradients, filters), _filter_gradient(shape, gradients, maps)


def _map_gradient(shape, gradients, filters):
    """Sums the gradients at all places that saw a cell, times the weight with which they saw it."""
    before, after = shape.padding
    padded = tf.pad(gradients, ((0, 0), (after, before), (after, before), (0, 0)))
    turned = tf.reverse(shape.fold_filters(filters), (0, 1))
    folded = tf.nn.depthwise_conv2d(padded, turned, _STRIDES, "VALID")
    return tf.reduce_sum(shape.unfold(folded), 3)


def _filter_gradient(shape, gradients, maps):
    """Slides the gradients, as filters of the map's size, over the padded map."""
    padding = shape.padding
    padded = shape.fold_maps(tf.pad(maps, ((0, 0), padding, padding, (0, 0))))
    kernel = tf.reshape(gradients, (*gradients.shape[1:3], -1, 1))
    return shape.unfold_filters(tf.nn.depthwise_conv2d(padded, kernel, _STRIDES, "VALID"))


def _one_by_one(function, signature, *tensors):
    """Calls a function of samples [n, ...] on one at a time on CPUs, whose caches hold one.

    A single pair, which has two directions, goes without the loop.
    """
    if tensors[0].shape[0] in (1, 2) or tf.config.list_logical_devices("GPU"):
        return function(*tensors)

    def call(sample):
        return tf.nest.map_structure(lambda x: x[0], function(*(x[tf.newaxis] for x in sample)))

    return tf.map_fn(call, tensors, fn_output_signature=signature)


class _Shape:
    """Folds samples n, parts p and channels c into n * p * c channels, and back."""

    def __init__(self, maps, filters):
        self._batch = tf.shape(maps)[0]
        self._parts, self._side, _, self._channels = filters.shape[1:]
        self.padding = _padding(self._side)

    def fold_maps(self, maps):
        """[n, h, w, c] -> [1, h, w, n * p * c], each map p times."""
        height, width = maps.shape[1:3]
        maps = tf.transpose(maps, (1, 2, 0, 3))[:, :, :, tf.newaxis]
        return tf.reshape(tf.tile(maps, (1, 1, 1, self._parts, 1)), (1, height, width, self._all()))

    def fold_filters(self, filters):
        """[n, p, f, f, c] -> [f, f, n * p * c, 1]."""
        filters = tf.transpose(filters, (2, 3, 0, 1, 4))
        return tf.reshape(filters, (self._side, self._side, self._all(), 1))

    def unfold_filters(self, folded):
        """[1, f, f, n * p * c] -> [n, p, f, f, c]."""
        return tf.transpose(self._parted(folded), (2, 3, 0, 1, 4))

    def fold(self, values):
        """[n, h, w, p, c] -> [1, h, w, n * p * c]."""
        height, width = values.shape[1:3]
        values = tf.transpose(values, (1, 2, 0, 3, 4))
        return tf.reshape(values, (1, height, width, self._all()))

    def unfold(self, folded):
        """[1, h, w, n * p * c] -> [n, h, w, p, c]."""
        return tf.transpose(self._parted(folded), (2, 0, 1, 3, 4))

    def _parted(self, folded):
        height, width = folded.shape[1:3]
        return tf.reshape(folded, (height, width, self._batch, self._parts, self._channels))

    def _all(self):
        return self._batch * self._parts * self._channels
