"""Checks of features: those that are equal, and files with NaN."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.protocol import check_features, check_spread
from tfreid.evaluation.streaming import evaluate_with_distractors

FEATURES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("features", [
    np.zeros((5, 3), np.float32),
    np.full((5, 3), -7.5, np.float32),
    np.float32(1e20) * (1 + np.float32(1e-7) * FEATURES[:5]),
])
def test_equal_features_are_refused(features):
    with pytest.raises(UserError, match="all 5 gallery features are equal"):
        check_spread(features)


@pytest.mark.parametrize("features", [
    FEATURES, FEATURES * 1e-20, 1 + 1e-4 * FEATURES, np.zeros((1, 3)),
    np.array([[1.0, 0], [1, 1e-5]]),
])
def test_features_that_differ(features):
    check_spread(features)


@pytest.fixture
def broken(tmp_path):
    features = FEATURES.copy()
    features[4, 1] = np.nan
    np.save(tmp_path / "gallery.npy", features)
    return np.load(tmp_path / "gallery.npy", mmap_mode="r")


def test_a_file_of_features_with_nan_is_named(broken, tmp_path):
    ids, cameras = np.arange(3), np.zeros(3, int)
    with pytest.raises(UserError) as error:
        check_features(FEATURES, broken)
    assert f"delete {tmp_path / 'gallery.npy'} and the .json beside it" in str(error.value)
    with pytest.raises(UserError) as error:
        evaluate_with_distractors(FEATURES[:3], ids, cameras, FEATURES[:3], ids, cameras + 1,
                                  broken[3:])
    assert "(first: row 1)" in str(error.value)
    assert f"delete {tmp_path / 'gallery.npy'} and the .json beside it" in str(error.value)
    with pytest.raises(UserError, match="check the model's weights"):
        check_features(FEATURES, np.array(broken))
