"""Evaluation by scores of pairs: trials with known CMC, splits, and the shortlist of a gallery."""

from __future__ import annotations

import dataclasses
import tracemalloc

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.config import Config, DataConfig, EvaluationConfig, ModelConfig, SingleShotConfig
from tfreid.evaluation.ranking import evaluate_distances
from tfreid.evaluation.scoring import SingleShotEvaluator
from tfreid.records import Records
from tfreid.systems.csn import testing
from tfreid.systems.csn.scores import CsnScorer
from tfreid.systems.csn.settings import ScoreSettings
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.systems.csn.testing import ShortlistEvaluator, make_csn_evaluator
from tfreid.systems.registry import make_system

SHAPE = ModelConfig(height=64, width=28)
SPLITS = ("query", "gallery")


def _config(records, protocol="single_shot", csn=None, shortlist=100, **single_shot):
    return Config(
        system="csn", model=SHAPE, csn=dataclasses.replace(
            csn or CsnSettings(width=24, levels=[3]), score=ScoreSettings(shortlist=shortlist)),
        data=DataConfig(records=str(records), workers=1),
        evaluation=EvaluationConfig(
            protocol=protocol, single_shot=SingleShotConfig(**single_shot)))


@pytest.fixture(scope="module")
def network(small_csn):
    """The network of `_config`."""
    return small_csn(levels=[3])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Builds records of five people, split as asked for."""

    def build(**split):
        root = tmp_path_factory.mktemp("drawn")
        entries = []
        for place in range(20):
            pixels = np.random.default_rng(place).integers(0, 256, (64, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(root / f"{place:02}.png"), pixels)
            entries.append(ImageEntry(f"{place:02}.png", place // 4 + 1, place % 2 + 1))
        build_records(Scan(root, {"images": entries}, identity_splits=[split]), "drawn",
                      root / "records", shards=1)
        return root / "records"

    return build


VALIDATED = {"train": [1], "val": [2, 3], "test": [4, 5]}


@pytest.mark.parametrize(("split", "settings", "evaluated_on", "identities"), [
    (VALIDATED, {}, "validation", 2),
    ({"train": [1, 2, 3, 4], "test": [5]}, {"validation": 2}, "validation", 2),
    # The number of identities is that of a test: of a validation, all take part.
    (VALIDATED, {"identities": 1}, "validation", 2),
    (VALIDATED, {"identities": 1, "choose_best_on": "test"}, "test", 1),
    ({"train": [1, 2], "test": [3, 4, 5]}, {}, "test", 3),
])
def test_trainings_are_evaluated_on_validation_identities_where_there_are_any(
    network, drawn, split, settings, evaluated_on, identities
):
    records = drawn(**split)
    config = _config(records, trials=4, training_trials=1, identities=settings.get("identities"))
    config.data.subset.validation = settings.get("validation", 0)
    config.training.choose_best_on = settings.get("choose_best_on", "validation")
    system = make_system(config)
    evaluator = system.make_evaluator(network, Records(records))
    assert isinstance(evaluator, SingleShotEvaluator)
    assert isinstance(evaluator._scorer, CsnScorer)
    assert evaluator.evaluated_on == evaluated_on and len(evaluator._trials) == 1
    assert {len(trial.query) for trial in evaluator._trials} == {identities}
    evaluator.try_out()
    tested = system.make_score_evaluator(network, Records(records))
    assert tested.evaluated_on == "test" and len(tested._trials) == 4


def test_records_without_a_test_split(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((8, 4, 3), np.uint8))
    scan = Scan(tmp_path, {"train": [ImageEntry("0.png", 1, 1)]})
    build_records(scan, "alone", tmp_path / "records", shards=1)
    config, opened = _config(tmp_path / "records"), Records(tmp_path / "records")
    assert make_csn_evaluator(None, config, opened, training=True) is None
    with pytest.raises(UserError, match="has no query and gallery split to test on"):
        make_csn_evaluator(None, config, opened)


def test_scores_of_a_real_network_in_a_trial(network, records):
    config = _config(records, identities=3, trials=1)
    evaluator = make_csn_evaluator(network, config, Records(records))
    evaluator.try_out()
    figures = evaluator.evaluate(progress=False).as_dict()
    assert figures["metric"] == "SimiScore" and figures["identities"] == 3
    assert figures["cmc"][2] == 1.0


@pytest.fixture(scope="module")
def ranked(network, records):
    """A network and, by themselves, all its scores and descriptor distances [q, g]."""
    config = _config(records, "full")
    scorer = CsnScorer(network, config, Records(records))
    query, gallery = (scorer.features(split, None, progress=False) for split in SPLITS)
    scores = scorer.cross(query, gallery, progress=False)
    apart = np.linalg.norm(query["descriptor"][:, None] - gallery["descriptor"][None], axis=-1)
    return scorer, scores, apart


def _evaluate(records, ranked, size, monkeypatch, block=4):
    """The figures, and the matrix that was ranked."""
    kept = {}

    def note(distances, *others, **more):
        kept["ranked"] = distances.copy()
        return evaluate_distances(distances, *others, **more)

    monkeypatch.setattr(testing, "evaluate_distances", note)
    monkeypatch.setattr(testing, "_GALLERY_BLOCK", block)
    evaluator = ShortlistEvaluator(
        ranked[0], _config(records, "full", shortlist=size), Records(records), SPLITS)
    return evaluator.evaluate(progress=False), kept["ranked"]


@pytest.mark.parametrize("block", [4, 256])
def test_a_shortlist_of_the_whole_gallery_ranks_by_the_scores(records, ranked, monkeypatch, block):
    _, scores, _ = ranked
    found, matrix = _evaluate(records, ranked, 1000, monkeypatch, block)
    np.testing.assert_allclose(matrix, -scores, rtol=1e-3)
    query, gallery = (Records(records)[split].index for split in SPLITS)
    expected = evaluate_distances(-scores, query.ids, query.cameras, gallery.ids, gallery.cameras,
                                  "scores", progress=False)
    assert found.result.mean_ap == pytest.approx(expected.mean_ap, abs=1e-6)
    assert found.main_figure == found.result.mean_ap
    assert found.result.metric == f"SimiScore, shortlist of {len(gallery)}"
    assert set(found.progress()) == {"rank_1", "rank_5", "mean_ap"}
    assert "mAP" in found.headline() and "evaluation/mAP" in found.scalars()


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_shortlisted_come_first_and_the_rest_by_descriptor(records, ranked, monkeypatch, size):
    _, scores, apart = ranked
    found, matrix = _evaluate(records, ranked, size, monkeypatch)
    assert found.result.metric == f"SimiScore, shortlist of {size}"
    query, gallery = (Records(records)[split].index for split in SPLITS)
    for row, values in enumerate(matrix):
        # What the query's own camera took of its person takes no place on the shortlist.
        own = (gallery.ids == query.ids[row]) & (gallery.cameras == query.cameras[row])
        nearest = np.argsort(np.where(own, np.inf, apart[row]))
        assert apart[row][nearest[size]] - apart[row][nearest[size - 1]] > 1e-6
        chosen = nearest[:size]
        np.testing.assert_allclose(values[chosen], -scores[row][chosen], rtol=1e-3)
        order = np.argsort(values)
        assert set(order[:size]) == set(chosen) and not own[chosen].any()
        rest = nearest[size:]
        np.testing.assert_allclose(values[rest], apart[row][rest], atol=1e-5)


def test_some_queries_spread_evenly(records, ranked, monkeypatch):
    monkeypatch.setattr(testing, "_GALLERY_BLOCK", 8)
    evaluator = ShortlistEvaluator(
        ranked[0], _config(records, "full", shortlist=4), Records(records), SPLITS)
    evaluator.try_out()
    found = evaluator.evaluate(progress=False, max_queries=3)
    assert found.result.num_valid_queries == 3


def test_one_block_of_the_gallery_is_in_memory_at_a_time(records, ranked, monkeypatch):
    scorer = ranked[0]
    monkeypatch.setattr(testing, "_GALLERY_BLOCK", 4)
    asked, whole = [], scorer.features

    def features(split, indices=None, progress=True):
        asked.append((split, len(indices)))
        return whole(split, indices, progress)

    monkeypatch.setattr(scorer, "features", features)
    evaluator = ShortlistEvaluator(
        scorer, _config(records, "full", shortlist=3), Records(records), SPLITS)
    tracemalloc.start()
    evaluator.evaluate(progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert asked[0][0] == "query"
    assert all(split == "gallery" and count <= 4 for split, count in asked[1:])
    image = 4 * sum(x[0].size for x in whole("query", np.array([0]), False).values())
    # All queries, twice while they are joined, a block of either side, copies for the pairs.
    assert peak < 2e6 + image * (2 * asked[0][1] + 2 * 64 + 2 * 64)


def test_a_shortlist_needs_descriptors(network, records):
    config = _config(records, "full", CsnSettings(ranking_net=False))
    with pytest.raises(UserError, match="needs the descriptors of csn.ranking_net"):
        make_csn_evaluator(network, config, Records(records))
