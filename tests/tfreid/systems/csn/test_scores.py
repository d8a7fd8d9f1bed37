"""Scores of pairs: SimiScore by hand, features once per image, blocks, and embedding models."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid.config import Config, DataConfig, EvaluationConfig, ModelConfig
from tfreid.evaluation.scoring import EmbeddingScorer, take
from tfreid.layers.preprocessing import InputSize
from tfreid.records import Records
from tfreid.systems.csn import scores as pair_scores
from tfreid.systems.csn.network import csn_parts, pair_inputs
from tfreid.systems.csn.scores import CsnScorer, simi_score
from tfreid.systems.csn.settings import ScoreSettings
from tfreid.systems.csn.settings import Settings as CsnSettings

SHAPE = ModelConfig(height=64, width=28)
QUERIES, GALLERY = np.array([0, 3, 5]), np.array([1, 2, 4, 7, 8])


def _config(records, csn=None, **score):
    csn = dataclasses.replace(csn or CsnSettings(width=24), score=ScoreSettings(**score))
    return Config(system="csn", model=SHAPE, csn=csn,
                  data=DataConfig(records=str(records), eval_batch_size=3, workers=1))


@pytest.fixture(scope="module")
def model(small_csn, settle, records):
    """A network whose statistics are those of some pairs, so that its scores differ."""
    network = small_csn()
    ((_, images),) = Records(records)["train"].batches(InputSize(64, 28), 8, 1, np.arange(8))
    settle(network, images, np.arange(8), np.arange(8)[::-1])
    return network


def _expected(model, records, score):
    """The scores [q, g] of every pair by itself, by Eq. 7."""
    parts = csn_parts(model)
    opened = Records(records)
    queries, gallery = (
        [parts.extract(image[None], training=False)
         for _, batch in opened[split].batches(InputSize(64, 28), 16, 1, positions)
         for image in batch]
        for split, positions in (("query", QUERIES), ("gallery", GALLERY)))
    values = np.empty((len(queries), len(gallery)))
    for row, column in np.ndindex(values.shape):
        sides = [queries[row], gallery[column]]
        found = [parts.compare(pair_inputs(*order), training=False)
                 for order in (sides, sides[::-1])][: 2 if score.both_orders else 1]
        shares = [np.exp(x["logits"].numpy()[0].astype(np.float64)) for x in found]
        probability = np.mean([share[1] / share.sum() for share in shares])
        distance = float(found[0]["distance"][0])
        values[row, column] = probability + score.distance_weight / (distance + score.epsilon)
    return values


def test_simi_score_by_hand():
    probabilities, distances = tf.constant([0.9, 0.1, 0.5]), tf.constant([0.4, 0.0, 1.9999])
    # Eq. 7 with lambda = 0.2 and epsilon = 0.0001.
    np.testing.assert_allclose(
        simi_score(probabilities, distances, ScoreSettings()).numpy(),
        [0.9 + 0.2 / 0.4001, 0.1 + 2000.0, 0.5 + 0.1], rtol=1e-6)
    config = ScoreSettings(distance_weight=1.0, epsilon=0.5)
    np.testing.assert_allclose(simi_score(probabilities, distances, config).numpy(),
                               [0.9 + 1 / 0.9, 2.1, 0.5 + 1 / 2.4999], rtol=1e-6)
    config = ScoreSettings(distance_weight=0.0)
    np.testing.assert_array_equal(simi_score(probabilities, distances, config), probabilities)
    np.testing.assert_array_equal(simi_score(probabilities, None, ScoreSettings()),
                                  probabilities)


@pytest.mark.parametrize("both_orders", [False, True])
def test_crossed_and_single_pairs_by_hand(model, records, both_orders, monkeypatch):
    monkeypatch.setattr(pair_scores, "_QUERIES", 2)
    monkeypatch.setattr(pair_scores, "_GALLERY", 3)
    monkeypatch.setattr(pair_scores, "_PAIRS", 4)
    config = _config(records, both_orders=both_orders)
    scorer = CsnScorer(model, config, Records(records))
    queries = scorer.features("query", QUERIES, progress=False)
    gallery = scorer.features("gallery", GALLERY, progress=False)
    assert set(queries) == {"map_2", "map_3", "parts_2", "parts_3", "descriptor"}
    assert [len(x) for x in queries.values()] == [3] * 5
    expected = _expected(model, records, config.csn.score)
    assert np.ptp(expected) > 0.01
    crossed = scorer.cross(queries, gallery, progress=False)
    np.testing.assert_allclose(crossed, expected, rtol=1e-3)
    rows, columns = np.array([0, 2, 2, 1, 0]), np.array([4, 0, 4, 2, 4])
    np.testing.assert_allclose(scorer.pairs(queries, gallery, rows, columns),
                               expected[rows, columns], rtol=1e-3)


def test_features_by_blocks_equal_those_at_once(model, records):
    scorer = CsnScorer(model, _config(records), Records(records))
    blocks = list(scorer.feature_blocks("gallery", progress=False))
    assert [len(block["descriptor"]) for block in blocks[:2]] == [3, 3]  # eval_batch_size
    whole = scorer.features("gallery", progress=False)
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([block[name] for block in blocks]), values)
    some = scorer.features("gallery", GALLERY, progress=False)
    for name, values in take(whole, GALLERY).items():
        np.testing.assert_allclose(some[name], values, rtol=1e-3, atol=1e-3)


def test_features_take_the_memory_that_is_stated(paper_csn):
    features = csn_parts(paper_csn(2, 3)).extract(np.zeros((1, 160, 60, 3), np.float32))
    size = sum(4 * np.prod(x.shape) for name, x in features.items()
               if not name.startswith("regions"))
    assert size / 1e6 == pytest.approx(0.44, abs=0.01)


def test_without_a_ranking_net_the_probability_ranks(small_csn, records):
    csn = CsnSettings(width=24, ranking_net=False)
    config = _config(records, csn)
    scorer = CsnScorer(small_csn(ranking_net=False), config, Records(records))
    queries = scorer.features("query", QUERIES, progress=False)
    gallery = scorer.features("gallery", GALLERY, progress=False)
    crossed = scorer.cross(queries, gallery, progress=False)
    assert crossed.shape == (3, 5) and 0 <= crossed.min() <= crossed.max() <= 1
    rows, columns = np.divmod(np.arange(15), 5)
    np.testing.assert_allclose(
        scorer.pairs(queries, gallery, rows, columns).reshape(3, 5), crossed, atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "minkowski"])
def test_an_embedding_model_scores_by_its_distances(records, tiny_backbone, metric):
    from tfreid.models.embedding import build_embedding_model

    keras.utils.set_random_seed(0)
    shape = ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=2)
    config = dataclasses.replace(
        _config(records), system="embedding", model=shape,
        evaluation=EvaluationConfig(protocol="single_shot", metric=metric, minkowski_p=4.0))
    model = build_embedding_model(shape)
    scorer = EmbeddingScorer(model, config, Records(records))
    assert scorer.metric == metric
    found, features = [], []
    for split, positions in (("query", QUERIES), ("gallery", GALLERY)):
        found.append(scorer.features(split, positions, progress=False))
        ((_, images),) = Records(records)[split].batches(InputSize(32, 16), 16, 1, positions)
        features.append(model(images, training=False)["neck"].numpy().astype(np.float64))
    scores = scorer.cross(*found, progress=False)
    apart = features[0][:, None] - features[1][None]
    expected = {
        "cosine": lambda: 1 - np.einsum("qd,gd->qg", *(
            x / np.linalg.norm(x, axis=1, keepdims=True) for x in features)),
        "euclidean": lambda: np.sqrt((apart**2).sum(-1)),
        "minkowski": lambda: (apart**4).sum(-1) ** 0.25,
    }[metric]()
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(scores, -expected, rtol=1e-3, atol=1e-5)
