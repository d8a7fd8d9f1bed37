"""Depthwise correlation of pairs against loops: values, gradients, order, batches of any size."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.layers.convolution_similarity import (
    ConvolutionSimilarity,
    correlate,
    correlate_plain,
    correlate_shared,
    repeat_for_parts,
)

SIZES = [  # n, p, h, w, c, f
    (2, 3, 5, 4, 2, 3),
    (1, 2, 4, 5, 3, 2),
    (3, 1, 3, 3, 1, 5),
    (1, 2, 6, 3, 2, 4),
    (2, 2, 3, 2, 2, 1),
]


def _random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _case(n, p, h, w, c, f, seed=0):
    return (_random(n, h, w, c, seed=seed), _random(n, p, f, f, c, seed=seed + 1),
            _random(n, h, w, p, c, seed=seed + 2))


def _by_loops(maps, filters, upstream):
    """The similarity, and its gradients times `upstream`, each product by itself."""
    n, h, w, c = maps.shape
    p, f = filters.shape[1:3]
    before = (f - 1) // 2
    value = np.zeros((n, h, w, p, c))
    to_maps, to_filters = np.zeros(maps.shape), np.zeros(filters.shape)
    for sample, part in np.ndindex(n, p):
        for y, x in np.ndindex(h, w):
            for i, j in np.ndindex(f, f):
                row, column = y + i - before, x + j - before
                if not (0 <= row < h and 0 <= column < w):
                    continue
                seen = maps[sample, row, column].astype(np.float64)
                weight = filters[sample, part, i, j].astype(np.float64)
                pull = upstream[sample, y, x, part].astype(np.float64)
                value[sample, y, x, part] += seen * weight
                to_maps[sample, row, column] += pull * weight
                to_filters[sample, part, i, j] += pull * seen
    return value, to_maps, to_filters


def _with_gradients(function, maps, filters, upstream):
    maps, filters = tf.constant(maps), tf.constant(filters)
    with tf.GradientTape() as tape:
        tape.watch((maps, filters))
        value = function(maps, filters)
    return [x.numpy() for x in (value, *tape.gradient(value, (maps, filters), upstream))]


def _assert_close(mine, expected, atol=1e-5):
    for own, wanted in zip(mine, expected):
        np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("function", [correlate, correlate_plain])
def test_values_and_gradients_by_loops(function, size):
    case = _case(*size)
    _assert_close(_with_gradients(function, *case), _by_loops(*case))


@pytest.mark.parametrize("batch", [1, 3, 4, 5, 8, 9])
def test_batches_of_any_size_equal_the_plain_ones(batch):
    case = _case(batch, 3, 6, 5, 4, 3, seed=batch)
    _assert_close(_with_gradients(correlate, *case), _with_gradients(correlate_plain, *case))


@pytest.mark.parametrize("side", [5, 10])
def test_the_sides_of_the_parts_equal_the_plain_ones(side):
    case = _case(5, 3, 14, 8, 3, side)
    _assert_close(_with_gradients(correlate, *case), _with_gradients(correlate_plain, *case), 1e-4)


def test_a_batch_unknown_beforehand():
    @tf.function(input_signature=[tf.TensorSpec([None, 6, 5, 4]),
                                  tf.TensorSpec([None, 2, 3, 3, 4]),
                                  tf.TensorSpec([None, 6, 5, 2, 4])])
    def run(maps, filters, upstream):
        with tf.GradientTape() as tape:
            tape.watch((maps, filters))
            value = correlate(maps, filters)
        return (value, *tape.gradient(value, (maps, filters), upstream))

    for batch in (1, 3, 4, 5, 9):
        case = _case(batch, 2, 6, 5, 4, 3, seed=batch)
        _assert_close([x.numpy() for x in run(*case)], _by_loops(*case))
    assert run.experimental_get_tracing_count() == 1


def test_the_shared_parts_of_one_image():
    maps, filters, _ = _case(5, 3, 6, 5, 4, 4)
    repeated = repeat_for_parts(tf.constant(maps), len(filters[0]))
    slid = correlate_shared(repeated, tf.constant(filters[0])).numpy()
    copies = np.repeat(filters[:1], 5, axis=0)
    expected = correlate_plain(tf.constant(maps), tf.constant(copies)).numpy()
    assert slid.shape == (5, 6, 5, 12)
    np.testing.assert_allclose(slid, expected.reshape(5, 6, 5, 12), atol=1e-5)


def test_the_parts_of_each_image_slide_over_the_other_one():
    """Eq. 2: the filters are of i and the signal of i'."""
    maps, parts, _ = _case(2, 3, 5, 4, 2, 3)
    other_maps, other_parts, upstream = _case(2, 3, 5, 4, 2, 3, seed=7)
    similarity = ConvolutionSimilarity()([maps, parts, other_maps, other_parts]).numpy()
    assert similarity.shape == (2, 5, 4, 2 * 3 * 2)
    halves = [_by_loops(other_maps, parts, upstream)[0], _by_loops(maps, other_parts, upstream)[0]]
    np.testing.assert_allclose(similarity, np.concatenate(halves, 3).reshape(2, 5, 4, 12),
                               atol=1e-5)


