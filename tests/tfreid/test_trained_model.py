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


@pytest.fixture(scope="module")
def frame(gallery):
    """A frame of 60 x 90 pixels, RGB, of one person beside another."""
    return np.concatenate([cv2.resize(array, (45, 60)) for array in gallery[1][:2]], axis=1)


BOXES = [[0, 0, 45, 60], [-5, 2.2, 20.4, 99], [44.5, 1, 90, 59], [95, 0, 120, 50]]


def test_boxes_of_a_frame_are_crops(run, frame):
    loaded = tfreid.load(run[0])
    crops = [cv2.resize(crop, (32, 64), interpolation=cv2.INTER_LINEAR) for crop in (
        frame[:, :45], frame[2:, :20], frame[1:59, 44:], np.zeros([9, 9, 3], np.uint8))]
    expected = loaded.embed(np.stack(crops))
    for found in (loaded.embed(frame, BOXES, color="rgb"),
                  loaded.embed(frame[..., ::-1], np.array(BOXES), color="bgr"),
                  loaded.embed(frame, BOXES, batch_size=3, color="rgb"),
                  loaded.embed(cv2.imencode(".png", frame[..., ::-1])[1].tobytes(), BOXES)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    wrong = loaded.embed(frame, BOXES, color="bgr")
    assert np.abs(wrong - expected).max() > 1e-3
    np.testing.assert_allclose(loaded.embed(frame, BOXES[0], color="rgb"), expected[:1], atol=1e-5)


def test_no_box_and_very_many(run, frame, tmp_path):
    loaded = tfreid.load(run[0])
    width = loaded.embed(frame).shape[1]
    for boxes in ([], np.empty((0, 4))):
        found = loaded.embed(frame, boxes, color="bgr")
        assert found.shape == (0, width) and found.dtype == np.float32
    corners = np.random.default_rng(0).integers(0, 30, (1001, 2))
    boxes = np.concatenate([corners, corners + 25], axis=1)
    found = loaded.embed(frame, boxes, color="rgb")
    assert found.shape == (1001, width)
    np.testing.assert_allclose(found[-2:], loaded.embed(frame, boxes[-2:], color="rgb"), atol=1e-5)


def test_a_frame_is_uint8_and_its_colours_are_named(run, frame, tmp_path):
    loaded = tfreid.load(run[0])
    for image, color, words in (
            (frame, None, 'name the colours of the frame: color="bgr" if it comes from OpenCV'),
            (frame, "gbr", "received 'gbr'"),
            (frame[..., 0], "bgr", r"received uint8 \[60, 90\]; turn a grey one by cv2.cvtColor"),
            (frame[..., :1], "bgr", r"received uint8 \[60, 90, 1\]"),
            (np.dstack([frame, frame[..., :1]]), "bgr", r"received uint8 \[60, 90, 4\]"),
            (frame / 255, "rgb", "received float64"),
            (frame[:0], "rgb", r"received uint8 \[0, 90, 3\]"),
            (None, "bgr", r"received NoneType \[\]"),
            (tmp_path / "a.png", "bgr", "leave it out for an image file")):
        with pytest.raises(ValueError, match=words):
            loaded.embed(image, BOXES, color=color)
    with pytest.raises(ValueError, match="color names the colours of a frame with boxes"):
        loaded.embed(frame, color="bgr")
    with pytest.raises(ValueError, match=r"box 1 of 2, .* is not finite"):
        loaded.embed(frame, [BOXES[0], [1, 2, np.nan, 4]], color="bgr")
    with pytest.raises(tfreid.UserError, match=r"a\.png"):
        loaded.embed(tmp_path / "a.png", BOXES)


def test_exports_cut_boxes_alike(run, frame, tmp_path):
    expected = tfreid.load(run[0]).embed(frame, BOXES, color="rgb")
    assert export.main(["--run", str(run[0]), "--output", str(tmp_path), "--format",
                        "saved_model,litert"]) == 0
    for name in ("1", "litert-float32"):
        loaded = tfreid.load(tmp_path / name)
        np.testing.assert_allclose(
            loaded.embed(frame, BOXES, color="rgb"), expected, atol=1e-4)
        assert loaded.embed(frame, [], color="rgb").shape == (0, expected.shape[1])
    (tmp_path / "1" / "checksums.json").unlink()
    (tmp_path / "1" / "assets.extra" / "images.json").unlink()  # as before there was one
    older = tfreid.load(tmp_path / "1")
    np.testing.assert_allclose(older.embed([frame]), tfreid.load(run[0]).embed([frame]), atol=1e-4)
    with pytest.raises(tfreid.UserError, match="does not say to which size .* export the model"):
        older.embed(frame, BOXES, color="rgb")


def test_boxes_of_models_that_keep_the_aspect(records, tiny_backbone, frame, tmp_path):
    make_run(tmp_path, Config(model=dataclasses.replace(SMALL, longest_side=48),
                              data=DataConfig(records=str(records))))
    loaded = tfreid.load(tmp_path)
    found = loaded.embed(frame[..., ::-1], BOXES[:3], color="bgr")
    np.testing.assert_allclose(
        found, loaded.embed([frame[:, :45], frame[2:, :20], frame[1:59, 44:]]), atol=1e-5)
    assert loaded.embed(frame, [], color="rgb").shape == (0, found.shape[1])
    assert loaded.embed(frame, BOXES[3:], color="rgb").shape == (1, found.shape[1])


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
