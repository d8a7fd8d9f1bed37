"""Distractors read block by block: the figures of the joined gallery."""

from __future__ import annotations

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation import streaming
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.evaluation.streaming import evaluate_with_distractors, streamed_block_size

# One query at 0. By hand: the image at 1 is its own camera's and the one at 0.5 junk, so the
# matches at 2 and 5 are first and third, with a wrong image at 3 between them.
LINE = (np.float32([[0]]), np.array([7]), np.array([1]),
        np.float32([[5], [2], [3], [1], [0.5]]), np.array([7, 7, 8, 7, -1]),
        np.array([2, 3, 1, 1, 2]))


def line_of(*positions):
    return np.float32(positions)[:, np.newaxis]


def test_on_paper():
    # Distractors at 1 and 4 get ahead; the one at 2 is as far as the first match and stands behind
    # it; the one at 6 matters to nobody. So: 1, match, 2, 3, 4, match, 6.
    results = evaluate_with_distractors(*LINE, line_of(6, 4, 2, 1), metric="cityblock")
    assert list(results) == [0, 4]
    assert results[0].average_precision.tolist() == [pytest.approx((1 / 1 + 2 / 3) / 2)]
    assert results[0].rank(1) == 1 and results[0].num_gallery == 4
    assert results[4].average_precision.tolist() == [pytest.approx((1 / 2 + 2 / 6) / 2)]
    assert results[4].first_match_rank.tolist() == [2]
    assert results[4].mean_inp == pytest.approx(2 / 6) and results[4].num_gallery == 8
    assert results[4].cmc[:2].tolist() == [0, 1] and results[4].metric == "cityblock"


def test_every_distractor_counts_from_the_first_number_that_holds_it():
    # Two of three distractors are ahead of the only match; each number of them adds one image.
    sides = (line_of(0), np.array([1]), np.array([1]), line_of(3), np.array([1]), np.array([2]))
    ranks = {}
    for seed in range(8):
        results = evaluate_with_distractors(*sides, line_of(1, 9, 2), [3, 0, 1, 2, 2], seed,
                                            metric="euclidean")
        assert list(results) == [0, 1, 2, 3]
        ranks[seed] = [int(result.first_match_rank[0]) for result in results.values()]
        assert ranks[seed][0] == 1 and ranks[seed][3] == 3
        assert set(np.diff(ranks[seed])) <= {0, 1}
        again = evaluate_with_distractors(*sides, line_of(1, 9, 2), [1, 2], seed,
                                          metric="euclidean", block_size=1)
        assert [result.first_match_rank[0] for result in again.values()] == ranks[seed][1:3]
    assert {tuple(found) for found in ranks.values()} == {
        (1, 1, 2, 3), (1, 2, 2, 3), (1, 2, 3, 3)}


def random_case(seed, values):
    """Sides, distractors and numbers of them, with ties, copies, junk and unknown cameras."""
    random = np.random.default_rng(seed)
    queries, gallery, distractors, dimensions = random.integers((1, 5, 6, 2), (90, 120, 200, 9))

    def make(count):
        if values == "whole":
            return random.integers(-2, 3, (count, dimensions)).astype(np.float32)
        return random.standard_normal((count, dimensions), np.float32)

    sides = [make(queries), random.integers(0, 8, queries), random.integers(-1, 3, queries),
             make(gallery), random.integers(-1, 6, gallery), random.integers(-1, 3, gallery)]
    sides[4][0], sides[5][0] = sides[1][0], -1  # a match for the first query
    added = make(distractors)
    copied = min(gallery, distractors) // 2
    added[random.permutation(distractors)[:copied]] = sides[3][random.permutation(gallery)[:copied]]
    counts = random.integers(0, distractors + 1, 4).tolist()
    return sides, added, counts, int(random.integers(1, 90))


def joined(sides, added, chosen, **settings):
    """What `evaluate_ranking` finds when some distractors stand behind the gallery."""
    ids, cameras = np.full(len(chosen), 1000), np.full(len(chosen), -1)
    return evaluate_ranking(*sides[:3], np.concatenate([sides[3], added[chosen]]),
                            np.append(sides[4], ids), np.append(sides[5], cameras), **settings)


