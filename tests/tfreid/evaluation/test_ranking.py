"""Ranking scores against a case worked on paper and against a plain loop."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tfrecords.errors import UserError
from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.ranking import (
    _MOST_COUNTED_POSITIVES,
    RankingResult,
    evaluate_distances,
    evaluate_ranking,
    top_matches,
)


def line_case(**changes):
    """One-dimensional features, so that every Euclidean distance can be read off.

    gallery   0    1    2    3    4    5    6    7
    at        1    2    2    3    4    5    9    6
    identity  7    0    7    8    7    8    9    7
    camera    1    2    2    1    3    2    1   -1

    Query A at 0, identity 7, camera 1: gallery 0 is the same person in the same camera and is
      ignored. Order 1 (distractor, at 2), 2 (at 2, ties and comes later), 3, 4, 5, 7, 6: positives
      2, 4, 7 at ranks 2, 4, 6.
      AP = (1/2 + 2/4 + 3/6) / 3 = 1/2.
      Trapezoids: precision before each positive 0/1, 1/3, 2/5, so
        AP = ((0 + 1/2)/2 + (1/3 + 1/2)/2 + (2/5 + 1/2)/2) / 3 = (67/60) / 3 = 67/180.
      INP = 3/6 = 1/2.
    Query B at 3, identity 8, camera 2: gallery 5 is ignored. Positive 3 at distance 0, rank 1.
      AP = 1, trapezoids (1 + 1)/2 = 1, INP = 1.
    Query C at 9, identity 9, camera 1: its only match, gallery 6, is ignored, so it is skipped.
    Query D at 6, identity 7, camera -1 (unknown): nothing is ignored, not even gallery 7, whose
      camera is unknown too. Distances 5, 4, 4, 3, 2, 1, 3, 0: order 7, 5, 4, 3, 6, 1, 2, 0:
      positives 7, 4, 2, 0 at ranks 1, 3, 7, 8.
      AP = (1 + 2/3 + 3/7 + 4/8) / 4 = (109/42) / 4 = 109/168.
      Trapezoids: before 1, 1/2, 2/6, 3/7, so
        AP = ((1+1)/2 + (1/2+2/3)/2 + (1/3+3/7)/2 + (3/7+1/2)/2) / 4
           = (1 + 7/12 + 8/21 + 13/28) / 4 = (17/7) / 4 = 17/28.
      INP = 4/8 = 1/2.
    """
    case = {
        "query_features": np.array([[0.0], [3.0], [9.0], [6.0]]),
        "query_ids": np.array([7, 8, 9, 7]),
        "query_cameras": np.array([1, 2, 1, -1]),
        "gallery_features": np.array([[1.0], [2.0], [2.0], [3.0], [4.0], [5.0], [9.0], [6.0]]),
        "gallery_ids": np.array([7, 0, 7, 8, 7, 8, 9, 7]),
        "gallery_cameras": np.array([1, 2, 2, 1, 3, 2, 1, -1]),
        "metric": "euclidean",
    }
    return {**case, **changes}


def random_case(seed, num_query=40, num_gallery=300, num_identities=12, width=16, copies=False):
    """A case with distractors (0), unknown cameras (-1) and identities missing from the gallery."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((num_identities + 3, width))
    query_ids = rng.integers(1, num_identities + 3, num_query)
    gallery_ids = rng.integers(0, num_identities, num_gallery)
    gallery = centers[gallery_ids] + rng.standard_normal((num_gallery, width))
    if copies:
        gallery = gallery[rng.integers(0, num_gallery // 6, num_gallery)]
    return {
        "query_features": (centers[query_ids] + rng.standard_normal((num_query, width))).astype(
            np.float32
        ),
        "query_ids": query_ids,
        "query_cameras": rng.integers(-1, 4, num_query),
        "gallery_features": gallery.astype(np.float32),
        "gallery_ids": gallery_ids,
        "gallery_cameras": rng.integers(-1, 4, num_gallery),
    }


def ranked_by_loop(case, query, metric):
    """Gallery positions left after the protocol's removals, nearest first, and the distances."""
    distances = cdist(
        case["query_features"][query : query + 1].astype(np.float64),
        case["gallery_features"].astype(np.float64),
        metric,
    )[0]
    person, camera = case["query_ids"][query], case["query_cameras"][query]
    kept = []
    for index in range(len(distances)):
        same_person = case["gallery_ids"][index] == person
        same_camera = camera >= 0 and case["gallery_cameras"][index] == camera
        if not (same_person and same_camera) and case["gallery_ids"][index] >= 0:
            kept.append(index)
    # Rounded, since SciPy need not give equal vectors the same last digit either.
    kept.sort(key=lambda index: (round(distances[index], 12), index))
    return kept, distances


def scores_by_loop(case, metric, max_rank):
    """CMC, AP, official AP and mINP by walking down each ranked list."""
    hits_within = np.zeros(max_rank)
    precisions, official, penalties = [], [], []
    for query in range(len(case["query_ids"])):
        order, _ = ranked_by_loop(case, query, metric)
        good = [case["gallery_ids"][index] == case["query_ids"][query] for index in order]
        if not any(good):
            continue
        found, last, old_recall, old_precision = 0, 0, 0.0, 1.0
        precision_sum = area = 0.0
        for position, is_good in enumerate(good, start=1):
            found += is_good
            recall, precision = found / sum(good), found / position
            area += (recall - old_recall) * (old_precision + precision) / 2
            old_recall, old_precision = recall, precision
            if is_good:
                precision_sum += precision
                last = position
        first = good.index(True) + 1
        hits_within[first - 1 :] += 1
        precisions.append(precision_sum / sum(good))
        official.append(area)
        penalties.append(sum(good) / last)
    count = len(precisions)
    return hits_within / count, np.mean(precisions), np.mean(official), np.mean(penalties), count


def check_against_loop(case, metric, max_rank=30, **options):
    result = evaluate_ranking(**case, metric=metric, max_rank=max_rank, **options)
    cmc, mean_ap, official, mean_inp, count = scores_by_loop(case, metric, max_rank)
    np.testing.assert_allclose(result.cmc, cmc, atol=1e-9)
    assert result.mean_ap == pytest.approx(mean_ap, abs=1e-9)
    assert result.mean_ap_trapezoid == pytest.approx(official, abs=1e-9)
    assert result.mean_inp == pytest.approx(mean_inp, abs=1e-9)
    assert result.num_valid_queries == count
    assert result.num_skipped_queries == len(case["query_ids"]) - count > 0


def test_case_worked_on_paper():
    result = evaluate_ranking(**line_case(), max_rank=10)
    # First matches at ranks 2, 1 and 1; the gallery's 8 images leave ranks 9 and 10 as they are.
    np.testing.assert_allclose(result.cmc, [2 / 3] + [1.0] * 9)
    assert result.mean_ap == pytest.approx((1 / 2 + 1 + 109 / 168) / 3)
    assert result.mean_ap_trapezoid == pytest.approx((67 / 180 + 1 + 17 / 28) / 3)
    assert result.mean_inp == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert (result.num_valid_queries, result.num_skipped_queries) == (3, 1)
    assert (result.num_gallery, result.metric) == (8, "euclidean")
    np.testing.assert_allclose(result.average_precision, [1 / 2, 1, np.nan, 109 / 168])
    assert result.first_match_rank.tolist() == [2, 1, 0, 1]


def test_cmc_ends_at_max_rank():
    # Query A now looks from camera 2 for gallery 6, the furthest of the 8 images: rank 8.
    case = line_case(query_ids=np.array([9, 8, 9, 7]), query_cameras=np.array([2, 2, 1, -1]))
    result = evaluate_ranking(**case, max_rank=3)
    assert result.first_match_rank.tolist() == [8, 1, 0, 1]
    np.testing.assert_allclose(result.cmc, [2 / 3] * 3)


def test_gallery_order_decides_ties():
    # All at one distance: the positive at gallery position p has rank p + 1.
    ids = np.array([0, 5, 0, 5, 0])
    result = evaluate_ranking(
        np.ones((1, 2)), [5], [1], np.full((5, 2), 3.0), ids, np.full(5, 2), metric="euclidean"
    )
    assert result.first_match_rank.tolist() == [2]
    assert result.average_precision[0] == pytest.approx((1 / 2 + 2 / 4) / 2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "cityblock"])
@pytest.mark.parametrize("num_query", [1, 3, 64])
def test_equal_features_tie_wherever_they_stand(metric, num_query):
    # Long features and odd counts make a matrix product round differently from place to place.
    rng = np.random.default_rng(3)
    gallery = rng.standard_normal((1001, 1024)).astype(np.float32)
    same = np.arange(0, 1001, 3)
    gallery[same] = rng.standard_normal(1024)
    # Zeros of both signs are equal too.
    gallery[same, :8] = 0.0
    gallery[same[-1], :8] = -0.0
    gallery_ids = np.zeros(1001, int)
    gallery_ids[same[-1]] = 1
    queries = rng.standard_normal((num_query, 1024)).astype(np.float32)
    result = evaluate_ranking(
        queries, np.ones(num_query, int), np.zeros(num_query, int),
        gallery, gallery_ids, np.ones(1001, int), metric=metric,
    )
    # The positive is the last of the equal features: all of the others stand before it.
    distances = cdist(queries.astype(np.float64), gallery.astype(np.float64), metric)
    others = np.setdiff1d(np.arange(1001), same)
    nearer = (distances[:, others] < distances[:, same[-1:]]).sum(axis=1)
    assert result.first_match_rank.tolist() == (nearer + len(same)).tolist()


@pytest.mark.parametrize("metric", ["cosine", "correlation", "euclidean", "cityblock"])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_plain_loop(metric, seed):
    check_against_loop(random_case(seed), metric)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_agrees_with_a_plain_loop_among_copies(metric):
    check_against_loop(random_case(11, copies=True), metric)


def test_agrees_with_a_plain_loop_with_many_positives():
    case = random_case(12, num_gallery=600, num_identities=4, copies=True)
    assert np.bincount(case["gallery_ids"]).min() > 1.5 * _MOST_COUNTED_POSITIVES
    check_against_loop(case, "cosine")


def test_the_exponent_reaches_the_distances():
    # From 0 the distractor at (3, 3) is at (2 * 3^p)^(1/p) and the match at (0, 4) always at 4:
    # for p = 2 the match is the nearer (4.24), for p = 3 (54^(1/3) = 3.78) the distractor.
    case = {
        "query_features": np.zeros((1, 2)), "query_ids": [1], "query_cameras": [1],
        "gallery_features": np.array([[3.0, 3.0], [0.0, 4.0]]), "gallery_ids": [0, 1],
        "gallery_cameras": [2, 2], "metric": "minkowski",
    }
    for p, rank in ((2, 1), (3, 2), (2.0, 1)):
        result = evaluate_ranking(**case, p=p)
        assert result.first_match_rank.tolist() == [rank]
        assert (result.metric, result.minkowski_p) == ("minkowski", p)
        nearest = top_matches(**case, p=p, query_indices=[0]).indices[0, 0]
        assert nearest == (1 if rank == 1 else 0)
    assert evaluate_ranking(**case).first_match_rank.tolist() == [2]
    assert evaluate_ranking(**{**case, "metric": "cityblock"}).minkowski_p is None


def test_a_matrix_of_distances_ranks_as_its_features():
    case = random_case(13)
    distances = pairwise_distances(case["query_features"], case["gallery_features"], "cityblock")
    before = distances.copy()
    labels = {key: case[key] for key in case if not key.endswith("features")}
    found = evaluate_distances(distances, **labels, metric="mine", max_rank=9)
    expected = evaluate_ranking(**case, metric="cityblock", max_rank=9)
    np.testing.assert_array_equal(found.cmc, expected.cmc)
    assert found.mean_ap == expected.mean_ap
    assert found.metric == "mine"
    np.testing.assert_array_equal(distances, before)


def test_bad_matrices_of_distances():
    labels = [[1], [1], [1, 2], [2, 2]]
    with pytest.raises(UserError, match="NaN or infinity"):
        evaluate_distances(np.array([[1.0, np.nan]]), *labels, metric="mine")
    with pytest.raises(UserError, match="gallery identities must be 3 integers"):
        evaluate_distances(np.zeros((1, 3)), *labels, metric="mine")
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        evaluate_distances(np.zeros(3), *labels, metric="mine")


@pytest.mark.parametrize("block_size", [1, 7, 39, 40, 1000])
def test_block_size_does_not_matter(block_size):
    case = random_case(5)
    whole = evaluate_ranking(**case)
    blocks = evaluate_ranking(**case, block_size=block_size)
    np.testing.assert_array_equal(blocks.cmc, whole.cmc)
    np.testing.assert_array_equal(blocks.average_precision, whole.average_precision)


def test_junk_is_ignored():
    case = random_case(6)
    junk = {
        "gallery_features": np.concatenate([case["query_features"], case["gallery_features"]]),
        "gallery_ids": np.concatenate([np.full(40, -1), case["gallery_ids"]]),
        "gallery_cameras": np.concatenate([np.full(40, 9), case["gallery_cameras"]]),
    }
    plain, with_junk = evaluate_ranking(**case), evaluate_ranking(**{**case, **junk})
    np.testing.assert_allclose(with_junk.cmc, plain.cmc)
    assert with_junk.mean_ap == pytest.approx(plain.mean_ap)
    assert with_junk.num_gallery == plain.num_gallery == 300


def test_distractors_only_lower_the_score():
    case = random_case(7)
    distractors = {
        "gallery_features": np.concatenate([case["query_features"], case["gallery_features"]]),
        "gallery_ids": np.concatenate([np.zeros(40, int), case["gallery_ids"]]),
        "gallery_cameras": np.concatenate([case["query_cameras"], case["gallery_cameras"]]),
    }
    # Each query's own image is in the gallery as a distractor, so no query has a match first.
    result = evaluate_ranking(**{**case, **distractors})
    assert result.rank(1) == 0
    assert result.num_valid_queries == evaluate_ranking(**case).num_valid_queries


def test_other_number_types_are_taken():
    case = line_case()
    expected = evaluate_ranking(**case).mean_ap
    for dtype in (np.int32, np.float16):
        features = {key: case[key].astype(dtype) for key in ("query_features", "gallery_features")}
        assert evaluate_ranking(**{**case, **features}).mean_ap == expected


def test_inputs_stay_untouched():
    case = random_case(8)
    before = {key: value.copy() for key, value in case.items()}
    evaluate_ranking(**case)
    for key, value in case.items():
        np.testing.assert_array_equal(value, before[key])


def test_result_as_plain_values():
    result = evaluate_ranking(**line_case(), max_rank=6)
    assert isinstance(result, RankingResult)
    content = json.loads(json.dumps(result.as_dict()))
    assert content["rank_1"] == result.rank(1) == pytest.approx(2 / 3)
    assert content["rank_5"] == 1.0
    assert "rank_10" not in content
    assert content["mean_ap"] == result.mean_ap
    assert len(content["cmc"]) == 6
    for k in (0, 7):
        with pytest.raises(ValueError, match=f"from 1 to 6, received {k}"):
            result.rank(k)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_features": np.zeros((0, 1))}, "query features must be a non-empty matrix"),
        ({"gallery_features": np.zeros((0, 1))}, "gallery features must be a non-empty matrix"),
        ({"query_features": np.zeros(4)}, r"received shape \(4,\)"),
        ({"query_features": np.ones((4, 2))}, "2 dimensions and the gallery features 1"),
        ({"query_features": [["a"]] * 4}, "query features must be numbers"),
        ({"query_features": [[1.0], [np.nan], [1.0], [np.nan]]}, r"in 2 of 4 rows \(first: row 1"),
        ({"gallery_features": [[np.inf]] + [[1.0]] * 7}, "gallery features hold NaN or infinity"),
        ({"query_ids": [7, 8, 9]}, "query identities must be 4 integers"),
        ({"gallery_cameras": np.ones(9, int)}, "gallery cameras must be 8 integers"),
        ({"gallery_ids": np.full(8, 7.5)}, "gallery identities must be 8 integers"),
        ({"query_ids": [7, 8, -1, 7]}, "query 2 has the identity -1"),
        ({"query_ids": [1, 2, 3, 4]}, "no query has a valid match"),
        ({"metric": "euclid"}, "did you mean 'euclidean'"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    with pytest.raises(UserError, match=message) as caught:
        evaluate_ranking(**line_case(**change))
    assert "\n" not in str(caught.value)


def test_bad_arguments():
    with pytest.raises(ValueError, match="max_rank must be at least 1, received 0"):
        evaluate_ranking(**line_case(max_rank=0))
    with pytest.raises(ValueError, match="block_size must be at least 1, received 0"):
        evaluate_ranking(**line_case(block_size=0))


def test_top_matches_worked_on_paper():
    # Queries A, C and D of `line_case`; C has no positive and still gets a list.
    top = top_matches(**line_case(), query_indices=[0, 2, 3], k=3)
    assert top.indices.tolist() == [[1, 2, 3], [7, 5, 4], [7, 5, 4]]
    np.testing.assert_allclose(top.distances, [[2, 2, 3], [3, 4, 5], [0, 1, 2]], atol=1e-5)
    assert top.is_match.tolist() == [[False, True, False], [False] * 3, [True, False, True]]


def test_top_matches_of_a_short_gallery():
    top = top_matches(**line_case(), query_indices=[0], k=9)
    # Seven valid images: gallery 0 is ignored.
    assert top.indices.tolist() == [[1, 2, 3, 4, 5, 7, 6, -1, -1]]
    assert np.isnan(top.distances[0]).tolist() == [False] * 7 + [True] * 2
    assert top.is_match[0].tolist() == [False, True, False, True, False, True] + [False] * 3


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_top_matches_agree_with_a_plain_loop(metric):
    case = random_case(9, copies=True)
    wanted = [3, 0, 17, 39]
    top = top_matches(**case, query_indices=wanted, k=25, metric=metric)
    for row, query in enumerate(wanted):
        order, distances = ranked_by_loop(case, query, metric)
        assert top.indices[row].tolist() == order[:25]
        np.testing.assert_allclose(top.distances[row], distances[order[:25]], atol=1e-5)
        match = case["gallery_ids"][order[:25]] == case["query_ids"][query]
        assert top.is_match[row].tolist() == match.tolist()


def test_top_matches_bad_arguments():
    with pytest.raises(ValueError, match="k must be at least 1, received 0"):
        top_matches(**line_case(), query_indices=[0], k=0)
    with pytest.raises(ValueError, match=r"from 0 to 3, received \[4\]"):
        top_matches(**line_case(), query_indices=[4])


def own_galleries():
    """Galleries of the queries of `line_case`, ranked on paper.

    A: 0 (its own camera), 1 (at 2), 4 (at 4), 7 (at 6), 6 (at 9): positives 4 and 7 at ranks 2 and
      3. AP = (1/2 + 2/3) / 2 = 7/12; trapezoids ((0 + 1/2)/2 + (1/2 + 2/3)/2) / 2 = 5/12; INP 2/3.
    B: 1, 2 and 5, which is its own camera's: no positive, skipped, although image 3 is one.
    C: everything, and skipped as before.
    D: 7 (distance 0), 5 (at 1), 2 (at 4): positives 7 and 2 at ranks 1 and 3. AP = (1 + 2/3) / 2 =
      5/6; trapezoids (1 + (1/2 + 2/3)/2) / 2 = 19/24; INP 2/3.
    Sizes 5, 3, 8, 3: 4.75 images a query.
    """
    return [np.array([0, 1, 4, 6, 7]), np.array([1, 2, 5]), np.arange(8), np.array([2, 5, 7])]


def test_own_galleries_worked_on_paper():
    case = line_case()
    result = evaluate_ranking(**case, max_rank=3, galleries=own_galleries())
    np.testing.assert_allclose(result.cmc, [1 / 2, 1, 1])
    np.testing.assert_allclose(result.average_precision, [7 / 12, np.nan, np.nan, 5 / 6])
    assert result.mean_ap_trapezoid == pytest.approx((5 / 12 + 19 / 24) / 2)
    assert result.mean_inp == pytest.approx(2 / 3)
    assert (result.num_valid_queries, result.num_skipped_queries) == (2, 2)
    assert result.num_gallery == 4.75 and result.as_dict()["own_galleries"] is True
    labels = {key: value for key, value in case.items() if "ids" in key or "cameras" in key}
    distances = pairwise_distances(case["query_features"], case["gallery_features"], "euclidean")
    found = evaluate_distances(distances, **labels, metric="mine", galleries=own_galleries())
    np.testing.assert_array_equal(found.average_precision, result.average_precision)
    assert found.num_gallery == 4.75


def test_top_matches_of_own_galleries():
    top = top_matches(**line_case(), query_indices=[0, 3], k=5, galleries=own_galleries())
    assert top.indices.tolist() == [[1, 4, 7, 6, -1], [7, 5, 2, -1, -1]]
    assert top.is_match.tolist() == [[False, True, True, False, False],
                                     [True, False, True, False, False]]


def test_own_galleries_are_as_if_the_others_were_not_there():
    case = random_case(21, num_query=12, num_gallery=90, copies=True)
    case["gallery_ids"][:9] = -1
    random = np.random.default_rng(3)
    galleries = [random.permutation(90)[: random.integers(40, 90)] for _ in range(12)]
    result = evaluate_ranking(**case, galleries=galleries, block_size=5)
    sizes = []
    for query, positions in enumerate(galleries):
        kept = np.sort(positions)
        alone = {key: value[[query]] if key.startswith("query") else value[kept]
                 for key, value in case.items()}
        sizes.append(np.count_nonzero(alone["gallery_ids"] >= 0))
        if result.first_match_rank[query] == 0:
            with pytest.raises(UserError, match="no query has a valid match"):
                evaluate_ranking(**alone)
            continue
        expected = evaluate_ranking(**alone)
        assert result.average_precision[query] == pytest.approx(expected.mean_ap)
        assert result.first_match_rank[query] == expected.first_match_rank[0]
    assert result.num_gallery == pytest.approx(np.mean(sizes))
    assert result.num_valid_queries > 5


@pytest.mark.parametrize("galleries, words", [
    ([np.arange(8)] * 3, "3 galleries for 4 queries"),
    ([[0], [1], [2], [8]], "gallery of query 3 must be distinct positions from 0 to 7"),
    ([[0], [-1], [2], [3]], "gallery of query 1"),
    ([[0, 0], [1], [2], [3]], "gallery of query 0"),
    ([[0.5], [1], [2], [3]], "gallery of query 0"),
])
def test_galleries_that_do_not_fit_are_refused(galleries, words):
    with pytest.raises(UserError, match=words):
        evaluate_ranking(**line_case(), galleries=galleries)
