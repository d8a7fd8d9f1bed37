"""The threshold's file, and what it refuses to be used for."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, EvaluationConfig, ExportConfig
from tfreid.evaluation.thresholds import (
    Threshold,
    choose_threshold,
    find_thresholds,
    load_thresholds,
    save_thresholds,
    weights_fingerprint,
)


def small_model(value=1.0, classes=2):
    inputs = keras.Input([3])
    features = keras.layers.Dense(2, name="features")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(classes, name="classifier")(features))
    for weight in model.layers[1].weights:
        weight.assign(np.full(weight.shape, value))
    return model


def make_threshold(**changes):
    return Threshold(**{**dict(
        threshold=0.25, metric="euclidean", minkowski_p=3.0, feature="neck", normalized=True,
        chosen_by="equal error rate", true_positive_rate=0.9, false_positive_rate=0.1,
        dataset="synthetic", split="query x gallery", weights="best.weights.h5",
        fingerprint=weights_fingerprint(small_model()), measured={"roc_area": 0.99},
    ), **changes})


def test_the_file_is_read_back(tmp_path):
    path = tmp_path / "new" / "thresholds.json"
    thresholds = {"euclidean": make_threshold(), "cosine": make_threshold(metric="cosine")}
    save_thresholds(thresholds, path)
    assert load_thresholds(path) == thresholds
    assert json.loads(path.read_text())["euclidean"]["threshold"] == 0.25
    assert choose_threshold(thresholds, "cosine") == thresholds["cosine"]
    assert choose_threshold(thresholds, "dot") == thresholds["euclidean"]


def test_a_threshold_in_the_file_of_before(tmp_path):
    assert find_thresholds(tmp_path) is None
    old = tmp_path / "threshold.json"
    old.write_text(json.dumps(dataclasses.asdict(make_threshold())))
    assert find_thresholds(tmp_path) == old
    assert load_thresholds(old) == {"euclidean": make_threshold()}
    save_thresholds({"euclidean": make_threshold()}, tmp_path / "thresholds.json")
    assert find_thresholds(tmp_path).name == "thresholds.json"


def test_thresholds_of_pairs_in_the_file_of_before(tmp_path):
    path = tmp_path / "thresholds.json"
    known = {"values": {"probability": 0.4, "dot": -3.0}, "calibrated_on": "pairs",
             "minkowski_p": 3.0, "fingerprint": "abc"}
    path.write_text(json.dumps(known))
    found = load_thresholds(path)
    assert {metric: one.threshold for metric, one in found.items()} == known["values"]
    assert {(one.dataset, one.minkowski_p, one.fingerprint, one.chosen_by)
            for one in found.values()} == {("pairs", 3.0, "abc", "the most accurate")}
    for content in (json.dumps({**known, "values": {}}), json.dumps({**known, "values": 3}),
                    json.dumps({**known, "values": {"probability": 0.4, "dot": "near"}})):
        path.write_text(content)
        with pytest.raises(UserError, match="is broken"):
            load_thresholds(path)


def test_its_distances_are_those_of_its_metric():
    threshold = make_threshold(metric="minkowski", minkowski_p=1.0)
    np.testing.assert_allclose(threshold.distances([[0.0, 0.0]], [[1.0, -2.0]]), [[3.0]])


def test_the_fingerprint_is_of_the_values_that_rank():
    fingerprint = weights_fingerprint(small_model())
    assert fingerprint == weights_fingerprint(small_model(classes=5))
    assert fingerprint != weights_fingerprint(small_model(1.0000001))


def test_it_fits_only_what_it_was_calibrated_for():
    make_threshold().check_fits(small_model(), Config())
    with pytest.raises(UserError, match="other weights .best.weights.h5."):
        make_threshold().check_fits(small_model(2.0), Config())
    with pytest.raises(UserError, match="evaluation.feature=neck, not embedding"):
        make_threshold().check_fits(
            small_model(), Config(evaluation=EvaluationConfig(feature="embedding")))
    with pytest.raises(UserError, match="evaluation.flip=false, not true"):
        make_threshold().check_fits(
            small_model(), Config(evaluation=EvaluationConfig(flip=True)))
    raw = Config(export=ExportConfig(normalize=False))
    with pytest.raises(UserError, match="export.normalize=true, on which its euclidean"):
        make_threshold().check_fits(small_model(), raw)
    make_threshold(metric="cosine").check_fits(small_model(), raw)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "{}", json.dumps({"threshold": 1}),
    json.dumps({"cosine": dataclasses.asdict(make_threshold())}),
    json.dumps(dataclasses.asdict(make_threshold(metric="cosin"))),
    *(json.dumps(dataclasses.asdict(make_threshold(**wrong))) for wrong in (
        {"threshold": "low"}, {"threshold": None}, {"threshold": float("nan")},
        {"threshold": float("inf")}, {"minkowski_p": None}, {"true_positive_rate": "high"},
        {"false_positive_rate": 1.5}, {"normalized": "yes"}, {"chosen_by": None})),
])
def test_other_files_are_one_sentence(tmp_path, text):
    path = tmp_path / "thresholds.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is broken"):
        load_thresholds(path)


def test_a_missing_file_names_the_tool(tmp_path):
    with pytest.raises(UserError, match="tfreid calibrate writes them"):
        load_thresholds(tmp_path / "threshold.json")
