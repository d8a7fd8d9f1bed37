"""Regions and bilinear sampling against hand-worked cases, finite differences and the Addons."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid import addons
from tfreid.layers.spatial_transformer import (
    BilinearSampler,
    FixedRegion,
    Stripes,
    affine_grid,
    bilinear_sample,
    central_region,
    inside_penalty,
    rotation_penalty,
    scale_penalty,
    stripe_rows,
)

IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def _random(*shape, seed=0, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def _sample(maps, region, height, width):
    grid = affine_grid(np.tile(np.float32(region), (len(maps), 1)), height, width)
    return bilinear_sample(tf.constant(maps), grid).numpy()


def _bilinear_by_loops(image, across, down):
    """One sample of [h, w, c] at normalised coordinates, by the definition: Eq. 5's tent."""
    height, width, _ = image.shape
    x, y = (across + 1) * (width - 1) / 2, (down + 1) * (height - 1) / 2
    value = 0.0
    for row in range(height):
        for column in range(width):
            weight = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            value = value + weight * image[row, column].astype(np.float64)
    return value


def test_the_grid_by_hand():
    regions = [IDENTITY, [0.5, 0, 0, 0, 0.5, 0], [1, 0, 0.25, 0, 1, -0.5],
               [0.5, 0.1, 0.2, 0.3, 0.25, 0.4]]
    grid = affine_grid(tf.constant(regions, tf.float32), 2, 3).numpy()
    assert grid.shape == (4, 2, 3, 2)
    # Columns at -1, 0, 1 and rows at -1, 1; w_in stands before h_in.
    np.testing.assert_allclose(grid[0, 0], [[-1, -1], [0, -1], [1, -1]])
    np.testing.assert_allclose(grid[0, 1], [[-1, 1], [0, 1], [1, 1]])
    np.testing.assert_allclose(grid[1], 0.5 * grid[0])
    np.testing.assert_allclose(grid[2], grid[0] + [0.25, -0.5])
    # w_in = 0.5 w + 0.1 h + 0.2 and h_in = 0.3 w + 0.25 h + 0.4 (Eq. 1).
    np.testing.assert_allclose(
        grid[3, 0], [[-0.4, -0.15], [0.1, 0.15], [0.6, 0.45]], atol=1e-6)
    np.testing.assert_allclose(grid[3, 1], [[-0.2, 0.35], [0.3, 0.65], [0.8, 0.95]], atol=1e-6)


def test_a_single_cell_lies_in_the_middle():
    region = tf.constant([[0.5, 0.1, 0.2, 0.3, 0.25, 0.4]])
    np.testing.assert_allclose(affine_grid(region, 1, 1).numpy()[0, 0, 0], [0.2, 0.4], rtol=1e-6)
    maps = _random(1, 1, 1, 2)
    np.testing.assert_allclose(_sample(maps, IDENTITY, 1, 1), maps, rtol=1e-6)


@pytest.mark.parametrize("shape", [(20, 15), (10, 8), (5, 4), (3, 1)])
def test_the_identity_returns_the_map(shape):
    maps = _random(2, *shape, 3)
    # float32 knows the position of the twentieth cell to 1e-6.
    np.testing.assert_allclose(_sample(maps, IDENTITY, *shape), maps, atol=5e-6)


def test_a_flip_and_a_quarter_turn():
    maps = _random(1, 5, 5, 2)
    mirrored = _sample(maps, [-1, 0, 0, 0, 1, 0], 5, 5)
    np.testing.assert_allclose(mirrored, maps[:, :, ::-1], atol=1e-6)
    # w_in = h_out and h_in = w_out: the map is transposed.
    np.testing.assert_allclose(
        _sample(maps, [0, 1, 0, 1, 0, 0], 5, 5), maps.transpose(0, 2, 1, 3), atol=1e-6)


