"""Verdicts on pairs against hand-made scores, and where thresholds come from."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfreid.config import Config, ModelConfig
from tfreid.records import Records
from tfreid.systems.siamese.network import build_siamese
from tfreid.systems.siamese.pair_sets import PairSet
from tfreid.systems.siamese.scores import SiameseScores, judge, sigmoid, verdicts_table
from tfreid.systems.siamese.settings import Settings
from tfreid.systems.siamese.validation import SiameseEvaluator

# Probabilities of one person: 0.9, 0.6 and 0.3 of pairs of one, 0.7, 0.2 and 0.1 of pairs of two.
MATCHES = np.array([True, False, True, False, True, False])
PROBABILITIES = np.array([0.9, 0.7, 0.6, 0.2, 0.3, 0.1])
DISTANCES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
PLACES = np.arange(6)
FACTS = {"minkowski_p": 3.0, "split": "validation", "fingerprint": "abc"}


@pytest.fixture
def verdicts():
    logits = np.log(PROBABILITIES / (1 - PROBABILITIES)).astype(np.float32)
    pairs = PairSet([b""] * 6, [""] * 6, PLACES, PLACES, MATCHES, "six pairs")
    return judge(pairs, SiameseScores(logits, {"euclidean": DISTANCES.astype(np.float32)}))


def test_pairs_are_from_two_cameras_however_those_of_training_are(records):
    config = Config(system="siamese", siamese=Settings(loss="contrastive"), model=ModelConfig(
        backbone="siamese_twin", filters=[2], height=16, width=16, embedding_size=4, neck=False,
        classifier=False))
    config.data.pairs.apart, config.data.subset.validation = "images", 0.5
    evaluator = SiameseEvaluator(build_siamese(config), config, Records(records))
    index = Records(records)["train"].index
    cameras = dict(zip(index.paths, index.cameras))
    for pairs in evaluator._pairs.values():
        first, second = (np.array([cameras[pairs.names[place]] for place in side[pairs.matches]])
                         for side in (pairs.first, pairs.second))
        assert len(first) == 2000 and (first != second).all()


def test_figures_by_hand(verdicts):
    threshold = dataclasses.replace(verdicts.thresholds(**FACTS)["probability"],
                                    threshold=np.log(1.5))
    figures = verdicts.figures({"probability": threshold})  # the logit of 0.6
    assert figures["pairs"] == "six pairs"
    assert (figures["matching_pairs"], figures["non_matching_pairs"]) == (3, 3)
    by_probability = figures["probability"]
    # At 0.5: 0.9 and 0.6 right, 0.3 wrong, 0.7 wrong, 0.2 and 0.1 right.
    assert by_probability["accuracy_at_0.5"] == pytest.approx(4 / 6)
    assert by_probability["threshold"] == pytest.approx(0.6)
    assert by_probability["accuracy"] in (pytest.approx(4 / 6), pytest.approx(3 / 6))
    # 0.9 beats three, 0.6 beats two, 0.3 beats two.
    assert by_probability["roc_auc"] == pytest.approx(7 / 9)
    # Precision at 0.9: 1; at 0.6: 2 of 3; at 0.3: 3 of 4.
    assert by_probability["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert "accuracy" not in figures["euclidean"]
    # Distances 0.1, 0.3, 0.5 against 0.2, 0.4, 0.6: three, two and one are farther.
    assert figures["euclidean"]["roc_auc"] == pytest.approx(6 / 9)


def test_thresholds_by_hand(verdicts):
    found = verdicts.thresholds(**FACTS)
    assert found["euclidean"].true_positive_rate == pytest.approx(1 / 3)
    assert found["euclidean"].false_positive_rate == 0 and found["euclidean"].dataset == "six pairs"
    values = {name: one.threshold for name, one in found.items()}
    # Between 0.2 and 0.3: all of one person and two of two are right.
    assert sigmoid(values["probability"]) == pytest.approx(0.2466, abs=1e-4)
    assert verdicts.accuracy("probability", values["probability"]) == pytest.approx(5 / 6)
    # Up to 0.15: 1 + 3 right; up to 0.35: 2 + 2; up to 0.55: 3 + 1; the lowest of them.
    assert values["euclidean"] == pytest.approx(0.15, abs=1e-6)
    figures = verdicts.figures(found)
    assert figures["euclidean"]["accuracy"] == pytest.approx(4 / 6)
    table = verdicts_table(figures, "of a test")
    assert "83.33%" in table and "0.2466" in table and table.endswith("thresholds: of a test")


def test_nearly_sure_matches_stay_apart():
    logits = np.array([42.0, 41.0, 50.0, 37.5], np.float32)
    pairs = PairSet([b""] * 4, [""] * 4, PLACES[:4], PLACES[:4],
                    np.array([True, False, True, False]), "four pairs")
    verdicts = judge(pairs, SiameseScores(logits, {}))
    assert verdicts.thresholds(**FACTS)["probability"].threshold == 41.5
    assert verdicts.accuracy("probability", 41.5) == 1.0
    np.testing.assert_allclose(sigmoid(np.array([0.0, 800.0, -800.0])), [0.5, 1.0, 0.0])
