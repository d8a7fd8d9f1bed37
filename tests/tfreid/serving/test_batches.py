"""Rows in served graphs: slices, and refusal of unequal numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.serving import batches


def slices_of(monkeypatch, size):
    monkeypatch.setattr(batches, "SLICE", size)
    seen = []

    def note(some):
        tf.numpy_function(lambda x: seen.append(len(x)), [some["x"]], [])
        return {"sum": tf.reduce_sum(some["x"], 1) + some["y"], "x": 2 * some["x"]}

    return tf.function(
        lambda x, y: batches.in_slices(note, {"x": x, "y": y}),
        input_signature=[tf.TensorSpec([None, 3], tf.float32), tf.TensorSpec([None], tf.float32)],
    ), seen


@pytest.mark.parametrize(("rows", "slices"), [(0, []), (1, [1]), (4, [4]), (5, [4, 1]),
                                              (11, [4, 4, 3])])
def test_rows_go_through_in_slices(monkeypatch, rows, slices):
    function, seen = slices_of(monkeypatch, 4)
    x = np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32)
    y = np.arange(rows, dtype=np.float32)
    found = function(x, y)
    assert seen == slices
    np.testing.assert_allclose(found["sum"], x.sum(1) + y, rtol=1e-6)
    np.testing.assert_array_equal(found["x"], 2 * x)


def test_unequal_numbers_of_rows_are_refused(monkeypatch):
    function, _ = slices_of(monkeypatch, 4)
    for rows in ((1, 3), (3, 1), (0, 2), (8, 5)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="one number of rows"):
            function(tf.zeros([rows[0], 3]), tf.zeros([rows[1]]))


def test_all_pairs_of_no_rows_are_none():
    cross = tf.function(
        lambda x, y: batches.all_pairs(
            lambda first, second: {"product": tf.map_fn(
                lambda row: tf.linalg.matvec(second["x"], row), first["x"])}, {"x": x}, {"x": y}),
        input_signature=2 * [tf.TensorSpec([None, 3], tf.float32)])
    rows = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    for queries, gallery in ((4, 2), (0, 3), (3, 0), (0, 0)):
        found = cross(rows[:queries], rows[:gallery])["product"]
        np.testing.assert_allclose(found, rows[:queries] @ rows[:gallery].T, atol=1e-6)