def test_zero_outside_and_shares_at_the_border():
    maps = np.ones((1, 3, 3, 1), np.float32)
    # A cell is one unit wide here: x = 0 is the left border cell's centre at -1.
    across = np.float32([-2.5, -2.0, -1.5, -1.25, -1.0, 0.3, 1.0, 1.5, 2.0, 2.5])
    grid = np.stack([across, np.zeros_like(across)], -1)[None, None]
    samples = bilinear_sample(maps, grid).numpy()[0, 0, :, 0]
    np.testing.assert_allclose(samples, [0, 0, 0.5, 0.75, 1, 1, 1, 0.5, 0, 0], atol=1e-6)
    corner = bilinear_sample(maps, np.float32([[[[-1.5, 1.5]]]])).numpy()
    np.testing.assert_allclose(corner, 0.25, atol=1e-6)


def test_random_positions_by_the_definition():
    maps = _random(2, 5, 4, 3)
    grid = _random(2, 3, 2, 2, seed=1, low=-1.6, high=1.6)
    samples = bilinear_sample(maps, grid).numpy()
    for index in np.ndindex(2, 3, 2):
        expected = _bilinear_by_loops(maps[index[0]], *grid[index])
        np.testing.assert_allclose(samples[index], expected, atol=1e-5)


@pytest.mark.skipif(not addons.available(), reason="TensorFlow Addons is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_equal_those_of_the_addons_resampler(seed):
    resampler = addons.require("this test").image.resampler
    maps = tf.constant(_random(3, 7, 5, 4, seed=seed))
    grid = tf.constant(_random(3, 6, 6, 2, seed=seed + 9, low=-1.7, high=1.7))
    upstream = tf.constant(_random(3, 6, 6, 4, seed=seed + 20))

    def theirs(maps, grid):
        return resampler(maps, (grid + 1.0) * [2.0, 3.0])  # cells: (w - 1) / 2, (h - 1) / 2

    results = []
    for function in (bilinear_sample, theirs):
        with tf.GradientTape() as tape:
            tape.watch((maps, grid))
            samples = function(maps, grid)
        results.append([samples, *tape.gradient(samples, (maps, grid), upstream)])
    for mine, expected in zip(*results):
        np.testing.assert_allclose(mine.numpy(), expected.numpy(), atol=2e-5)


def test_gradients_by_finite_differences():
    maps = _random(1, 5, 4, 2)
    # Positions a quarter of a cell or more from where the slope jumps.
    cells = np.random.default_rng(3).integers(-1, 5, (1, 3, 3, 2)) + _random(
        1, 3, 3, 2, seed=4, low=0.25, high=0.75)
    grid = (cells / [1.5, 2.0] - 1.0).astype(np.float32)
    upstream = _random(1, 3, 3, 2, seed=5)
    variables = [tf.constant(maps), tf.constant(grid)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        total = tf.reduce_sum(bilinear_sample(*variables) * upstream)
    gradients = tape.gradient(total, variables)

    def value(*values):
        return float(np.sum(bilinear_sample(*values).numpy().astype(np.float64) * upstream))

    step = 0.05  # the sample is linear in each number, as long as it stays within the cell
    for place, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [maps.copy(), grid.copy()]
                moved[place][index] += sign * step
                ends.append(value(*moved))
            difference = (ends[0] - ends[1]) / (2 * step)
            assert float(gradient[index]) == pytest.approx(difference, abs=2e-4)


def test_penalties_by_hand():
    # [..., 6] as s_w, r_w, t_w, r_h, s_h, t_h.
    regions = tf.constant([[[0.5, 0.1, -0.2, -0.3, 0.4, 0.5],
                            [0.05, -0.2, 1.0, 0.0, -0.3, 0.9]]])
    # |r_w| + |r_h|: 0.1 + 0.3 and 0.2 + 0.
    assert float(rotation_penalty(regions)) == pytest.approx((0.4 + 0.2) / 2)
    # Scales 0.5, 0.4: none. 0.05 lacks 0.05; -0.3 lacks 0.4.
    assert float(scale_penalty(regions)) == pytest.approx((0.05**2 + 0.4**2) / 2, rel=1e-5)
    # Reaches 0.8, 1.2 and 1.25, 1.2.
    assert float(inside_penalty(regions)) == pytest.approx(
        (0.2**2 + 0.25**2 + 0.2**2) / 2, rel=1e-5)
    inside = tf.constant([[0.5, 0.1, -0.4, 0.0, 0.1, 0.9]])
    assert float(inside_penalty(inside)) == pytest.approx(0.0, abs=1e-12)
    assert float(scale_penalty(inside)) == pytest.approx(0.0, abs=1e-12)


def test_the_inside_penalty_knows_the_outermost_corner():
    for seed in range(20):
        region = _random(1, 6, seed=seed)
        corners = affine_grid(region, 2, 2).numpy()[0].reshape(4, 2)
        beyond = np.maximum(np.abs(corners).max(axis=0) - 1, 0)
        assert float(inside_penalty(tf.constant(region))) == pytest.approx(
            np.sum(beyond**2), abs=1e-5)


def test_stripes_of_the_paper_and_of_odd_heights():
    assert stripe_rows(40, 3) == [(0, 20), (10, 30), (20, 40)]
    assert stripe_rows(20, 3) == [(0, 10), (5, 15), (10, 20)]
    assert stripe_rows(40, 1) == [(0, 40)]
    assert stripe_rows(5, 3) == [(0, 3), (1, 4), (2, 5)]
    for height in range(1, 64):
        rows = stripe_rows(height, 3)
        assert len({end - start for start, end in rows}) == 1
        assert rows[0][0] == 0 and rows[-1][1] == height
        assert all(a[0] <= b[0] <= a[1] for a, b in zip(rows, rows[1:]))


def test_the_stripes_layer_keeps_the_order_of_maps():
    maps = _random(2, 8, 3, 2)
    stripes = Stripes(3)(maps).numpy()
    expected = [maps[n, start : start + 4] for n in range(2) for start in (0, 2, 4)]
    np.testing.assert_array_equal(stripes, expected)
    np.testing.assert_array_equal(Stripes(1)(maps).numpy(), maps)


@pytest.mark.parametrize("shape, side", [((20, 16), 10), ((20, 14), 10), ((10, 6), 4),
                                         ((11, 9), 5), ((40, 20), 10)])
def test_the_middle_is_cut_exactly_where_parities_agree(shape, side):
    maps = _random(2, *shape, 3)
    top, left = ((size - side) // 2 for size in shape)
    middle = maps[:, top : top + side, left : left + side]
    np.testing.assert_allclose(_sample(maps, central_region(shape, side), side, side), middle,
                               atol=1e-5)
    regions = FixedRegion(side)(maps)
    np.testing.assert_allclose(BilinearSampler(side)([maps, regions]).numpy(), middle, atol=1e-5)


def test_the_middle_of_20_x_15():
    """Ten of 15 columns begin halfway between two: each sample is the mean of its neighbours."""
    maps = _random(1, 20, 15, 2)
    cut = _sample(maps, central_region((20, 15), 10), 10, 10)
    rows = maps[:, 5:15]
    np.testing.assert_allclose(cut, 0.5 * (rows[:, :, 2:12] + rows[:, :, 3:13]), atol=1e-5)


def test_a_part_larger_than_its_stripe_takes_all_of_it():
    assert central_region((8, 6), 10) == IDENTITY
    assert central_region((1, 1), 5) == IDENTITY


def test_layers_come_back_from_their_settings():
    for layer in (Stripes(2), FixedRegion(7), BilinearSampler(4)):
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()


def test_the_sampler_keeps_positions_in_float32_under_mixed_precision():
    try:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        sampler = BilinearSampler(20)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    maps = tf.cast(_random(1, 20, 20, 3), tf.bfloat16)
    region = tf.constant([[0.4321, 0.0, 0.0123, 0.0, 0.4321, 0.0305]])
    samples = sampler([maps, region])
    assert samples.dtype == tf.bfloat16
    exact, rounded = (
        tf.cast(bilinear_sample(maps, affine_grid(given, 20, 20)), tf.float32).numpy()
        for given in (region, tf.cast(region, tf.bfloat16))
    )
    np.testing.assert_array_equal(tf.cast(samples, tf.float32).numpy(), exact)
    assert np.abs(exact - rounded).max() > 0.01
