"""Identification scores against cases worked by hand and against all matchings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tfreid.evaluation.identification import identification_scores, share_with_one_number


def people(text):
    """One person a character; - is nobody."""
    return np.array(["" if letter == "-" else letter for letter in text], str)


@pytest.mark.parametrize(("truth", "computed", "scores"), [
    ("aabb", "1122", (1, 1, 1)),
    ("aabb", "2211", (1, 1, 1)),
    # One of four is wrong: IDTP 3, IDFP 1, IDFN 1.
    ("aaab", "1122", (3 / 4, 3 / 4, 3 / 4)),
    # One number for two people: only one of them has it.
    ("aabb", "1111", (1 / 2, 1 / 2, 1 / 2)),
    # Two numbers for one person: the longer part counts.
    ("aaaaa", "11122", (3 / 5, 3 / 5, 3 / 5)),
    # a-1 and b-2 would agree on 3 + 0, a-2 and b-1 on 2 + 2.
    ("aaaaabb", "1112211", (4 / 7, 4 / 7, 4 / 7)),
    # Two missed: IDTP 2, IDFP 0, IDFN 2; one false detection: IDTP 2, IDFP 1, IDFN 0.
    ("aabb", "11--", (2 * 2 / (2 * 2 + 2), 1, 1 / 2)),
    ("aa-", "111", (2 * 2 / (2 * 2 + 1), 2 / 3, 1)),
    ("aa", "--", (0, np.nan, 0)),
    ("", "", (np.nan, np.nan, np.nan)),
])
def test_scores_worked_by_hand(truth, computed, scores):
    found = identification_scores(people(truth), people(computed))
    np.testing.assert_allclose(found, scores)


def test_no_matching_agrees_on_more_detections():
    random = np.random.default_rng(0)
    for _ in range(20):
        truth, computed = random.integers(0, 4, 15), random.integers(0, 4, 15)
        most = max(sum(order[person] == number for person, number in zip(truth, computed))
                   for order in itertools.permutations(range(4)))
        assert identification_scores(truth, computed).idf1 == pytest.approx(most / 15)


@pytest.mark.parametrize(("truth", "computed", "share"), [
    ("aabb", "1122", 1),
    ("aabb", "1123", 1 / 2),  # b has two numbers
    ("aabb", "1111", 0),  # they share one
    ("aabbc", "11123", 1 / 3),  # c alone: b has 1 and 2, so a's 1 is not a's own
    ("aab", "1--", 0),  # one of a is missed, and all of b
    ("a--", "122", 1),
    ("", "", np.nan),
])
def test_the_share_of_people_with_one_number(truth, computed, share):
    np.testing.assert_allclose(share_with_one_number(people(truth), people(computed)), share)
