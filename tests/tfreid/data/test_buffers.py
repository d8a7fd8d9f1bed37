from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfreid.data.image_batches import BatchBuffers


def test_memory_is_lent_once_and_again_when_it_is_let_go():
    buffers = BatchBuffers((2, 3))
    first, second = buffers.take(), buffers.take()
    assert not np.shares_memory(first, second)
    place = first.ctypes.data
    del first
    assert buffers.take().ctypes.data == place
    assert second.shape == (2, 3) and second.dtype == np.uint8


def test_arrays_start_where_tensorflow_needs_no_copy():
    assert all(BatchBuffers((5, 7, 3)).take().ctypes.data % 64 == 0 for _ in range(8))


def test_batches_that_are_still_held_keep_their_values():
    buffers = BatchBuffers((4, 1000))

    def fill(value):
        batch = buffers.take()
        batch[:] = value
        return batch

    dataset = tf.data.Dataset.range(50).map(
        lambda value: tf.numpy_function(fill, [value], tf.uint8), num_parallel_calls=3
    )
    held = list(dataset.prefetch(2))
    for value, batch in enumerate(held):
        np.testing.assert_array_equal(batch.numpy(), np.full((4, 1000), value))
