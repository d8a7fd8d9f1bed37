"""The client on exports of before: one signature that judges pairs, and a threshold of its own."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.serving.client import SavedModelClient, exported_thresholds
from tfreid.serving.saved_model import verify_signatures


class Old(tf.Module):
    """Calls the files' lengths distances; its input names are those of before."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes"),
                                  tf.TensorSpec([None], tf.string, name="other_image_bytes")])
    def verify(self, image_bytes, other_image_bytes):
        return lengths(image_bytes, other_image_bytes)


def lengths(first, second):
    return {"distance": tf.strings.length(first) - tf.strings.length(second)}


def verdicts(folder):
    return SavedModelClient(folder).verify([b"abc", b"a"], [b"a", b"ab"])["distance"].tolist()


def test_exports_of_before_still_judge_pairs(tmp_path):
    model = Old()
    tf.saved_model.save(model, str(tmp_path / "1"), signatures={"verify": model.verify})
    assert verdicts(tmp_path) == [2, -1]
    assert exported_thresholds(tmp_path) == {}
    (tmp_path / "1" / "assets.extra").mkdir()
    (tmp_path / "1" / "assets.extra" / "threshold.json").write_text(json.dumps({
        "threshold": 0.25, "metric": "euclidean", "minkowski_p": 3.0, "feature": "neck",
        "normalized": True, "chosen_by": "equal error rate", "true_positive_rate": 0.9,
        "false_positive_rate": 0.1, "dataset": "synthetic", "split": "query x gallery",
        "weights": "best.weights.h5", "fingerprint": "abc", "measured": {}}))
    assert exported_thresholds(tmp_path)["euclidean"].threshold == 0.25


def test_pairs_have_two_images(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "2"), signatures=verify_signatures(lengths))
    with pytest.raises(UserError, match="as many first as second images"):
        SavedModelClient(tmp_path).verify([b"abc"], [b"a", b"ab", b"abc"])
    assert SavedModelClient(tmp_path).verify([], [])["distance"].shape == (0,)


def test_new_exports_answer_old_clients(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "2"), signatures=verify_signatures(lengths))
    assert verdicts(tmp_path) == [2, -1]
    signatures = tf.saved_model.load(str(tmp_path / "2")).signatures
    files = (tf.constant([b"abc"]), tf.constant([b"a"]))
    found = signatures["verify"](image_bytes=files[0], other_image_bytes=files[1])
    np.testing.assert_array_equal(found["distance"], [2])
    found = signatures["verify_pairs"](first_image_bytes=files[0], second_image_bytes=files[1])
    np.testing.assert_array_equal(found["distance"], [2])
