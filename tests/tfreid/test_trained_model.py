"""Trained models in Python: of runs, exports and recipes, of every system."""

from __future__ import annotations

import dataclasses

import cv2
import keras
import numpy as np
import pytest

import tfreid
from tfreid.commands import calibrate, export
from tfreid.config import Config, DataConfig, EvaluationConfig, ModelConfig, save_config
from tfreid.evaluation.features import FeatureExtractor
from tfreid.systems.csn.scores import CsnScorer
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.systems.registry import make_system
from tfreid.weights.files import save_weights

SMALL = ModelConfig(height=64, width=32, backbone="tiny", num_identities=8)


def make_run(folder, config):
    """Writes the folder of a run that was never trained; returns its model."""
    keras.utils.set_random_seed(1)
    model = make_system(config).build_model()
    (folder / "checkpoints").mkdir(parents=True)
    save_config(config, folder / "config.yaml")
    save_weights(model, folder / "checkpoints" / "last.weights.h5")
    return model


@pytest.fixture(scope="module")
def run(records, tiny_backbone, tmp_path_factory):
    """An embedding run with a threshold, its model, its settings."""
    folder = tmp_path_factory.mktemp("run")
    config = Config(model=SMALL, data=DataConfig(records=str(records)),
                    evaluation=EvaluationConfig(metric="euclidean"))
    model = make_run(folder, config)
    assert calibrate.main(["--run", str(folder)]) == 0
    return folder, model, config


