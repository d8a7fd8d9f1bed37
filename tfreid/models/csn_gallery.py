"""Match probabilities and distances: of pairs, or of many images against many."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfreid.layers.convolution_similarity import correlate_shared
from tfreid.losses.distances import pairwise_euclidean
from tfreid.models.csn import PairParts, pair_inputs, pool_level


def compare_pairs(
    parts: PairParts,
    first: dict[str, tf.Tensor],
    second: dict[str, tf.Tensor],
    both_orders: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Compares n pairs of images.

    Args:
        parts: Of the model.
        first: Features of n images, as `parts.extract` returns them.
        second: Features of the images that they are compared with.
        both_orders: Whether the probability is the mean over (first, second) and (second, first).

    Returns:
        The probability of a match [n], and the distances of the descriptors [n], or None where
        there is no ranking net.
    """
    compared = parts.compare(pair_inputs(first, second), training=False)
    probabilities = tf.nn.softmax(compared["logits"])[:, 1]
    if both_orders:
        back = parts.compare(pair_inputs(second, first), training=False)
        probabilities = 0.5 * (probabilities + tf.nn.softmax(back["logits"])[:, 1])
    return probabilities, compared.get("distance")


def compare_all(
    parts: PairParts,
    levels: Sequence[int],
    queries: dict[str, tf.Tensor],
    gallery: dict[str, tf.Tensor],
    both_orders: bool = False,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Compares every query with every gallery image, as `compare_pairs` does with pairs.

    The parts of one image slide over the maps of all images of the other side in one convolution,
    which needs no filter per sample.

    Args:
        parts: Of the model.
        levels: The levels that it compares, `csn.levels`.
        queries: Features of q images, as `parts.extract` returns them.
        gallery: Features of g images.
        both_orders: Whether the probability is the mean over (query, gallery) and (gallery, query).

    Returns:
        The probability of a match [q, g], and the distances of the descriptors [q, g], or None
        where there is no ranking net. About 200 kB a pair are held meanwhile.
    """
    # [q, g, h, w, p * c] of each level: the query's parts on the gallery's map, and the reverse.
    slid = [_slide(level, queries, gallery) for level in levels]
    slid_back = [tf.einsum("gqhwc->qghwc", _slide(level, gallery, queries)) for level in levels]
    probabilities = _decide(parts, slid, slid_back)
    if both_orders:
        probabilities = 0.5 * (probabilities + _decide(parts, slid_back, slid))
    distances = None
    if "descriptor" in queries:
        distances = pairwise_euclidean(queries["descriptor"], gallery["descriptor"])
    return probabilities, distances


def _slide(level, sliders, others):
    """Slides the parts of each of s images over the maps of o others: [s, o, h, w, p * c]."""
    maps = others[f"map_{level}"]
    return tf.map_fn(lambda filters: pool_level(level, correlate_shared(maps, filters)),
                     sliders[f"parts_{level}"])


def _decide(parts, first_halves, second_halves):
    """The probabilities [q, g] from both halves of each level's similarity maps."""
    halves = [half for pair in zip(first_halves, second_halves) for half in pair]
    maps = tf.concat(halves, -1)
    logits = parts.decide(tf.reshape(maps, (-1, *maps.shape[2:])), training=False)
    return tf.reshape(tf.nn.softmax(logits)[:, 1], tf.shape(maps)[:2])
