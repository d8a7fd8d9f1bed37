"""The CSN's objective: values by hand, statistics of matching and non-matching pairs, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.config import (
    Config,
    ContrastiveLossConfig,
    LossConfig,
    MatchLossConfig,
    RegionLossConfig,
)
from tfreid.systems.csn.objective import CsnObjective, check_csn_losses
from tfreid.systems.csn.settings import Settings as CsnSettings

MATCHES = np.int32([1, 0, 1, 0])
LOGITS = np.float32([[0, 2], [1, 0], [3, 1], [0, 1]])  # right, right, wrong, wrong
DISTANCES = np.float32([0.5, 0.3, 0.25, 1.5])
# Uprights but for one region with r_w = 0.2, s_h = 0.05 and t_w = 0.9.
UPRIGHT = [0.5, 0.0, 0.1, 0.0, 0.5, 0.0]
SKEWED = [0.5, 0.2, 0.9, 0.0, 0.05, 0.0]


def _outputs(distance=True, regions=(UPRIGHT, UPRIGHT)):
    regions = tf.constant([regions], tf.float32)
    found = {"logits": tf.constant(LOGITS), "regions_2": regions, "regions_3": regions}
    return {**found, "distance": tf.constant(DISTANCES)} if distance else found


def _scalars(config=None, outputs=None, matches=MATCHES, levels=(2, 3)):
    objective = CsnObjective(config or LossConfig(), levels)
    total, scalars = objective(outputs or _outputs(), tf.constant(matches))
    assert float(total) == float(scalars["loss/total"])
    return {name: float(value) for name, value in scalars.items()}


def _entropy():
    """Eq. 3 with its logarithm: -log p of the right class, averaged."""
    rows = LOGITS.astype(np.float64)
    shares = np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)
    return -np.log(shares[np.arange(4), MATCHES]).mean()


def test_the_losses_by_hand():
    scalars = _scalars()
    assert scalars["loss/match"] == pytest.approx(_entropy(), rel=1e-6)
    # Eq. 4: matches 0.25 + 0.0625, others 0.49 + 0, over 2 m = 8.
    assert scalars["loss/contrastive"] == pytest.approx((0.25 + 0.49 + 0.0625) / 8, rel=1e-5)
    assert scalars["loss/regions"] == 0.0
    assert scalars["loss/total"] == pytest.approx(
        scalars["loss/match"] + scalars["loss/contrastive"], rel=1e-6)


def test_weights_margin_and_scale():
    config = LossConfig(match=MatchLossConfig(weight=2.0),
                        contrastive=ContrastiveLossConfig(weight=3.0, margin=2.0, scale="mean"))
    scalars = _scalars(config)
    assert scalars["loss/match"] == pytest.approx(2 * _entropy(), rel=1e-6)
    pulls = 0.25 + 1.7**2 + 0.0625 + 0.5**2
    assert scalars["loss/contrastive"] == pytest.approx(3 * pulls / 4, rel=1e-5)


def test_priors_by_hand_and_their_weights():
    outputs = _outputs(regions=(UPRIGHT, SKEWED))
    # Of two regions one costs, on both levels: rotation 0.2, scale 0.05^2, reach 1.6 - 1.
    config = LossConfig(regions=RegionLossConfig(rotation=0.0, scale=0.0, inside=0.0))
    assert _scalars(config, outputs)["loss/regions"] == 0.0
    for name, penalty in (("rotation", 0.2), ("scale", 0.05**2), ("inside", 0.6**2)):
        weights = {"rotation": 0.0, "scale": 0.0, "inside": 0.0, name: 10.0}
        alone = LossConfig(regions=RegionLossConfig(**weights))
        assert _scalars(alone, outputs)["loss/regions"] == pytest.approx(
            10 * 2 * penalty / 2, rel=1e-4)
        assert _scalars(alone, outputs, levels=(3,))["loss/regions"] == pytest.approx(
            10 * penalty / 2, rel=1e-4)
    default = _scalars(outputs=outputs)
    assert default["loss/regions"] == pytest.approx(0.1 * 0.2 + 0.05**2 + 0.6**2, rel=1e-4)
    assert default["loss/total"] == pytest.approx(
        default["loss/match"] + default["loss/contrastive"] + default["loss/regions"], rel=1e-6)


def test_statistics_of_both_kinds_of_pairs():
    scalars = _scalars(matches=np.int32([1, 0, 1, 1]))
    assert scalars["accuracy/pairs"] == 0.75
    assert scalars["accuracy/matching"] == pytest.approx(2 / 3)
    assert scalars["accuracy/non_matching"] == 1.0
    assert scalars["distance/matching"] == pytest.approx((0.5 + 0.25 + 1.5) / 3)
    assert scalars["distance/non_matching"] == pytest.approx(0.3)


@pytest.mark.parametrize("match, absent", [(0, "matching"), (1, "non_matching")])
def test_a_batch_of_one_kind_has_no_nan(match, absent):
    scalars = _scalars(matches=np.full(4, match, np.int32))
    assert np.isfinite(list(scalars.values())).all()
    assert scalars[f"accuracy/{absent}"] == scalars[f"distance/{absent}"] == 0.0


def test_without_the_contrastive_loss():
    for config, outputs in ((LossConfig(contrastive=ContrastiveLossConfig(weight=0.0)), _outputs()),
                            (LossConfig(), _outputs(distance=False))):
        scalars = _scalars(config, outputs)
        assert "loss/contrastive" not in scalars
        assert scalars["loss/total"] == pytest.approx(_entropy(), rel=1e-6)
    assert "distance/matching" not in scalars


def test_without_the_classification():
    scalars = _scalars(LossConfig(match=MatchLossConfig(weight=0.0)))
    assert "loss/match" not in scalars
    assert scalars["loss/total"] == pytest.approx(scalars["loss/contrastive"], rel=1e-6)


def test_matches_as_a_column_and_other_types():
    for matches in (MATCHES[:, None], MATCHES.astype(bool), MATCHES.astype(np.float32)):
        assert _scalars(matches=matches) == pytest.approx(_scalars())


@pytest.mark.parametrize("losses, csn", [
    (LossConfig(match=MatchLossConfig(weight=0.0),
                contrastive=ContrastiveLossConfig(weight=0.0)), CsnSettings()),
    (LossConfig(match=MatchLossConfig(weight=0.0)), CsnSettings(ranking_net=False)),
])
def test_nothing_to_learn_is_refused(losses, csn):
    with pytest.raises(UserError, match="set loss.match.weight above 0"):
        check_csn_losses(Config(system="csn", csn=csn, loss=losses))


@pytest.mark.parametrize("losses, csn", [
    (LossConfig(match=MatchLossConfig(weight=0.0)), CsnSettings()),
    (LossConfig(contrastive=ContrastiveLossConfig(weight=0.0)), CsnSettings(ranking_net=False)),
])
def test_one_loss_is_enough(losses, csn):
    check_csn_losses(Config(system="csn", csn=csn, loss=losses))


class _Pictures:
    def images(self, name, images, step):
        self.shown = name, images, step


def test_a_batch_is_compared_in_training_mode_and_its_regions_are_drawn(small_csn):
    model, config = small_csn(), Config(system="csn")
    images = tf.random.stateless_uniform((20, 64, 28, 3), (1, 2), 0, 256, tf.int32)
    images = tf.cast(images, tf.uint8)
    batch = (images, tf.constant([0, 1, 2]), tf.constant([3, 4, 19]), tf.constant([1, 0, 0]))
    objective = CsnObjective(config.loss, config.csn.levels)
    before = model.get_layer("extract").get_layer("conv1_bn").moving_mean.numpy()
    loss, scalars, outputs = objective.forward(model, batch)
    assert np.isfinite(float(loss)) and float(loss) == float(scalars["loss/total"])
    assert not np.array_equal(
        before, model.get_layer("extract").get_layer("conv1_bn").moving_mean.numpy())
    watched = objective.watched(outputs, batch)
    assert [tuple(x.shape) for x in watched] == [(16, 64, 28, 3), (16, 3, 6), (16, 3, 6)]
    pictures = _Pictures()
    objective.summarize(pictures, watched, 7)
    name, drawn, step = pictures.shown
    assert (name, step) == ("attended_regions", 7)
    assert drawn.shape == (16, 128, 56, 3) and drawn.dtype == np.uint8
    for image, picture in zip(watched[0].numpy(), drawn):
        # Outlines are drawn over some of the enlarged pixels, not over all.
        same = (np.abs(picture[::2, ::2].astype(int) - image) < 60).all(axis=-1).mean()
        assert 0.05 < same < 1.0
