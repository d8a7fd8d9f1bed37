"""The rows of a ranked-list picture, from an evaluation that is made up."""

from __future__ import annotations

import cv2
import numpy as np

from tfreid.config import Config, DataConfig
from tfreid.evaluation.evaluator import Ranked
from tfreid.evaluation.picture_images import (
    image_label,
    ranked_rows,
    spread_queries,
    worst_queries,
)
from tfreid.evaluation.ranking import evaluate_ranking
from tfreid.records import Records


def made_up(records, galleries=None):
    """An evaluation of the first images of two tracklets and of four, with a feature of 1-d.

    Query 0 is nearest to gallery rows 3, 2, 1, 0 and query 1 to rows 0, 1, 2, 3; rows 0, 1 and 3
    show the person of query 0, row 1 by the query's own camera, and row 2 that of query 1.
    """
    images = [np.array([1, 5]), np.array([0, 3, 4, 9])]
    query, gallery = (Records(records)[split].index.take(positions)
                      for split, positions in zip(("query", "gallery"), images))
    query.ids[:], query.cameras[:] = (0, 1), (2, 2)
    gallery.ids[:], gallery.cameras[:] = (0, 0, 1, 0), (1, 2, 1, 1)
    features = [np.array([[5.0], [0.0]]), np.array([[1.0], [2.0], [3.0], [4.0]])]
    result = evaluate_ranking(features[0], query.ids, query.cameras, features[1], gallery.ids,
                              gallery.cameras, "euclidean", galleries=galleries)
    config = Config(data=DataConfig(records=str(records)))
    config.evaluation.metric = "euclidean"
    return Ranked(result, query, gallery, *features, *images, galleries,
                  records=Records(records)), config


def decoded(records, split, position):
    encoded = Records(records)[split].encoded[position]
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_rows(records):
    # In the wrong order, and with images that stand for tracklets.
    second, first = ranked_rows(*made_up(records), np.array([1, 0]))
    assert (first.relevant, second.relevant) == (2, 1)
    np.testing.assert_allclose([first.average_precision, second.average_precision],
                               [(1 + 2 / 3) / 2, 1 / 3])
    assert [result.distance for result in first.results] == [1, 2, 4]
    assert [result.is_match for result in first.results] == [True, False, True]
    assert [result.is_match for result in second.results] == [False, False, True, False]
    np.testing.assert_array_equal(second.query, decoded(records, "query", 5))
    for result, position in zip(first.results, (9, 4, 0)):
        np.testing.assert_array_equal(result.image, decoded(records, "gallery", position))


def test_galleries_of_their_own(records):
    galleries = [np.array([0, 1, 2]), np.array([2, 3])]
    first, second = ranked_rows(*made_up(records, galleries), np.array([0, 1]))
    assert (first.relevant, second.relevant) == (1, 1)
    assert [result.distance for result in first.results] == [2, 4]
    assert [result.distance for result in second.results] == [3, 4]


def test_choice_of_queries():
    # Nine queries of a feature each; the last has no match.
    ids, features = np.arange(9), np.arange(9.0)[:, None]
    gallery = np.delete(features[::-1], 0, axis=0)
    result = evaluate_ranking(features, ids, np.zeros(9, int), gallery, np.arange(8),
                              np.ones(8, int), "euclidean")
    assert spread_queries(result, 3).tolist() == [0, 3, 7]
    assert spread_queries(result, 99).tolist() == list(range(8))
    worst = worst_queries(result, 3)
    precisions = result.average_precision
    assert precisions[worst].tolist() == sorted(precisions[:8])[:3] and 8 not in worst
    assert sorted(worst_queries(result, 99)) == list(range(8))


def test_names_stand_for_numbers_where_they_can_be_drawn(records):
    evaluation, config = made_up(records)
    evaluation.records.manifest.options.update(
        person_names={"Anna Nováková": 0, "张三": 1}, camera_names={"gate": 2, "a\udcb0": 1})
    first, second = ranked_rows(evaluation, config, np.array([0, 1]))
    assert (first.identity, first.camera) == ("Anna Nováková", "gate")
    # The font of the pictures has no Chinese letters, and no font has half a letter.
    assert (second.identity, second.results[0].camera) == (1, 1)
    split = evaluation.records["query"]
    split.index.ids[0], split.index.cameras[0] = 0, 3
    assert image_label(split, 0) == "Anna Nováková, camera 3"
