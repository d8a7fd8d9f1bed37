"""Evaluation by scores of pairs: trials with known CMC."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from tfreid.config import Config, DataConfig, EvaluationConfig, ModelConfig, SingleShotConfig
from tfreid.evaluation import scoring
from tfreid.evaluation.scoring import SingleShotEvaluator
from tfreid.evaluation.single_shot import draw_trials
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.systems.registry import make_system

SPLITS = ("query", "gallery")


def _config(records, **single_shot):
    return Config(
        data=DataConfig(records=str(records), workers=1),
        evaluation=EvaluationConfig(
            protocol="single_shot", single_shot=SingleShotConfig(**single_shot)))


class _Scorer:
    """Scores with the identities; notes what it is asked for."""

    metric, image_bytes = "fake", 1000

    def __init__(self, records, score):
        names = [name for name in Records(records).splits if name != "train"]
        self._index = {split: Records(records)[split].index for split in names}
        self._score, self.asked = score, []

    def features(self, split, indices, progress=True):
        assert (np.diff(indices) > 0).all()
        self.asked.append((split, indices))
        return {"id": self._index[split].ids[indices], "position": indices}

    def cross(self, queries, gallery, progress=True):
        return self._score(queries["id"][:, None], gallery["id"][None])


def _same(queries, gallery):
    return (queries == gallery).astype(np.float64)


def test_a_perfect_a_worst_and_an_undecided_scorer(records):
    for score, first, last in ((_same, 1.0, 1.0), (lambda q, g: -_same(q, g), 0.0, 1.0),
                               (lambda q, g: np.zeros((q.size, g.size)), 0.25, 1.0)):
        evaluator = SingleShotEvaluator(
            _Scorer(records, score), _config(records, trials=3), Records(records), SPLITS)
        evaluator.try_out()
        found = evaluator.evaluate(progress=False)
        assert found.main_figure == found.result.rank(1) == first
        assert found.result.rank(4) == last and found.result.trials == 3
        assert found.result.num_identities == 4


def test_a_cmc_known_by_hand(records):
    """Of identities a < b < c < d the scorer swaps a and b: half are right, half come second."""
    ids = np.unique(Records(records)["query"].index.ids)
    assert len(ids) == 4
    swap = {ids[0]: ids[1], ids[1]: ids[0], ids[2]: ids[2], ids[3]: ids[3]}

    def score(queries, gallery):
        guesses = np.vectorize(swap.get)(queries)
        return 2.0 * (guesses == gallery) + (queries == gallery)

    found = SingleShotEvaluator(
        _Scorer(records, score), _config(records, trials=5), Records(records), SPLITS).evaluate(
            progress=False)
    assert found.result.cmc[:4].tolist() == [0.5, 1.0, 1.0, 1.0]
    assert found.result.std[0] == 0.0
    assert found.headline() == "rank-1 50.00%, rank-5 100.00%"
    assert found.progress() == {"rank_1": 0.5, "rank_5": 1.0}
    assert found.scalars() == {"evaluation/rank_1": 0.5, "evaluation/rank_5": 1.0}
    assert found.as_dict()["metric"] == "fake" and found.projection() is None


def test_trials_are_averaged_and_scored_with_the_images_they_drew(records):
    """The score hangs on the positions, so each trial has ranks of its own."""
    config = _config(records, trials=6, identities=3, seed=5)
    scorer = _Scorer(records, None)

    def cross(queries, gallery, progress=True):
        return np.cos(queries["position"][:, None] * 3.0 + gallery["position"][None] * 7.0)

    scorer.cross = cross
    found = SingleShotEvaluator(scorer, config, Records(records), SPLITS).evaluate(progress=False)
    query, gallery = (Records(records)[split].index for split in SPLITS)
    shares = []
    for trial in draw_trials(query.ids, query.cameras, gallery.ids, gallery.cameras, 6, 3, 5):
        scores = np.cos(trial.query[:, None] * 3.0 + trial.gallery[None] * 7.0)
        places = [1 + sum(other > row[i] for other in row) for i, row in enumerate(scores)]
        shares.append([np.mean(np.array(places) <= k) for k in (1, 2, 3)])
    assert np.ptp(np.array(shares)[:, 0]) > 0
    np.testing.assert_allclose(found.result.cmc[:3], np.mean(shares, axis=0))
    np.testing.assert_allclose(found.result.curves[:, :3], shares)
    assert found.result.metric == "fake"


def test_fewer_queries_are_the_first_identities_of_each_trial(records):
    scorer = _Scorer(records, _same)
    evaluator = SingleShotEvaluator(
        scorer, _config(records, trials=2), Records(records), SPLITS)
    found = evaluator.evaluate(progress=False, max_queries=2)
    assert found.result.num_identities == 2
    drawn = [(trial.query[:2], trial.gallery[:2]) for trial in evaluator._trials]
    for (split, asked), name, sides in zip(scorer.asked, SPLITS, zip(*drawn)):
        assert split == name and asked.tolist() == sorted({*np.concatenate(sides).tolist()})
    assert len(scorer.asked) == 2


@pytest.mark.parametrize("limit, times", [(2e9, 1), (0, 5)])
def test_each_image_is_embedded_once_if_the_features_fit(records, monkeypatch, limit, times):
    scorer, found = _Scorer(records, lambda first, second: np.cos(first * 3.0 + second * 7.0)), []
    for most in (limit, 2e9):
        monkeypatch.setattr(scoring, "_MOST_BYTES", most)
        found.append(SingleShotEvaluator(
            scorer, _config(records, trials=5), Records(records), SPLITS).evaluate(progress=False))
    assert [split for split, _ in scorer.asked] == [*times * SPLITS, *SPLITS]
    np.testing.assert_array_equal(*(scored.result.curves for scored in found))


def test_an_embedding_model_in_single_shot_trials(records, tiny_backbone):
    shape = ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=2)
    config = _config(records, trials=2)
    config = dataclasses.replace(config, model=shape)
    keras.utils.set_random_seed(0)
    evaluator = make_system(config).make_score_evaluator(
        build_embedding_model(shape), Records(records))
    evaluator.try_out()
    figures = evaluator.evaluate(progress=False).as_dict()
    assert (figures["metric"], figures["trials"], figures["identities"]) == ("cosine", 2, 4)
