"""Rates of thresholds on cases worked on paper, and the streamed curve against the exact one."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.protocol import feature_protocol
from tfreid.evaluation.verification import (
    _distances_of,
    _keys,
    protocol_pairs,
    streamed_verification_curve,
    verification_curve,
)

# Positives at 1, 2, 2, 5 and negatives at 2, 3, 4, 6, 7:
#   threshold   below   1     2     3     4     5     6     7
#   TPR         0      1/4   3/4   3/4   3/4    1     1     1
#   FPR         0       0    1/5   2/5   3/5   3/5   4/5    1
#   misses      1      3/4   1/4   1/4   1/4    0     0     0
POSITIVES, NEGATIVES = [1.0, 2.0, 2.0, 5.0], [2.0, 3.0, 4.0, 6.0, 7.0]


@pytest.fixture
def curve():
    return verification_curve(np.array(POSITIVES), np.array(NEGATIVES))


def test_rates_worked_on_paper(curve):
    assert (curve.num_positives, curve.num_negatives) == (4, 5)
    np.testing.assert_array_equal(curve.distances, [1, 2, 3, 4, 5, 6, 7])
    assert curve.thresholds[0] < 1
    np.testing.assert_array_equal(curve.thresholds[1:], curve.distances)
    np.testing.assert_allclose(
        curve.true_positive_rates, [0, 1 / 4, 3 / 4, 3 / 4, 3 / 4, 1, 1, 1])
    np.testing.assert_allclose(
        curve.false_positive_rates, [0, 0, 1 / 5, 2 / 5, 3 / 5, 3 / 5, 4 / 5, 1])


def test_area_is_the_chance_that_the_positive_is_nearer(curve):
    wins = [(n > p) + (n == p) / 2 for p in POSITIVES for n in NEGATIVES]
    assert curve.area == pytest.approx(np.mean(wins))


def test_equal_error_worked_on_paper(curve):
    # From threshold 2 (misses 1/4, false 1/5) to 3 (1/4, 2/5) the line meets at 1/4; the error
    # rates of threshold 2 lie nearer each other.
    assert curve.equal_error_rate == pytest.approx(1 / 4)
    point = curve.equal_error_point()
    assert point.threshold == 2
    assert (point.true_positive_rate, point.false_positive_rate) == pytest.approx((3 / 4, 1 / 5))


def test_equal_error_on_a_slope():
    # Threshold 1: misses 2/3, false 0; threshold 2: misses 0, false 1/2. The line between them has
    # misses 2/3 (1 - s) and false s / 2, equal at s = 4/7: 2/7.
    curve = verification_curve([1, 2, 2], [2, 3])
    assert curve.equal_error_rate == pytest.approx(2 / 7)
    assert curve.equal_error_point().threshold == 2


def test_false_positive_rates_worked_on_paper(curve):
    for rate, threshold in ((0.0, 1), (0.19, 1), (0.2, 2), (0.39, 2), (0.6, 5), (1.0, 7)):
        point = curve.at_false_positive_rate(rate)
        assert point.threshold == threshold
        assert point.false_positive_rate <= rate
    with pytest.raises(ValueError, match="received 1.5"):
        curve.at_false_positive_rate(1.5)


def test_a_decimal_rate_is_not_lost_to_rounding():
    # 0.29 * 100 is 28.999999999999996 in floating point.
    curve = verification_curve([0.5], np.arange(1.0, 101.0))
    assert curve.at_false_positive_rate(0.29).threshold == 29


def test_a_rate_that_the_nearest_pair_exceeds():
    curve = verification_curve(np.float32([2.0]), np.float32([1.0, 3.0]))
    point = curve.at_false_positive_rate(0.1)
    assert point.threshold < 1
    assert (point.true_positive_rate, point.false_positive_rate) == (0, 0)


def test_any_threshold_and_its_accuracy(curve):
    assert tuple(curve.at_threshold(3.5)) == pytest.approx((3.5, 3 / 4, 2 / 5))
    # 3 of 4 positives and 3 of 5 negatives are judged rightly.
    assert curve.accuracy(3.5) == pytest.approx(6 / 9)
    assert curve.accuracy(0) == pytest.approx(5 / 9)
    assert curve.accuracy(100) == pytest.approx(4 / 9)


def test_pairs_told_apart_wholly():
    curve = verification_curve([0.1, 0.2], [0.7, 0.9])
    assert (curve.area, curve.equal_error_rate) == (1, 0)
    assert curve.equal_error_point().threshold == 0.2
    assert curve.accuracy(0.2) == 1


def test_pairs_not_told_apart_at_all():
    curve = verification_curve([0.5], [0.5, 0.5])
    assert (curve.area, curve.equal_error_rate) == (0.5, 0.5)
    curve = verification_curve([2.0], [1.0])
    assert (curve.area, curve.equal_error_rate) == (0, 1)


def test_negative_distances():
    # Inner products: the most alike is the most negative.
    curve = verification_curve([-3.0, -2.0], [-2.5, 1.0, 0.0, 4.0])
    assert curve.at_false_positive_rate(0.25).threshold == -2
    assert curve.area == pytest.approx(7 / 8)


def test_keys_keep_the_order_of_all_floats():
    largest = np.finfo(np.float32).max
    values = np.float32([-largest, -2.0, -1.0, -1e-30, -0.0, 0.0, 1e-40, 1e-30, 0.5, 1.0, 1.5,
                         largest])
    keys = _keys(values)
    assert np.all(np.diff(keys) >= 0) and keys.min() >= 0 and keys.max() < 2**32
    assert keys[4] == keys[5] and len(np.unique(keys)) == len(values) - 1
    np.testing.assert_array_equal(_distances_of(keys), values)


def test_equal_distances_take_no_more_memory():
    # A network that embeds all images alike has all pairs at one distance.
    many = np.full(10**6, 0.25, np.float32)
    curve = streamed_verification_curve(lambda: [(many[:9], many)] * 3)
    assert curve.distances.tolist() == [0.25]
    assert (curve.positives.tolist(), curve.negatives.tolist()) == ([27], [3 * 10**6])


@pytest.mark.parametrize("shift", [0.0, -0.6])
def test_the_streamed_curve_is_exact_where_it_matters(shift):
    rng = np.random.default_rng(1)
    positives = (shift + rng.normal(0.3, 0.1, 3000)).astype(np.float32)
    negatives = (shift + rng.normal(0.7, 0.15, 40000)).astype(np.float32)
    rates = (1e-5, 1e-3, 0.03, 0.5, 1.0)
    passes = []

    def pairs():
        passes.append(None)
        return zip(np.array_split(positives, 13), np.array_split(negatives, 13))

    found = streamed_verification_curve(pairs, rates)
    expected = verification_curve(positives, negatives)
    assert len(passes) == 2
    assert len(found.distances) < len(expected.distances) / 2
    assert (found.num_positives, found.num_negatives) == (3000, 40000)
    assert found.equal_error_rate == expected.equal_error_rate
    assert found.equal_error_point() == expected.equal_error_point()
    for rate in rates:
        assert found.at_false_positive_rate(rate) == expected.at_false_positive_rate(rate)
    assert found.area == pytest.approx(expected.area, abs=1e-5)
    for place in range(0, len(found.thresholds), 50):
        point = found.at_threshold(found.thresholds[place])
        assert tuple(point) == pytest.approx(tuple(expected.at_threshold(point.threshold)))


def test_batches_of_pairs_do_not_matter(monkeypatch):
    import tfreid.evaluation.verification as verification

    whole = streamed_verification_curve(lambda: [(np.float32(POSITIVES), np.float32(NEGATIVES))])
    monkeypatch.setattr(verification, "_BATCH", 3)
    single = streamed_verification_curve(
        lambda: [(np.float32([p]), np.float32([])) for p in POSITIVES]
        + [(np.float32([]), np.float32([n])) for n in NEGATIVES])
    for name in ("distances", "positives", "negatives"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(single, name))


def test_pairs_follow_the_protocol():
    # Query 0 (person 1, camera 1): gallery 0 is the same camera, 3 is junk.
    protocol = feature_protocol(
        np.array([[0.0], [10.0]]), [1, 2], [1, 2],
        np.array([[1.0], [2.0], [3.0], [4.0], [6.0]]), [1, 1, 2, -1, 0], [1, 2, 1, 1, 1],
        "euclidean")
    pairs = list(protocol_pairs(protocol, False, "pairs"))
    assert [[sorted(side.tolist()) for side in pair] for pair in pairs] == [
        [[2], [3, 6]], [[7], [4, 8, 9]]]
    assert pairs[0][0].dtype == np.float32


@pytest.mark.parametrize("make", [
    verification_curve,
    lambda positive, negative: streamed_verification_curve(
        lambda: [(np.float32(positive), np.float32(negative))]),
])
def test_mistakes_are_one_sentence(make):
    with pytest.raises(UserError, match="no positive pair"):
        make([], [1.0])
    with pytest.raises(UserError, match="no negative pair"):
        make([1.0], [])
    with pytest.raises(UserError, match="NaN or infinity"):
        make([1.0], [np.nan])


def test_average_precision_worked_on_paper(curve):
    # Precision at distance 1: 1; at 2: 3 of 4; at 5: 4 of 7.
    assert curve.average_precision == pytest.approx((1 + 2 * 3 / 4 + 4 / 7) / 4)


def test_average_precision_against_a_ranking():
    random = np.random.default_rng(0)
    positives, negatives = random.normal(0, 1, 40), random.normal(1, 1, 70)
    order = np.argsort(np.concatenate([positives, negatives]))
    ranks = np.flatnonzero(order < 40) + 1
    expected = np.mean(np.arange(1, 41) / ranks)
    assert verification_curve(positives, negatives).average_precision == pytest.approx(expected)


def test_the_most_accurate_threshold_worked_on_paper(curve):
    # Right at 1: 1 + 5 of 9; at 2: 3 + 4; at 3: 3 + 3; at 5: 4 + 2.
    assert curve.most_accurate_threshold() == 2.5
    assert curve.accuracy(2.5) == pytest.approx(7 / 9)
    # Everybody a match, and nobody.
    assert verification_curve([1.0, 3.0, 3.0], [2.0]).most_accurate_threshold() == 3.0
    assert verification_curve([3.0], [1.0, 2.0]).most_accurate_threshold() < 1.0
