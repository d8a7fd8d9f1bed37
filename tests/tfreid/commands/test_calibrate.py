"""Calibration of a run's threshold, from its images to the file that the export takes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tfreid.commands import calibrate as calibrate_command
from tfreid.commands import export, query
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.thresholds import load_thresholds, weights_fingerprint
from tfreid.records import Records, open_records
from tfreid.serving.client import exported_thresholds


@pytest.fixture(scope="module")
def calibrate():
    return calibrate_command.main


def pair_distances(records, model, config, metric, splits, normalize):
    """All distances of pairs, by a plain loop: of one person, and of two."""
    extract = FeatureExtractor(model, config, open_records(config.data))
    features = {split: extract(split, progress=False) for split in splits}
    for split in splits if normalize else ():
        features[split] /= np.linalg.norm(features[split], axis=1, keepdims=True)
    left, right = splits[0], splits[-1]
    indices = {split: Records(records)[split].index for split in splits}
    every = pairwise_distances(features[left], features[right], metric)
    found = {True: [], False: []}
    for row in range(len(every)):
        for column in range(len(every[row])):
            same = indices[left].ids[row] == indices[right].ids[column]
            if same and indices[left].cameras[row] == indices[right].cameras[column]:
                continue
            if left != right or row < column:
                found[bool(same)].append(every[row, column])
    return np.array(found[True]), np.array(found[False])


def test_the_kept_threshold_does_what_the_file_says(calibrate, untrained, records, capsys):
    folder, model, config = untrained
    status = calibrate(["--run", str(folder), "--choose", "0.05", "--false-positive-rates",
                        "0.1,0.3", "evaluation.metric=euclidean"])
    assert status == 0
    threshold = load_thresholds(folder / "thresholds.json")["euclidean"]
    # Features are unit vectors, as they are served.
    positives, negatives = pair_distances(records, model, config, "euclidean",
                                          ["query", "gallery"], normalize=True)
    assert threshold.measured["positive_pairs"] == len(positives) > 0
    assert threshold.measured["negative_pairs"] == len(negatives) > 0
    limit = int(0.05 * len(negatives))
    # Unit vectors made here may differ in the last digit.
    reached = threshold.threshold + 1e-6
    assert np.sum(negatives <= reached) <= limit
    assert threshold.false_positive_rate == np.mean(negatives <= reached)
    assert threshold.true_positive_rate == np.mean(positives <= reached)
    # It is the highest: the next distance would let one too many pass.
    every = np.concatenate([positives, negatives])
    assert np.abs(every - threshold.threshold).min() < 1e-6
    assert np.sum(negatives <= every[every > reached].min() + 1e-6) > limit
    assert set(threshold.measured["at_false_positive_rates"]) == {"0.05", "0.1", "0.3"}
    assert threshold.fingerprint == weights_fingerprint(model)
    assert (threshold.metric, threshold.feature, threshold.normalized) == (
        "euclidean", "neck", True)
    assert (threshold.dataset, threshold.split) == ("synthetic", "query x gallery")
    printed = capsys.readouterr().out
    for words in ("equal error rate", "area under the ROC", "0.3", f"{threshold.threshold:.4f}"):
        assert words in printed
    for picture in ("pair_distances.png", "roc.png"):
        assert cv2.imread(str(folder / picture)) is not None


def test_weights_without_a_run_are_calibrated_exported_and_queried(
        calibrate, untrained, files, tmp_path, monkeypatch, capsys):
    folder, untrained_model, _ = untrained
    monkeypatch.chdir(tmp_path)
    model = ["--config", str(folder / "config.yaml"), "--weights",
             str(folder / "checkpoints" / "last.weights.h5")]
    assert calibrate(model) == 0
    written = tmp_path / "runs" / "tiny-evaluation"
    found = load_thresholds(written / "thresholds.json")["cosine"]
    assert found.fingerprint == weights_fingerprint(untrained_model)
    assert export.main(model) == 0
    assert exported_thresholds(written / "export") == {"cosine": found}
    images = [str(files / name) for name in ("a.jpg", "b.jpg")]
    printed = []
    for source in (model, ["--model", str(written / "export")]):
        capsys.readouterr()
        assert query.main([*source, *images]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and "1 and 2: " in printed[0]
    assert calibrate([]) == 2
    assert "give either --run RUN" in capsys.readouterr().err


def test_one_split_is_paired_with_itself(calibrate, untrained, records, tmp_path):
    folder, model, config = untrained
    status = calibrate(["--run", str(folder), "--split", "train", "--output", str(tmp_path),
                        "--records", str(records), "evaluation.metric=cityblock",
                        "export.normalize=false"])
    assert status == 0
    threshold = load_thresholds(tmp_path / "thresholds.json")["cityblock"]
    positives, negatives = pair_distances(records, model, config, "cityblock", ["train"],
                                          normalize=False)
    assert not threshold.normalized
    measured = threshold.measured
    assert (measured["positive_pairs"], measured["negative_pairs"]) == (
        len(positives), len(negatives))
    assert threshold.split == "train" and threshold.chosen_by == "equal error rate"
    misses = np.mean(positives > threshold.threshold)
    false = np.mean(negatives <= threshold.threshold)
    assert abs(misses - false) < 0.05
    assert measured["equal_error_rate"] == pytest.approx((misses + false) / 2, abs=0.03)


def test_records_without_queries(calibrate, untrained, records, capsys, tmp_path):
    folder, _, _ = untrained
    for path in records.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    del manifest["splits"]["query"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert calibrate(["--run", str(folder), "--records", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "query" in message and message.count("\n") == 1


@pytest.mark.parametrize(("arguments", "words"), [
    (["--run", "nowhere"], "no run there"),
    (["--run", "RUN", "--split", "validation"], "validation"),
    (["--run", "RUN", "--records", "nowhere"], "nowhere"),
    (["--run", "RUN", "evaluation.metric=cosin"], "did you mean 'cosine'"),
    (["--run", "RUN", "--weights", "no.weights.h5"], "does not exist"),
])
def test_mistakes_are_one_sentence(calibrate, untrained, capsys, arguments, words):
    arguments = [str(untrained[0]) if word == "RUN" else word for word in arguments]
    assert calibrate(arguments) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1


@pytest.mark.parametrize("arguments", [
    ["--run", "a", "--choose", "1.5"], ["--run", "a", "--false-positive-rates", "0.1,0"],
])
def test_wrong_usage_is_argparses_error(calibrate, arguments):
    with pytest.raises(SystemExit) as caught:
        calibrate(arguments)
    assert caught.value.code == 2
