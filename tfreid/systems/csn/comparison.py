"""Match probabilities and distances: of pairs, or of many images with many others."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfreid.layers.convolution_similarity import (
    correlate_shared,
    place_scales,
    repeat_for_parts,
    unit_parts,
)
from tfreid.losses.distances import exact_pairwise_euclidean
from tfreid.systems.csn.network import CsnParts, pair_inputs, pool_level, similarity_name


def compare_pairs(parts: CsnParts, first: dict[str, tf.Tensor], second: dict[str, tf.Tensor],
                  both_orders: bool = False) -> dict[str, tf.Tensor]:
    """Compares n pairs of images.

    Args:
        parts: Parts of the model.
        first: Features of n images, as `parts.extract` returns them.
        second: Features of the images that they are compared with.
        both_orders: Whether the probability is the mean over (first, second) and (second, first).

    Returns:
        The outputs of `parts.compare`, and the `probability` of a match [n].
    """
    compared = parts.compare(pair_inputs(first, second), training=False)
    probabilities = tf.nn.softmax(compared["logits"])[:, 1]
    if both_orders:
        back = parts.compare(pair_inputs(second, first), training=False)
        probabilities = 0.5 * (probabilities + tf.nn.softmax(back["logits"])[:, 1])
    return {**compared, "probability": probabilities}


def compare_all(parts: CsnParts, levels: Sequence[int], queries: dict[str, tf.Tensor],
                gallery: dict[str, tf.Tensor],
                both_orders: bool = False) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Compares every query with every gallery image, like `compare_pairs`.

    The parts of one image slide over the maps of all images of the other side in one convolution,
    which needs no filter per sample. conv4 is linear, so each group of maps is reduced at once to
    its share of conv4's output, and the groups are never stored.

    Args:
        parts: Parts of the model.
        levels: The levels that it compares, `csn.levels`.
        queries: Features of q images, as `parts.extract` returns them.
        gallery: Features of g images.
        both_orders: Whether the probability is the mean over (query, gallery) and (gallery, query).

    Returns:
        The probability of a match [q, g], and the distances of the descriptors [q, g], or None
        without ranking net. Needs about 20 kB of memory a pair.
    """
    weights, shift = _reduction(parts.decide)
    # Channels of a level: the query's parts on the gallery's map, then the reverse.
    halves = tf.split(weights, 2 * len(levels), 0)
    probabilities = _judge(parts, levels, queries, gallery, halves[::2], halves[1::2], shift)
    if both_orders:
        back = _judge(parts, levels, queries, gallery, halves[1::2], halves[::2], shift)
        probabilities = 0.5 * (probabilities + back)
    distances = None
    if "descriptor" in queries:
        distances = exact_pairwise_euclidean(queries["descriptor"], gallery["descriptor"])
    return probabilities, distances


def _reduction(decide):
    """Returns the similarity maps' batch norm and conv4 as one product: weights [c, 32], shift."""
    norm, convolution = decide.get_layer("similarity_bn"), decide.get_layer("conv4")
    gamma, beta, mean, variance = (
        tf.convert_to_tensor(x)
        for x in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    scale = gamma * tf.math.rsqrt(variance + norm.epsilon)
    kernel = tf.convert_to_tensor(convolution.kernel)[0, 0]
    return scale[:, tf.newaxis] * kernel, tf.linalg.matvec(kernel, beta - mean * scale, True)


def _judge(parts, levels, queries, gallery, weights, back_weights, shift):
    """Returns the probabilities [q, g], from conv4's sums over the levels and both directions."""
    cosine = parts.compare.get_layer(similarity_name(levels[0])).cosine
    there = [_slide(level, queries, gallery, w, cosine) for level, w in zip(levels, weights)]
    back = [_slide(level, gallery, queries, w, cosine) for level, w in zip(levels, back_weights)]
    reduced = tf.add_n(there) + tf.einsum("gqhwc->qghwc", tf.add_n(back)) + shift
    rows = tf.cast(tf.reshape(reduced, (-1, *reduced.shape[2:])), parts.judge.input.dtype)
    logits = parts.judge(rows, training=False)
    return tf.reshape(tf.nn.softmax(logits)[:, 1], tf.shape(reduced)[:2])


def _slide(level, sliders, others, weights, cosine):
    """Slides the parts of each of s images over the maps of o others: [s, o, h, w, 32]."""
    parts, maps = sliders[f"parts_{level}"], others[f"map_{level}"]
    count, side = parts.shape[1:3]
    repeated = repeat_for_parts(maps, count)
    if cosine:
        parts, scales = unit_parts(parts), repeat_for_parts(place_scales(maps, side), count)

    def reduced(filters):
        slid = correlate_shared(repeated, filters)
        pooled = pool_level(level, slid * scales if cosine else slid)
        return tf.tensordot(tf.cast(pooled, tf.float32), weights, 1)

    return tf.map_fn(reduced, parts, fn_output_signature=tf.float32)