@pytest.mark.parametrize(("values", "metric"), [
    ("whole", "dot"), ("whole", "euclidean"), ("whole", "cityblock"), ("real", "cosine"),
    ("real", "correlation"), ("real", "euclidean"), ("real", "minkowski"), ("real", "dot"),
])
@pytest.mark.parametrize("seed", range(6))
def test_equals_the_joined_gallery(values, metric, seed):
    sides, added, counts, block_size = random_case(seed, values)
    results = evaluate_with_distractors(*sides, added, counts, seed, metric, 20, block_size, p=4)
    assert list(results) == sorted(set(counts))
    places = np.random.default_rng(seed).permutation(len(added))
    for count, result in results.items():
        expected = joined(sides, added, np.flatnonzero(places < count), metric=metric,
                          max_rank=20, p=4)
        assert result.as_dict() == expected.as_dict()
        np.testing.assert_array_equal(result.average_precision, expected.average_precision)
        np.testing.assert_array_equal(result.first_match_rank, expected.first_match_rank)
    assert result.num_valid_queries > 0


def test_kinds_of_numbers():
    sides, added, *_ = random_case(3, "real")
    expected = joined(sides, added.astype(np.float64), np.arange(len(added)), metric="dot")
    found = evaluate_with_distractors(*sides, added.astype(np.float64), metric="dot")
    assert found[len(added)].as_dict() == expected.as_dict()
    whole = np.round(4 * added).astype(np.int8)
    found = evaluate_with_distractors(*sides, whole)
    assert found[len(added)].as_dict() == joined(
        sides, whole.astype(np.float32), np.arange(len(added))).as_dict()


def test_features_are_read_once_and_in_order(tmp_path):
    sides, added, *_ = random_case(5, "real")
    np.save(tmp_path / "added.npy", added)
    mapped = np.load(tmp_path / "added.npy", mmap_mode="r")
    read = []

    class Watched:
        ndim, shape, dtype = mapped.ndim, mapped.shape, mapped.dtype

        def __len__(self):
            return len(mapped)

        def __getitem__(self, rows):
            read.append((rows.start, rows.stop))
            return mapped[rows]

    found = evaluate_with_distractors(*sides, Watched(), block_size=10)
    assert read == [(start, start + 10) for start in range(0, len(added), 10)]
    plain = evaluate_with_distractors(*sides, added)
    assert [x.as_dict() for x in found.values()] == [x.as_dict() for x in plain.values()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_negative_zeros_are_zeros(dtype):
    rows = np.array([[0.0, 3.0], [-0.0, 3.0], [1.0, 3.0]], dtype)
    first, second, other = streaming._fingerprints(rows)
    assert first == second != other


def test_blocks_are_moderate():
    assert streamed_block_size(3368) == 8192
    assert streamed_block_size(20_000) * 20_000 <= 2**25
    assert streamed_block_size(10**7) == 256


def test_a_block_without_any_wanted_distractor_is_not_looked_at():
    added = line_of(np.nan, np.nan, np.nan, 4)
    seed = next(seed for seed in range(99)
                if np.random.default_rng(seed).permutation(4)[3] == 0)
    results = evaluate_with_distractors(*LINE, added, [1], seed, "cityblock", block_size=1)
    assert results[1].average_precision[0] == pytest.approx((1 / 1 + 2 / 4) / 2)


@pytest.mark.parametrize(("distractors", "settings", "words"), [
    (line_of(1, 2), {"counts": [0, 3]}, "there are 2 distractors, .* received 3"),
    (line_of(1, 2), {"counts": [-1]}, "from 0 to 2, received -1"),
    (line_of(1, 2), {"counts": []}, "received none"),
    (np.ones((3, 2), np.float32), {}, "1 columns .* received shape \\(3, 2\\)"),
    (np.array([["a"]]), {}, "must be numbers"),
    (line_of(*[1.0] * 9, np.inf), {"block_size": 4}, "NaN or infinity \\(first: row 9\\)"),
    (line_of(1, 2), {"metric": "cosin"}, "did you mean 'cosine'"),
])
def test_mistakes(distractors, settings, words):
    with pytest.raises(UserError, match=words):
        evaluate_with_distractors(*LINE, distractors, **settings)


@pytest.mark.parametrize("setting", ["max_rank", "block_size"])
def test_wrong_values(setting):
    with pytest.raises(ValueError, match=setting):
        evaluate_with_distractors(*LINE, line_of(1), **{setting: 0})


def test_no_match_is_told_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(streaming, "_Reader", None)
    sides = [*LINE[:4], LINE[4] + 50, LINE[5]]
    with pytest.raises(UserError, match="no query has a valid match"):
        evaluate_with_distractors(*sides, line_of(1))
