"""OSNet and its relatives: torchreid's weights in our layers must give its maps and embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.backbones.osnet import osnet_head
from tfreid.weights.layouts import LAYOUTS, osnet
from tfreid.weights.layouts.layout import weight_pairs
from tfreid.weights.layouts.osnet import layer_pairs

CLASSIFIER = 1000 * (512 + 1)
# Parameters of torchreid's models with 1,000 classes.
PUBLISHED = {
    "osnet_x1_0": 2_682_508,
    "osnet_x0_75": 1_798_754,
    "osnet_x0_5": 1_143_034,
    "osnet_x0_25": 714_864,
    "osnet_ibn_x1_0": 2_683_532,
    "osnet_ain_x1_0": 2_682_508,
    "osnet_ain_x0_75": 1_798_754,
    "osnet_ain_x0_5": 1_143_034,
    "osnet_ain_x0_25": 714_864,
}
QUICK = ("osnet_x0_25", "osnet_ain_x0_25")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in LAYOUTS if LAYOUTS[name] is osnet.LAYOUT
])
def test_same_feature_map_and_embedding(name, check_parity):
    trainable, parameters = check_parity(name, most=1, feature=osnet_head)
    assert trainable + CLASSIFIER == parameters == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_millions_of_the_paper(name):
    """Zhou et al. (TPAMI 2021) count without the classifier."""
    published = {"1_0": 2.2, "0_75": 1.3, "0_5": 0.6, "0_25": 0.2}[name.rpartition("_x")[2]]
    assert (PUBLISHED[name] - CLASSIFIER) / 1e6 == pytest.approx(published, abs=0.05)


def test_the_embedding_is_no_trivial_one(golden):
    feature = golden("osnet_x0_25").feature
    assert feature.shape == (1, 512) and 100 < np.count_nonzero(feature) < 412


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_weight_has_one_place(name):
    pairs = [pair for layer in layer_pairs(name) for pair in weight_pairs(layer)]
    assert len({pair.ours for pair in pairs}) == len({pair.theirs for pair in pairs}) == len(pairs)
