"""Other ways to rank, on evaluations small enough to work out on paper."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from tfreid.config import Config, DataConfig, EvaluationConfig
from tfreid.evaluation.evaluator import Ranked
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.systems import testing


def ranked_case(make_index, galleries=None):
    """One-dimensional features, so that Euclidean distances can be read off.

    Query at 0: person 1, camera 1. Gallery by camera 2:
      at       -1    -1.6  1.2  1.4  1.5  -0.5  -0.5  -0.5
      person    0     0     1    1    1     junk

    Plain order: -1, 1.2, 1.4, 1.5, -1.6, so AP = (1/2 + 2/3 + 3/4) / 3 = 23/36.
    """
    query = make_index([1], [1])
    gallery = make_index([0, 0, 1, 1, 1, -1, -1, -1], [2] * 8)
    features = np.float32([[0]]), np.float32([[x] for x in (-1, -1.6, 1.2, 1.4, 1.5, *[-0.5] * 3)])
    result = evaluate_ranking(features[0], query.ids, query.cameras, features[1], gallery.ids,
                              gallery.cameras, "euclidean", 5, galleries=galleries)
    return Ranked(result, query, gallery, *features, np.arange(1), np.arange(8), galleries)


def config(**evaluation):
    return Config(data=DataConfig(records="records"),
                  evaluation=EvaluationConfig(metric="euclidean", max_rank=5, **evaluation))


def test_nothing_is_added_that_was_not_asked_for(make_index):
    ranked = ranked_case(make_index)
    assert ranked.result.mean_ap == pytest.approx(23 / 36)
    assert testing.add_variants(ranked, None, config()).variants == {}


def test_expansion_leaves_junk_out(make_index):
    """Replaced by 3 and 2 neighbours, the query becomes (-1 + 1.2 + 1.4) / 3 = 0.53 and the gallery
    -1.3, -1.3, 1.3, 1.45, 1.45, at distances 1.83, 1.83, 0.77, 0.92, 0.92: AP = 1. (With the junk,
    the query would become -0.5, and -1 would still come first.)
    """
    found = testing.add_variants(
        ranked_case(make_index), None,
        config(expansion=True, expansion_method="replaced", expansion_query=3,
               expansion_gallery=2), progress=False)
    assert list(found.variants) == ["expanded"]
    assert found.variants["expanded"].mean_ap == 1.0
    assert found.result.mean_ap == pytest.approx(23 / 36)
    assert found.variants["expanded"].num_gallery == found.result.num_gallery == 5


def test_the_query_of_several_images_is_their_mean(make_index):
    """The person's images by camera 1 are at 1 and 3; those at 90 are another's or by camera 2.

    The mean is 2, at distances 3, 3.6, 0.8, 0.6, 0.5: all three positives first, AP = 1. Where the
    query ranks -1, 1.4 and the junk only, its match comes first too.
    """
    images = make_index([1, 2, 1, 1], [1, 1, 1, 2])
    values = np.float32([[1], [90], [3], [90]])

    class Opened(dict):
        directory = "records"

    class Extract:
        def blocks(self, split, positions, progress):
            assert split == "multi_query"
            yield np.array([1]), values[positions[1:]]  # blocks come in any order
            yield np.array([0]), values[positions[:1]]

    for galleries, size in ((None, 5), ([np.array([0, 3, 6])], 2)):
        ranked = dataclasses.replace(ranked_case(make_index, galleries), records=Opened(
            multi_query=types.SimpleNamespace(index=images)))
        assert ranked.result.first_match_rank.tolist() == [2]
        found = testing.add_variants(ranked, Extract(), config(multi_query=True), progress=False)
        assert found.variants["multi_query"].mean_ap == 1.0
        assert found.variants["multi_query"].num_gallery == size


def test_variants_keep_what_was_ranked(make_index):
    ranked = ranked_case(make_index)
    ranked = dataclasses.replace(
        ranked, result=dataclasses.replace(ranked.result, unit="tracklets"))
    found = testing.add_variants(
        ranked, None, config(expansion=True, reranking=True, reranking_k1=2), progress=False)
    assert list(found.variants) == ["expanded", "reranked", "expanded_reranked"]
    assert {result.unit for result in found.variants.values()} == {"tracklets"}


def test_the_report_says_if_queries_are_in_the_gallery(make_index):
    """The one query is `0.jpg`, as is a gallery image; MARS's authors rank so."""
    ranked = dataclasses.replace(
        ranked_case(make_index), records=types.SimpleNamespace(description="mars"))
    assert testing._ranking_protocol(ranked, config()) == (
        "mars, single query, queries in the gallery")
    apart = dataclasses.replace(ranked, gallery=ranked.gallery.take(np.arange(1, 8)))
    assert testing._ranking_protocol(apart, config()) == "mars, single query"
