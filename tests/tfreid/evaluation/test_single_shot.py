"""Single-shot trials: what may be drawn, ranks by hand and by loops, means and deviations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.evaluation.single_shot import draw_trials, single_shot_cmc, single_shot_result


def random_case(seed=0):
    """Labels with junk (-1), distractors (100), unknown cameras (-1) and people in one camera."""
    random = np.random.default_rng(seed)
    return {
        "query_ids": random.integers(0, 14, 40),
        "query_cameras": random.integers(-1, 3, 40),
        "gallery_ids": np.append(random.integers(-1, 12, 90), [100, 100]),
        "gallery_cameras": random.integers(-1, 3, 92),
    }


def valid_pairs(case):
    """Identity -> the pairs of positions that may be drawn, by plain loops."""
    pairs = {}
    for query, (identity, camera) in enumerate(zip(case["query_ids"], case["query_cameras"])):
        for other in range(len(case["gallery_ids"])):
            far = camera < 0 or case["gallery_cameras"][other] < 0
            far = far or camera != case["gallery_cameras"][other]
            if case["gallery_ids"][other] == identity and far:
                pairs.setdefault(identity, set()).add((query, other))
    return pairs


def drawn(trials):
    return [(trial.query.tolist(), trial.gallery.tolist()) for trial in trials]


@pytest.mark.parametrize("seed", range(5))
def test_only_valid_pairs_one_of_each_identity(seed):
    case = random_case(seed)
    pairs = valid_pairs(case)
    for trial in draw_trials(**case, trials=3, seed=seed):
        assert trial.query.dtype == trial.gallery.dtype == np.int64
        identities = case["query_ids"][trial.query]
        assert sorted(identities) == sorted(pairs)
        for identity, pair in zip(identities, zip(trial.query, trial.gallery)):
            assert pair in pairs[identity]


def test_every_valid_pair_and_identity_is_drawn_some_time():
    case = random_case()
    trials = draw_trials(**case, trials=1500, identities=5)
    assert all(len(set(case["query_ids"][trial.query])) == 5 for trial in trials)
    seen = {pair for trial in trials for pair in zip(*map(np.ndarray.tolist, trial))}
    assert seen == set().union(*valid_pairs(case).values())
    # Identities are equally likely, however many images they have, and so is each place.
    counts = np.bincount(np.concatenate([case["query_ids"][trial.query] for trial in trials]))
    expected = 1500 * 5 / len(valid_pairs(case))
    np.testing.assert_allclose(counts[counts > 0], expected, rtol=0.12)
    first = np.bincount([case["query_ids"][trial.query[0]] for trial in trials])
    np.testing.assert_allclose(first[first > 0], expected / 5, rtol=0.35)


def test_an_image_without_a_match_is_not_drawn():
    # Identity 3: query 0 and both its gallery images share camera 1; query 1 has camera 2.
    # Identity 4 has one camera only.
    trials = draw_trials([3, 3, 4], [1, 2, 1], [3, 3, 4], [1, 1, 1], trials=20)
    assert {tuple(trial.query) for trial in trials} == {(1,)}
    assert {tuple(trial.gallery) for trial in trials} == {(0,), (1,)}


def test_an_image_is_not_its_own_match_in_one_pool():
    ids, cameras = np.array([5, 5, 6]), np.array([-1, -1, -1])
    for trial in draw_trials(ids, cameras, ids, cameras, trials=20, same_pool=True):
        assert sorted((trial.query[0], trial.gallery[0])) == [0, 1]
    # Two pools have different images at the same place.
    trials = draw_trials(ids, cameras, ids, cameras, trials=20)
    assert any(2 in trial.gallery for trial in trials)


def test_trials_hang_on_seed_and_number_alone():
    case = random_case()
    trials = drawn(draw_trials(**case, trials=5, seed=3))
    assert drawn(draw_trials(**case, trials=5, seed=3)) == trials
    assert drawn(draw_trials(**case, trials=2, seed=3)) == trials[:2]
    assert len({str(trial) for trial in trials}) == 5
    others = drawn(draw_trials(**case, trials=5, seed=4))
    assert not any(trial in trials for trial in others)


def test_all_machines_draw_the_same():
    ids, cameras = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    (trial,) = draw_trials(ids, cameras, ids, cameras, trials=1, identities=3, seed=7)
    # Identities 0, 2 and 1. Written down once; both versions of NumPy must draw it.
    assert (trial.query.tolist(), trial.gallery.tolist()) == ([2, 8, 3], [1, 7, 4])


def test_refuses_what_cannot_be_drawn():
    labels = [[1, 2], [0, 0], [1, 2, 2], [1, 1, 1]]
    with pytest.raises(UserError, match="single_shot.identities is 3, but only 2 identities have"):
        draw_trials(*labels, trials=1, identities=3)
    with pytest.raises(UserError, match="no query images"):
        draw_trials([], [], *labels[2:], trials=1)
    with pytest.raises(UserError, match="no gallery images"):
        draw_trials(*labels[:2], [], [], trials=1)
    with pytest.raises(UserError, match="no identity has a query image"):
        draw_trials(*labels[:2], [1, 3], [0, 1], trials=1)
    with pytest.raises(UserError, match="query 1 has the identity -1"):
        draw_trials([1, -1], *labels[1:], trials=1)
    with pytest.raises(UserError, match="gallery cameras must be 3 integers"):
        draw_trials(*labels[:3], [1, 1], trials=1)
    with pytest.raises(ValueError, match="trials must be at least 1, received 0"):
        draw_trials(*labels, trials=0)
    with pytest.raises(ValueError, match="identities must be at least 1 or None, received 0"):
        draw_trials(*labels, trials=1, identities=0)


def test_ranks_by_hand():
    # Row 0: 0.9 leads. Row 1: 0.5 behind 0.7, and the equal 0.5 before it in the gallery.
    # Row 2: 0.2, last of distinct ones. Row 3: equal to two before it, none above.
    scores = np.array([[0.9, 0.1, 0.2, 0.3],
                       [0.5, 0.5, 0.7, 0.5],
                       [0.4, 0.3, 0.2, 0.9],
                       [0.6, 0.1, 0.6, 0.6]])
    ranks = single_shot_cmc(scores)
    assert ranks.dtype == np.int64
    np.testing.assert_array_equal(ranks, [1, 3, 4, 3])


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_are_those_of_a_stable_sort(levels):
    scores = np.random.default_rng(1).integers(0, levels, (30, 30)).astype(np.float32)
    expected = [np.argsort(-row, kind="stable").tolist().index(place) + 1
                for place, row in enumerate(scores)]
    np.testing.assert_array_equal(single_shot_cmc(scores), expected)


def test_equal_scores_give_chance():
    ranks = single_shot_cmc(np.ones((8, 8)))
    result = single_shot_result([ranks], "none", max_rank=8)
    np.testing.assert_allclose(result.cmc, np.arange(1, 9) / 8)


def test_infinite_scores_rank():
    scores = np.array([[np.inf, 1.0], [0.0, -np.inf]])
    np.testing.assert_array_equal(single_shot_cmc(scores), [1, 2])


def test_refuses_scores_that_do_not_rank():
    with pytest.raises(UserError, match="hold NaN"):
        single_shot_cmc(np.array([[1.0, 0.0], [np.nan, 1.0]]))
    for shape in ((2, 3), (4,), (0, 0)):
        with pytest.raises(ValueError, match="square matrix, received shape"):
            single_shot_cmc(np.zeros(shape))


def test_mean_and_deviation_by_hand():
    # Of four identities, first rank-1 for 2, 1 and 3 of them; then ranks 2, 3 and 4.
    ranks = [np.array([1, 2, 1, 4]), np.array([3, 1, 3, 2]), np.array([1, 1, 2, 1])]
    result = single_shot_result(ranks, "cosine", max_rank=3)
    np.testing.assert_allclose(result.curves, [[0.5, 0.75, 0.75], [0.25, 0.5, 1.0],
                                               [0.75, 1.0, 1.0]])
    np.testing.assert_allclose(result.cmc, [0.5, 0.75, 2.75 / 3])
    # Deviations from the mean: -0.25, 0 and 0.25 twice, so sqrt(0.125 / 2) is 0.25.
    np.testing.assert_allclose(result.std, [0.25, 0.25, np.sqrt((2 / 144 + 4 / 144) / 2)])
    assert (result.trials, result.num_identities, result.metric) == (3, 4, "cosine")
    assert (result.rank(1), result.rank_std(2)) == (0.5, 0.25)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"from 1 to 3, received {k}"):
            result.rank(k)


def test_one_trial_has_no_deviation():
    result = single_shot_result([np.array([1, 2])], "cosine", max_rank=6)
    np.testing.assert_array_equal(result.cmc, [0.5, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(result.std, np.zeros(6))


def test_dictionary_is_plain():
    ranks = [np.array([1, 2, 1, 4]), np.array([3, 1, 3, 2])]
    figures = single_shot_result(ranks, "cosine", max_rank=7).as_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert set(figures) == {"protocol", "metric", "rank_1", "rank_1_std", "rank_5", "rank_5_std",
                            "trials", "identities", "cmc", "cmc_std"}
    assert (figures["protocol"], figures["metric"]) == ("single_shot", "cosine")
    assert (figures["trials"], figures["identities"]) == (2, 4)
    assert figures["rank_1"] == 0.375 and figures["rank_1_std"] == pytest.approx(0.125 * 2**0.5)
    assert figures["cmc"][:4] == [0.375, 0.625, 0.875, 1.0] and len(figures["cmc_std"]) == 7


def test_refuses_trials_that_cannot_be_averaged():
    for ranks in ([], [np.array([1, 2]), np.array([1])], [np.array([], np.int64)]):
        with pytest.raises(ValueError, match="trials of one size"):
            single_shot_result(ranks, "cosine")
    with pytest.raises(ValueError, match="max_rank must be at least 1, received 0"):
        single_shot_result([np.array([1])], "cosine", max_rank=0)


def test_features_that_tell_people_apart_are_found():
    case = random_case()
    (trial,) = draw_trials(**case, trials=1)
    query = case["query_ids"][trial.query].astype(float)
    gallery = case["gallery_ids"][trial.gallery].astype(float)
    scores = -np.abs(query[:, None] - gallery)
    assert (single_shot_cmc(scores) == 1).all()
    assert (single_shot_cmc(-scores) == len(query)).all()