@pytest.fixture(scope="module")
def gallery(records):
    """The gallery images: files, and RGB arrays of their own sizes."""
    files = list(tfreid.Records(records)["gallery"].encoded)[:5]
    arrays = [cv2.imdecode(np.frombuffer(x, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for x in files]
    return files, arrays


def test_embeddings_are_those_of_the_evaluation(run, records, gallery, tmp_path):
    folder, model, config = run
    extract = FeatureExtractor(model, config, tfreid.Records(records))
    expected = extract("gallery", np.arange(5), progress=False)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)  # as export.normalize says
    files, arrays = gallery
    (tmp_path / "a.jpg").write_bytes(files[0])
    loaded = tfreid.load(folder)
    for images in (files, [tmp_path / "a.jpg", *files[1:]], [*arrays[:2], *files[2:]]):
        np.testing.assert_allclose(loaded.embed(images, batch_size=2), expected, atol=2e-3)
    np.testing.assert_allclose(loaded.embed(files), expected, atol=1e-5)


def test_boxes_of_a_frame_are_crops(run, gallery):
    loaded, frame = tfreid.load(run[0]), np.ascontiguousarray(gallery[1][0])
    height, width = frame.shape[:2]
    boxes = [[0, 0, width, height], [-5, 2.2, 20.4, height + 9]]
    np.testing.assert_array_equal(
        loaded.embed(frame, boxes), loaded.embed([frame, frame[2:, :20]]))
    np.testing.assert_array_equal(loaded.embed(frame), loaded.embed([frame]))
    with pytest.raises(ValueError, match="no area inside the frame"):
        loaded.embed(frame, [[width, 0, width + 9, 9]])


def test_distances_rankings_and_verifications(run, gallery):
    loaded, files = tfreid.load(run[0]), gallery[0]
    embeddings = loaded.embed(files)
    distances = loaded.distance(files[:2], embeddings)
    expected = np.linalg.norm(embeddings[:2, None] - embeddings[None], axis=2)
    np.testing.assert_allclose(distances, expected, atol=1e-3)
    ranking = loaded.rank(embeddings[:2], files, k=3)
    np.testing.assert_array_equal(ranking.indices, np.argsort(distances, axis=1)[:, :3])
    verified = loaded.verify(files[:2], files[1:3])
    threshold = next(iter(loaded._thresholds.values())).threshold
    np.testing.assert_allclose(verified.distance, [expected[0, 1], expected[1, 2]], atol=1e-3)
    np.testing.assert_array_equal(verified.same, verified.distance <= threshold)


@pytest.mark.parametrize("other", ["evaluation.feature=embedding", "evaluation.flip=true"])
def test_a_threshold_of_other_features_does_not_decide(run, gallery, other):
    loaded = tfreid.load(run[0], overrides=[other])
    with pytest.raises(tfreid.UserError, match="threshold"):
        loaded.verify(gallery[0][:2], gallery[0][1:3])


def test_an_export_and_a_recipe_give_the_same(run, gallery, tmp_path):
    folder, files = run[0], gallery[0]
    loaded = tfreid.load(folder)
    assert export.main(["--run", str(folder), "--output", str(tmp_path / "served")]) == 0
    exported = tfreid.load(tmp_path / "served")
    recipe = tfreid.load(folder / "config.yaml", weights=folder / "checkpoints/last.weights.h5")
    for other in (exported, recipe):
        np.testing.assert_allclose(other.embed(files), loaded.embed(files), atol=1e-5)
    assert exported.metric == "euclidean"
    np.testing.assert_array_equal(exported.verify(files[:2], files[1:3]).same,
                                  loaded.verify(files[:2], files[1:3]).same)


def test_a_csn_compares(records, gallery, tmp_path):
    config = Config(system="csn", model=ModelConfig(height=64, width=24),
                    csn=CsnSettings(levels=[3]), data=DataConfig(records=str(records)))
    model = make_run(tmp_path / "run", config)
    loaded, files = tfreid.load(tmp_path / "run"), gallery[0]
    scorer = CsnScorer(model, config, tfreid.Records(records))
    features = scorer.features("gallery", np.arange(5), progress=False)
    expected = scorer.cross(features, features, progress=False)
    # Scores are p + lambda / (d + epsilon): of an image with itself the distance is noise.
    others = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(
        loaded.distance(files, files)[others], -expected[others], rtol=1e-3)
    assert loaded.rank(files, files, k=1).indices.ravel().tolist() == [0, 1, 2, 3, 4]
    assert loaded.verify(files[:2], files[2:4]).same.shape == (2,)
    with pytest.raises(tfreid.UserError, match="has no embedding"):
        loaded.embed(files)


def test_a_siamese_network_embeds_and_verifies(records, gallery, tiny_backbone, tmp_path):
    model = dataclasses.replace(SMALL, classifier=False, num_identities=None, neck=False,
                                embedding_size=16)
    config = Config(system="siamese", model=model, data=DataConfig(records=str(records)),
                    evaluation=EvaluationConfig(feature="embedding"))
    make_run(tmp_path / "run", config)
    loaded, files = tfreid.load(tmp_path / "run"), gallery[0]
    assert loaded.embed(files).shape == (5, 16)
    verified = loaded.verify(files, files[::-1])
    np.testing.assert_array_equal(verified.same, verified.distance <= 0.5)
    np.testing.assert_allclose(loaded.verify(loaded.embed(files), files[::-1]).distance,
                               verified.distance, atol=1e-5)


@pytest.mark.parametrize("images, words", [
    ([np.zeros((4, 4, 3), np.float32)], "uint8 RGB array"),
    ([np.zeros((4, 4), np.uint8)], "uint8 RGB array"),
    ([], "at least one"),
])
def test_wrong_arrays(run, images, words):
    with pytest.raises(ValueError, match=words):
        tfreid.load(run[0]).embed(images)


def test_mistakes_are_one_sentence(run, tmp_path, gallery):
    loaded = tfreid.load(run[0])
    with pytest.raises(tfreid.UserError, match="missing.jpg"):
        loaded.embed([tmp_path / "missing.jpg"])
    with pytest.raises(tfreid.UserError, match="cannot be decoded"):
        loaded.embed([b"text"])
    with pytest.raises(tfreid.UserError, match="no run there"):
        tfreid.load(tmp_path)
    with pytest.raises(tfreid.UserError, match="give weights=FILE"):
        tfreid.load(run[0] / "config.yaml")
    recipe = tfreid.load(run[0] / "config.yaml", weights=run[0] / "checkpoints/last.weights.h5")
    with pytest.raises(tfreid.UserError, match="tfreid calibrate"):
        recipe.verify(gallery[0][:1], gallery[0][1:2])
    with pytest.raises(ValueError, match="received 1 and 2 images"):
        loaded.verify(gallery[0][:1], gallery[0][:2])
    with pytest.raises(ValueError, match="k must be at least 1"):
        loaded.rank(gallery[0][:1], gallery[0], k=0)
