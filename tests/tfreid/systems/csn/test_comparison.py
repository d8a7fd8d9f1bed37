"""Many against many equals pair by pair, in every variant of the network."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.systems.csn.comparison import compare_all
from tfreid.systems.csn.network import csn_parts, pair_inputs
from tfreid.systems.csn.settings import Settings as CsnSettings

QUERIES, GALLERY = 3, 5
VARIANTS = {
    "two levels": {},
    "three levels": {"levels": [2, 3, 4]},
    "one level": {"levels": [3]},
    "no dividing": {"levels": [2, 3, 4], "divide": False},
    "no ranking net": {"ranking_net": False},
    "center": {"levels": [3, 4], "attention": "center"},
    "cosine": {"similarity": "cosine"},
}


@pytest.fixture
def network(small_csn, settle):
    """Returns a function that makes the parts, and features of queries and of gallery images."""

    def make(variant="two levels"):
        model = small_csn(**VARIANTS[variant])
        images = np.random.default_rng(1).uniform(0, 255, (8, 64, 28, 3)).astype(np.float32)
        features = settle(model, images, np.arange(8), np.arange(8)[::-1])
        return (csn_parts(model), _rows(features, slice(QUERIES)),
                _rows(features, slice(QUERIES, None)))

    return make


def _rows(features, rows):
    return {name: x[rows] for name, x in features.items()}


def _pair_by_pair(parts, queries, gallery):
    """Probabilities and distances [q, g], every pair from copies of both images' features."""
    rows, columns = np.divmod(np.arange(QUERIES * GALLERY), GALLERY)
    sides = [{name: tf.gather(x, places) for name, x in features.items()}
             for features, places in ((queries, rows), (gallery, columns))]
    compared = parts.compare(pair_inputs(*sides), training=False)
    probabilities = tf.nn.softmax(compared["logits"])[:, 1].numpy().reshape(QUERIES, GALLERY)
    distances = compared.get("distance")
    return probabilities, None if distances is None else distances.numpy().reshape(QUERIES, GALLERY)


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_pairs_at_once_equal_single_pairs(network, variant):
    csn = CsnSettings(**VARIANTS[variant])
    parts, queries, gallery = network(variant)
    probabilities, distances = compare_all(parts, csn.levels, queries, gallery)
    expected, apart = _pair_by_pair(parts, queries, gallery)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(probabilities.numpy(), expected, atol=1e-5)
    if csn.ranking_net:
        np.testing.assert_allclose(distances.numpy(), apart, atol=1e-4)
    else:
        assert distances is None


def test_both_orders_are_averaged_and_then_the_sides_may_be_exchanged(network):
    parts, queries, gallery = network()
    both, distances = compare_all(parts, [2, 3], queries, gallery, both_orders=True)
    there, _ = compare_all(parts, [2, 3], queries, gallery)
    back, _ = compare_all(parts, [2, 3], gallery, queries)
    assert np.abs(there.numpy() - back.numpy().T).max() > 1e-3
    np.testing.assert_allclose(both.numpy(), 0.5 * (there.numpy() + back.numpy().T), atol=1e-5)
    exchanged, other = compare_all(parts, [2, 3], gallery, queries, both_orders=True)
    np.testing.assert_allclose(exchanged.numpy().T, both.numpy(), atol=1e-5)
    np.testing.assert_allclose(other.numpy().T, distances.numpy(), atol=1e-4)


def test_duplicates_are_at_distance_zero_as_pair_by_pair(network):
    """Otherwise rounding would decide their SimiScore, 2,000 at distance 0."""
    parts, queries, _ = network()
    copies = {name: np.array(values) for name, values in queries.items()}
    distances = compare_all(parts, [2, 3], queries, copies)[1].numpy()
    np.testing.assert_array_equal(np.diagonal(distances), 0.0)
    assert (distances + np.eye(QUERIES) > 1e-3).all()


def test_sizes_unknown_beforehand(network):
    parts, queries, gallery = network()

    def unknown(features):
        return {name: tf.TensorSpec([None, *x.shape[1:]]) for name, x in features.items()}

    @tf.function(input_signature=[unknown(queries), unknown(gallery)])
    def run(queries, gallery):
        return compare_all(parts, [2, 3], queries, gallery)

    for count in (GALLERY, 2):
        some = {name: x[:count] for name, x in gallery.items()}
        for mine, expected in zip(run(queries, some), compare_all(parts, [2, 3], queries, some)):
            np.testing.assert_allclose(mine.numpy(), expected.numpy(), atol=1e-5)
