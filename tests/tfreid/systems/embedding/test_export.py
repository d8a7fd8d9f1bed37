"""The exported model against the trained one, and the clients that ask it."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.commands import query as query_export
from tfreid.config import Config, DataConfig, EvaluationConfig, ExportConfig, ModelConfig
from tfreid.evaluation.features import FeatureExtractor
from tfreid.evaluation.thresholds import Threshold, weights_fingerprint
from tfreid.models.embedding import build_embedding_model, input_size
from tfreid.records import Records
from tfreid.serving.client import SavedModelClient, ServerClient, exported_thresholds
from tfreid.systems.embedding import export
from tfreid.systems.embedding.export import export_embedding
from tfreid.systems.registry import make_system


def embed(directory, files):
    return SavedModelClient(directory).extract(files)["embedding"]


@pytest.fixture(scope="module")
def exported(records, tiny_backbone, tmp_path_factory):
    """A model, its settings and the folder of its first exported version."""
    keras.utils.set_random_seed(4)
    config = Config(
        model=ModelConfig(backbone=tiny_backbone, height=64, width=32, num_identities=8),
        data=DataConfig(records=str(records)),
    )
    model = build_embedding_model(config.model)
    for weight in model.weights:
        # Statistics and gains other than the initial ones, which would hide a lost weight.
        noise = np.random.default_rng(5).uniform(0.8, 1.2, weight.shape)
        weight.assign(weight.numpy() * noise + 0.01)
    folder = tmp_path_factory.mktemp("export")
    return model, config, folder, export_embedding(model, config, folder)


def test_signatures_embed_files_of_mixed_sizes_and_arrays(exported, records):
    model, config, _, version = exported
    loaded = tf.saved_model.load(str(version))
    assert set(loaded.signatures) == {"serving_default", "strict", "images"}
    crops = list(Records(records)["gallery"].encoded)[:5]
    arrays = [cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for c in crops]
    assert len({array.shape for array in arrays}) > 1
    encoded = loaded.signatures["serving_default"](image_bytes=tf.constant(crops))["embedding"]
    for array, embedding in zip(arrays, encoded.numpy()):
        expected = model(array[None].astype(np.float32), training=False)["neck"][0].numpy()
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(embedding, expected, atol=1e-5)
        decoded = loaded.signatures["images"](images=tf.constant(array[None].copy()))
        np.testing.assert_allclose(decoded["embedding"][0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(encoded, axis=1), 1.0, rtol=1e-5)


def test_with_flips_tests_and_exports_average_an_image_and_its_mirror_image(
        exported, records, tmp_path):
    model, config, _, _ = exported
    config = dataclasses.replace(config, evaluation=EvaluationConfig(flip=True))
    crops = list(Records(records)["gallery"].encoded)[:5]
    expected = []
    for crop in crops:
        image = cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR)[None, ..., ::-1]
        sides = [model(x.astype(np.float32), training=False)["neck"][0].numpy()
                 for x in (image, image[:, :, ::-1])]
        assert np.abs(sides[0] - sides[1]).max() > 2e-3
        expected.append((sides[0] + sides[1]) / 2)
    extract = FeatureExtractor(model, config, Records(records))
    np.testing.assert_allclose(extract("gallery", np.arange(5), progress=False), expected,
                               atol=1e-4)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    served = embed(export_embedding(model, config, tmp_path), crops)
    np.testing.assert_allclose(served, expected, atol=1e-5)


@pytest.mark.parametrize("system", ["csn", "siamese"])
def test_flips_are_refused_for_pairs(system):
    with pytest.raises(UserError, match=f"evaluation.flip .* false with system: {system}"):
        make_system(Config(system=system, evaluation=EvaluationConfig(flip=True)))


def test_png_and_jpeg_are_both_served(exported):
    image = np.random.default_rng(6).integers(0, 255, (80, 40, 3)).astype(np.uint8)
    png = cv2.imencode(".png", image)[1].tobytes()
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    embeddings = embed(exported[3], [png, jpeg])
    assert embeddings.shape[0] == 2 and np.isfinite(embeddings).all()


def test_next_export_is_the_next_version_and_the_newest_is_read(exported):
    model, config, folder, version = exported
    assert version.name == "1"
    raw = Config(model=config.model, data=config.data, export=ExportConfig(normalize=False))
    assert export_embedding(model, raw, folder).name == "2"
    crop = list(Records(config.data.records)["gallery"].encoded)[:1]
    newest = embed(folder, crop)[0]
    first = embed(folder / "1", crop)[0]
    assert np.linalg.norm(newest) != pytest.approx(1.0)
    np.testing.assert_allclose(newest / np.linalg.norm(newest), first, atol=1e-5)


def test_an_export_that_differs_is_not_written(exported, tmp_path, monkeypatch):
    model, config, _, _ = exported

    def embed_wrongly(self, images):
        return tf.math.l2_normalize(model(images[:, ::-1], training=False)["neck"], axis=1)

    monkeypatch.setattr(export.ServedEmbedding, "_embed", embed_wrongly)
    with pytest.raises(UserError, match="differs from the trained model"):
        export_embedding(model, config, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_mistakes_get_one_sentence(exported, tmp_path):
    model, config, _, version = exported
    with pytest.raises(UserError, match="data.records is not set"):
        export_embedding(model, Config(model=config.model), tmp_path)
    with pytest.raises(UserError, match="no SavedModel"):
        embed(tmp_path, [b""])
    with pytest.raises(UserError, match="cannot be decoded"):
        embed(version, [b"not an image"])
    with pytest.raises(UserError, match="no answer"):
        ServerClient("http://127.0.0.1:9/v1/models/reid", timeout=2).extract([b""])
    with pytest.raises(UserError, match="no image to send"):
        ServerClient("http://127.0.0.1:9/v1/models/reid").extract([])
    with pytest.raises(UserError, match="is not a URL"):
        ServerClient("localhost:8501/v1/models/reid")


def make_threshold(model, config, **changes):
    return Threshold(**{**dict(
        threshold=0.5, metric="euclidean", minkowski_p=3.0, feature="neck", normalized=True,
        chosen_by="equal error rate", true_positive_rate=0.9, false_positive_rate=0.1,
        dataset="synthetic", split="query x gallery", weights="best.weights.h5",
        fingerprint=weights_fingerprint(model),
    ), **changes})


def test_a_threshold_is_exported_with_a_verdict_on_pairs(exported, tmp_path, capsys):
    model, config, _, plain = exported
    crops = list(Records(config.data.records)["gallery"].encoded)[:6]
    embeddings = embed(plain, crops)
    distances = np.linalg.norm(embeddings[:3] - embeddings[3:], axis=1)
    # Half-way, so that at least one pair is on either side.
    limit = float((np.sort(distances)[0] + np.sort(distances)[1]) / 2)
    threshold = make_threshold(model, config, threshold=limit)
    version = export_embedding(model, config, tmp_path / "export", threshold)
    assert exported_thresholds(tmp_path / "export") == {"euclidean": threshold}
    assert exported_thresholds(plain) == {}
    signatures = tf.saved_model.load(str(version)).signatures
    first, second = tf.constant(crops[:3]), tf.constant(crops[3:])
    for found in (
        signatures["verify_pairs"](first_image_bytes=first, second_image_bytes=second),
        # The input names of exports of before.
        signatures["verify"](image_bytes=first, other_image_bytes=second),
    ):
        np.testing.assert_allclose(found["distance"], distances, atol=1e-5)
        assert found["same_person"].numpy().tolist() == (distances <= limit).tolist()

    paths = []
    for number, crop in enumerate([*crops[:3], *crops[3:]]):
        paths.append(str(tmp_path / f"{number}.jpg"))
        (tmp_path / f"{number}.jpg").write_bytes(crop)
    capsys.readouterr()
    assert query_export.main(["--model", str(version), *paths]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("euclidean distances")
    for first, distance in enumerate(distances):
        verdict = "the same person" if distance <= limit else "different people"
        assert f"{first + 1} and {first + 4}: {verdict} ({distance:.3f})" in printed

    picture = tmp_path / "ranking.png"
    assert query_export.main(["--model", str(version), *paths[:3], "--gallery", str(tmp_path),
                              "--top", "6", "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    assert cv2.imread(str(picture)) is not None
    for first, distance in enumerate(distances):
        verdict = "the same person" if distance <= limit else "different people"
        rows = [line.split(maxsplit=2) for line in printed.split("compared with ")[first + 1]
                .splitlines() if line.endswith(f"{first + 3}.jpg")][-1:]
        assert rows[0][2].split("  ")[0] == verdict
        assert float(rows[0][1]) == pytest.approx(distance, abs=1e-4)


def test_many_images_each_find_their_nearest(exported, capsys, tmp_path):
    for number, crop in enumerate(list(Records(exported[1].data.records)["train"].encoded)[:21]):
        (tmp_path / f"{number:02}.jpg").write_bytes(crop)
    embeddings = embed(exported[3], [path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert query_export.main(["--model", str(exported[3]), str(tmp_path), "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    distances = 1 - embeddings @ embeddings.T + 9 * np.eye(len(embeddings))
    assert len(lines) == 3 * len(embeddings)
    for row, nearest in zip(lines[2::3], distances.argmin(axis=1)):
        assert row.endswith(f"{nearest:02}.jpg")


def test_a_threshold_of_something_else_is_not_exported(exported, tmp_path):
    model, config, _, _ = exported
    wrong = make_threshold(model, config, fingerprint="0")
    with pytest.raises(UserError, match="calibrated for other weights"):
        export_embedding(model, config, tmp_path / "out", wrong)
    assert not (tmp_path / "out").exists()


def test_rest_client_speaks_the_predict_protocol():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            files = [base64.b64decode(row["image_bytes"]["b64"]) for row in body["instances"]]
            good = self.path == "/v1/models/reid:predict" and b"bad" not in files
            answer = {"predictions": [[float(len(file)), 0.5] for file in files]}
            self.send_response(200 if good else 400)
            self.end_headers()
            self.wfile.write(json.dumps(answer if good else {"error": "no image"}).encode())

        def log_message(self, *_):
            """Prints nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/models/reid"
    try:
        found = ServerClient(url).extract([b"a", b"bcd"])["embedding"]
        np.testing.assert_array_equal(found, [[1, 0.5], [3, 0.5]])
        with pytest.raises(UserError, match="no image"):
            ServerClient(url).extract([b"bad"])
    finally:
        server.shutdown()


def test_undistorted_images_are_served_one_by_one(records, tiny_backbone, tmp_path):
    keras.utils.set_random_seed(6)
    config = Config(
        system="triplet",
        model=ModelConfig(backbone=tiny_backbone, longest_side=48, pooling="max", neck=False,
                          embedding_size=5, normalize_embedding=True, classifier=False),
        data=DataConfig(records=str(records)),
    )
    model = build_embedding_model(config.model)
    version = export_embedding(model, config, tmp_path)
    crops = list(Records(records)["gallery"].encoded)[:4]
    arrays = [cv2.imdecode(np.frombuffer(c, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] for c in crops]
    assert len({array.shape for array in arrays}) > 1
    for array, embedding in zip(arrays, embed(version, crops)):
        height, width = input_size(config.model).of(*array.shape[:2])
        resized = tf.image.resize(array, (height, width), antialias=True)
        expected = model(resized[None], training=False)["embedding"][0]
        np.testing.assert_allclose(embedding, expected, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(embedding), 1.0, rtol=1e-5)
