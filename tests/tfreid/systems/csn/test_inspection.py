"""What is told of a pair, against NumPy on the model's own features."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import Config, ModelConfig
from tfreid.systems.csn.inspection import describe_pair
from tfreid.systems.csn.network import csn_parts, pair_inputs
from tfreid.systems.csn.scores import CsnScorer

VARIANTS = {
    "plain": {"csn": {}},
    "whole": {"csn": {"levels": [2, 3, 4], "divide": False}},
    "center": {"csn": {"attention": "center", "levels": [3, 4]}},
    "no descriptors": {"csn": {"levels": [2, 3], "ranking_net": False}},
    "both orders": {"csn": {"levels": [3]}, "both_orders": True},
}


@pytest.fixture(scope="module")
def build(small_csn):
    """Returns a function that makes a network and its settings."""

    def make(csn, both_orders=False):
        config = Config(system="csn", model=ModelConfig(height=64, width=28))
        for name, value in {"width": 24, **csn}.items():
            setattr(config.csn, name, value)
        config.csn.score.both_orders = both_orders
        model = small_csn(**csn)
        # Localisation nets start at the middle of their stripes; elsewhere a wrong one would show.
        for level in config.csn.levels if config.csn.attention == "transformer" else ():
            kernel = csn_parts(model).extract.get_layer(f"loc{level}_region").kernel
            kernel.assign(0.2 * np.random.default_rng(level).normal(size=kernel.shape))
        return model, config

    return make


@pytest.fixture(scope="module", params=VARIANTS, ids=list(VARIANTS))
def described(request, build):
    model, config = build(**VARIANTS[request.param])
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (64, 28, 3)).astype(np.uint8) for _ in range(2)]
    details = describe_pair(model, config, *images)
    features = csn_parts(model).extract(np.stack(images).astype(np.float32), training=False)
    return model, config, images, details, {name: x.numpy() for name, x in features.items()}


def slide(signal, filters):
    """The sum over channels of depthwise correlations of [h, w, c] with [f, f, c]: [h, w]."""
    side = len(filters)
    before = (side - 1) // 2
    padded = np.pad(signal, ((before, side - 1 - before),) * 2 + ((0, 0),)).astype(np.float64)
    return np.array([[np.sum(padded[y : y + side, x : x + side] * filters)
                      for x in range(signal.shape[1])] for y in range(signal.shape[0])])


def test_maps_are_the_sums_of_both_directions(described):
    _, config, _, details, features = described
    assert list(details.levels) == config.csn.levels
    for level, found in details.levels.items():
        maps, parts = features[f"map_{level}"], features[f"parts_{level}"]
        assert found.channels == 24 and found.map_shape == maps.shape[1:3]
        for source in (0, 1):
            expected = [slide(maps[1 - source], part) for part in parts[source]]
            np.testing.assert_allclose(found.maps[source], expected, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found.regions[source], features[f"regions_{level}"][source],
                                       rtol=1e-5)
    first, second = next(iter(details.levels.values())).maps
    assert np.abs(first - second).max() > 1e-3


def test_figures_are_those_of_the_scorer(described):
    model, config, images, details, features = described
    sides = [{name: x[row : row + 1] for name, x in features.items()} for row in (0, 1)]
    orders = [sides, sides[::-1]] if config.csn.score.both_orders else [sides]
    logits = [csn_parts(model).compare(pair_inputs(*order), training=False)["logits"]
              for order in orders]
    expected = np.mean([tf.nn.softmax(x)[0, 1] for x in logits])
    assert details.probability == pytest.approx(expected, abs=1e-5)
    if config.csn.ranking_net:
        difference = features["descriptor"][0] - features["descriptor"][1]
        assert details.distance == pytest.approx(np.sqrt(np.sum(difference**2)), rel=1e-4)
    else:
        assert details.distance is None
    scored = [{name: x for name, x in side.items() if not name.startswith("regions")}
              for side in sides]
    expected = CsnScorer(model, config, None).cross(*scored)[0, 0]
    assert details.score == pytest.approx(expected, rel=1e-4)
    for shown, image in zip(details.images, images):
        np.testing.assert_array_equal(shown, image)


def test_images_of_other_sizes_are_shown_as_the_network_sees_them(build):
    model, config = build({"levels": [3]})
    large = np.repeat(np.repeat(np.arange(64 * 28 * 3).reshape(64, 28, 3) % 256, 2, 0), 2, 1)
    small = np.full((20, 10, 3), 77)
    details = describe_pair(model, config, large.astype(np.uint8), small.astype(np.uint8))
    assert [image.shape for image in details.images] == [(64, 28, 3)] * 2
    assert [image.dtype for image in details.images] == [np.uint8] * 2
    assert np.all(details.images[1] == 77)
