"""Evaluation, calibration and export of a model on one of several identity splits."""

from __future__ import annotations

import dataclasses
import json

import cv2
import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan
from tfreid.config import Config, DataConfig, ModelConfig
from tfreid.evaluation.evaluator import GalleryEvaluator
from tfreid.evaluation.features import FeatureExtractor
from tfreid.models.embedding import build_embedding_model
from tfreid.records import open_records
from tfreid.systems.embedding.export import export_embedding
from tfreid.systems.registry import make_system
from tfreid.weights.files import save_weights

PEOPLE = 6
SPLITS = [{"train": [0, 1, 2], "test": [3, 4, 5]}, {"train": [2, 3, 4, 5], "test": [0, 1]}]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six people, one image by each of two cameras, two identity splits."""
    root = tmp_path_factory.mktemp("drawn")
    entries = []
    for camera in (1, 2):
        for person in range(PEOPLE):
            path = f"{camera}_{person}.png"
            pixels = np.random.default_rng(10 * person + camera).integers(
                0, 256, (32, 16, 3), dtype=np.uint8)
            cv2.imwrite(str(root / path), pixels)
            entries.append(ImageEntry(path, person, camera))
    build_records(Scan(root, {"images": entries}, identity_splits=SPLITS), "drawn",
                  root / "records", shards=2)
    return root / "records"


@pytest.fixture(scope="module")
def prepared(drawn, tiny_backbone):
    keras.utils.set_random_seed(4)
    config = Config(
        model=ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=4),
        data=DataConfig(records=str(drawn), fold=1),
    )
    return build_embedding_model(config.model), config


def test_the_evaluator_ranks_the_chosen_split(prepared):
    model, config = prepared
    ranked = GalleryEvaluator(model, config, open_records(config.data)).evaluate(progress=False)
    assert ranked.query.paths.tolist() == ["1_0.png", "1_1.png"]
    assert ranked.gallery.paths.tolist() == ["2_0.png", "2_1.png"]
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, fold=0))
    others = GalleryEvaluator(model, other, open_records(other.data)).evaluate(progress=False)
    assert others.query.ids.tolist() == [3, 4, 5]
    train = FeatureExtractor(model, config, open_records(config.data))("train", progress=False)
    assert train.shape == (8, ranked.query_features.shape[1])


def test_files_name_the_split(prepared, tmp_path, capsys):
    model, config = prepared
    save_weights(model, tmp_path / "weights.weights.h5")
    system = make_system(config)
    system.test(tmp_path / "weights.weights.h5", tmp_path / "out", ranked_queries=2)
    assert "drawn, fold 1, single query" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["protocol"] == "drawn, fold 1, single query"
    threshold = system.calibrate(tmp_path / "weights.weights.h5", tmp_path / "calibrated")
    assert threshold.dataset == "drawn, fold 1"
    assert threshold.measured["positive_pairs"] == threshold.measured["negative_pairs"] == 2
    assert export_embedding(model, config, tmp_path / "export").name == "1"


def test_a_split_that_is_not_there_is_told_first(prepared, tmp_path):
    model, config = prepared
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, fold=2))
    system = make_system(config)
    for call in (lambda: open_records(config.data),
                 lambda: system.test(tmp_path / "none.h5", tmp_path / "out"),
                 lambda: system.calibrate(tmp_path / "none.h5", tmp_path / "out"),
                 lambda: export_embedding(model, config, tmp_path / "export")):
        with pytest.raises(UserError, match="data.fold is 2 but .* has 2 folds"):
            call()
