"""The graph's distances of pairs against the evaluation's."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.evaluation import pairwise_distances
from tfreid.evaluation.distances import METRICS
from tfreid.evaluation.paired_distances import paired_distances


@pytest.mark.parametrize("p", [1.0, 3.0, 32.0])
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_agrees_with_the_evaluation(metric, p):
    rng = np.random.default_rng(1)
    left, right = rng.standard_normal((2, 8, 33)).astype(np.float32) / 20
    right[1] = left[1]
    left[2] = 0.0
    left[3] = 0.1
    left[4] = right[4] = 0.0
    found = tf.function(paired_distances)(tf.constant(left), tf.constant(right), metric, p)
    expected = np.diagonal(pairwise_distances(left, right, metric, p))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_unknown_metric():
    with pytest.raises(ValueError, match="'cosin'"):
        paired_distances(tf.zeros([1, 2]), tf.zeros([1, 2]), "cosin")
