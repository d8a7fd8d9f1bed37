"""A served model and bad rows: in this process, over REST and over gRPC; what warms it up."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.loopback import Servable, serve_grpc, serve_rest
from tfrecords.errors import UserError
from tfreid.config import Config, DataConfig, ModelConfig
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.serving.client import SavedModelClient, ServerClient
from tfreid.systems.embedding.export import export_embedding

DOCS = Path(__file__).parents[4] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def version(records, tiny_backbone, tmp_path_factory):
    keras.utils.set_random_seed(4)
    config = Config(
        model=ModelConfig(backbone=tiny_backbone, height=64, width=32, num_identities=8),
        data=DataConfig(records=str(records)))
    model = build_embedding_model(config.model)
    return export_embedding(model, config, tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def servable(version):
    pytest.importorskip("tensorflow_serving")
    return Servable(version)


@pytest.fixture(scope="module")
def good(records):
    return list(Records(records)["gallery"].encoded)[:4]


def bomb():
    """A PNG of a few bytes that declares 20,000 x 20,000 pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(
        b"IDAT", zlib.compress(bytes(60001))) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def mixed(good):
    """Eight rows, of which 1, 3, 4 and 6 are bad."""
    bad = [b"\xff\xd8\xff\xe0" + bytes(range(200)), b"", b"a text file\n", good[0][: -40]]
    assert good[0].startswith(b"\xff\xd8")
    rows = [good[0], bad[0], good[1], bad[1], bad[2], good[2], bad[3], good[3]]
    return rows, [True, False, True, False, False, True, False, True]


def check(found, valid, alone):
    np.testing.assert_array_equal(np.asarray(found["valid"], bool), valid)
    found = np.asarray(found["embedding"], np.float32)
    np.testing.assert_allclose(found[valid], alone, atol=1e-6)
    np.testing.assert_array_equal(found[~np.array(valid)], 0)


@pytest.fixture(scope="module")
def alone(version, good):
    client = SavedModelClient(version)
    return np.concatenate([client.extract([file])["embedding"] for file in good])


def test_bad_rows_leave_the_others_as_they_are(version, mixed, alone):
    rows, valid = mixed
    signatures = tf.saved_model.load(str(version)).signatures
    check({name: x.numpy() for name, x in signatures["serving_default"](
        image_bytes=tf.constant(rows)).items()}, valid, alone)
    with pytest.raises(tf.errors.InvalidArgumentError,
                       match=r"no whole JPEG or PNG of at most 16000000 pixels .*row.*\[1 3 4 6\]"):
        signatures["strict"](image_bytes=tf.constant(rows))
    np.testing.assert_allclose(
        signatures["strict"](image_bytes=tf.constant(rows)[::7])["embedding"], alone[[0, 3]],
        atol=1e-6)


def test_only_bad_rows_and_a_bomb(version):
    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    found = signature(image_bytes=tf.constant([bomb(), b""]))
    assert not found["valid"].numpy().any() and not found["embedding"].numpy().any()


def test_the_client_names_the_first_bad_row(version, mixed):
    with pytest.raises(UserError, match=r"image 2 of 8 \(and 3 more\) cannot be decoded"):
        SavedModelClient(version).extract(mixed[0])


def test_over_rest(servable, mixed, good, alone):
    with serve_rest(servable) as url:
        np.testing.assert_allclose(ServerClient(url).extract(good)["embedding"], alone, atol=1e-6)
        with pytest.raises(UserError, match="image 2 of 8"):
            ServerClient(url).extract(mixed[0])


def test_the_example_for_grpc_in_the_docs(servable, mixed, alone, monkeypatch, tmp_path):
    import grpc

    rows, valid = mixed
    text = DOCS.read_text()
    example = re.search(r"```python\n(import grpc.*?)```", text, re.DOTALL).group(1)
    (tmp_path / "one.jpg").write_bytes(rows[0])
    monkeypatch.chdir(tmp_path)
    with serve_grpc(servable) as target:
        names = {}
        exec(example.replace("localhost:8500", target), names)
        np.testing.assert_allclose(names["embedding"], alone[:1], atol=1e-6)
        request = names["request"]
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(rows))
        outputs = names["stub"].Predict(request, 10.0).outputs
        check({name: tf.make_ndarray(x) for name, x in outputs.items()}, valid, alone)
        request.model_spec.signature_name = "strict"
        with pytest.raises(grpc.RpcError, match=r"\[1 3 4 6\]"):
            names["stub"].Predict(request, 10.0)


def test_the_example_for_rest_in_the_docs(servable, good, alone, monkeypatch, tmp_path):
    example = re.search(r"\n(curl http://localhost:8501.*?)\n\n", DOCS.read_text() + "\n\n",
                        re.DOTALL).group(1).split("\n```")[0]
    (tmp_path / "one.jpg").write_bytes(good[0])
    with serve_rest(servable) as url:
        command = example.replace("http://localhost:8501/v1/models/reid", url).replace(
            "curl ", "curl --silent --noproxy '*' ")
        answer = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True,
                                check=True)
    row, = json.loads(answer.stdout)["predictions"]
    assert row["valid"] is True
    np.testing.assert_allclose(row["embedding"], alone[0], atol=1e-6)


def test_warm_up_asks_every_signature_of_images(version, servable):
    assert servable.requests == 5  # two signatures of files, twice, and one of arrays
    # A second export would be served as `canary`.
    models = (version.parent / "models.config").read_text()
    assert f'base_path: "/models/{version.parent.name}"' in models and 'key: "stable"' in models
    assert "max_batch_size { value: 64 }" in (version.parent / "batching.config").read_text()