def test_one_cell_lights_up_where_it_is_found():
    """A part of one cell, channel 1, found in row 2 and column 3 of the other image."""
    maps, parts = np.zeros((1, 5, 4, 2), np.float32), np.zeros((1, 1, 3, 3, 2), np.float32)
    other_maps = maps.copy()
    other_maps[0, 2, 3, 1] = 2.0
    parts[0, 0, 1, 1, 1] = 3.0  # the centre of the part
    similarity = ConvolutionSimilarity()(
        [maps, parts, other_maps, np.zeros_like(parts)]).numpy()
    assert np.argwhere(similarity).tolist() == [[0, 2, 3, 1]]
    assert similarity[0, 2, 3, 1] == 6.0


def test_exchanged_images_exchange_the_halves():
    first, second = _case(3, 3, 5, 4, 2, 3)[:2], _case(3, 3, 5, 4, 2, 3, seed=7)[:2]
    one = ConvolutionSimilarity()([*first, *second]).numpy()
    other = ConvolutionSimilarity()([*second, *first]).numpy()
    np.testing.assert_allclose(np.concatenate(np.split(other, 2, -1)[::-1], -1), one, atol=1e-5)
    assert not np.allclose(one, other, atol=0.1)


def _cosines(parts, maps):
    """The cosine of every part and every place, in each channel, by itself: [n, h, w, p, c]."""
    (n, h, w, c), (p, f) = maps.shape, parts.shape[1:3]
    before = (f - 1) // 2
    padded = np.zeros((n, h + f - 1, w + f - 1, c))
    padded[:, before : before + h, before : before + w] = maps
    found = np.zeros((n, h, w, p, c))
    for sample, y, x, part, channel in np.ndindex(found.shape):
        place = padded[sample, y : y + f, x : x + f, channel].ravel()
        cut = parts[sample, part, :, :, channel].astype(np.float64).ravel()
        found[sample, y, x, part, channel] = (
            place @ cut / np.linalg.norm(place) / np.linalg.norm(cut))
    return found


@pytest.mark.parametrize("side", [3, 4])
def test_cosines_place_by_place(side):
    maps, parts, _ = _case(2, 3, 5, 4, 2, side)
    other_maps, other_parts, _ = _case(2, 3, 5, 4, 2, side, seed=7)
    similarity = ConvolutionSimilarity(cosine=True)(
        [maps, parts, 100 * other_maps, 100 * other_parts]).numpy()
    halves = [_cosines(parts, other_maps), _cosines(other_parts, maps)]
    np.testing.assert_allclose(similarity, np.concatenate(halves, 3).reshape(2, 5, 4, 12),
                               atol=1e-3)


def test_a_part_has_the_cosine_one_where_it_was_cut():
    """Empty places and parts have no direction, and the cosine zero."""
    maps, parts = _case(1, 1, 6, 5, 2, 3)[:2]
    parts[0, 0] = maps[0, 1:4, 2:5]
    maps[..., 1], empty = 0, np.zeros_like(parts)
    similarity = ConvolutionSimilarity(cosine=True)([maps, empty, maps, parts]).numpy()[0]
    np.testing.assert_array_equal(similarity[..., [0, 1, 3]], 0)
    assert similarity[..., 2].argmax() == np.ravel_multi_index((2, 3), (6, 5))
    np.testing.assert_allclose(similarity[2, 3, 2], 1, atol=1e-3)


def test_inside_a_saved_model(tmp_path):
    module = tf.Module()
    layer = ConvolutionSimilarity()
    module.compare = tf.function(
        lambda *features: layer(list(features)), jit_compile=False,
        input_signature=2 * [tf.TensorSpec([None, 5, 4, 2]), tf.TensorSpec([None, 3, 3, 3, 2])])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    for batch in (1, 6):
        case = [*_case(batch, 3, 5, 4, 2, 3)[:2], *_case(batch, 3, 5, 4, 2, 3, seed=7)[:2]]
        np.testing.assert_allclose(loaded.compare(*map(tf.constant, case)).numpy(),
                                   layer(case).numpy(), atol=1e-6)


@pytest.mark.parametrize("cosine", [False, True])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, cosine):
    case = [*_case(5, 3, 5, 4, 2, 3)[:2], *_case(5, 3, 5, 4, 2, 3, seed=7)[:2]]
    plain = ConvolutionSimilarity(cosine)
    exact = plain(case).numpy()
    layer = ConvolutionSimilarity(cosine, dtype=keras.mixed_precision.Policy(policy)
                                  if hasattr(keras.mixed_precision, "Policy") else policy)
    variables = [tf.constant(x) for x in case]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        similarity = layer(variables)
        total = tf.reduce_sum(tf.cast(similarity, tf.float32))
    assert similarity.dtype == policy[len("mixed_"):]
    gradients = tape.gradient(total, variables)
    with tf.GradientTape() as tape:
        tape.watch(variables)
        total = tf.reduce_sum(plain(variables))
    accuracy = 0.01 if policy == "mixed_float16" else 0.08
    np.testing.assert_allclose(tf.cast(similarity, tf.float32).numpy(), exact, atol=4 * accuracy,
                               rtol=accuracy)
    for mine, expected in zip(gradients, tape.gradient(total, variables)):
        np.testing.assert_allclose(tf.cast(mine, tf.float32).numpy(), expected.numpy(),
                                   atol=8 * accuracy, rtol=accuracy)


def test_the_shape_without_running():
    assert ConvolutionSimilarity().compute_output_shape(
        [(None, 40, 15, 96), (None, 3, 10, 10, 96)] * 2) == (None, 40, 15, 576)
