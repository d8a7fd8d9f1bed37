"""The exported CSN against the whole network, and the commands and clients around it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from tests.loopback import Servable, serve_rest
from tfrecords.errors import UserError
from tfreid.commands import calibrate
from tfreid.commands import export as export_model
from tfreid.commands import query as query_export
from tfreid.config import Config, DataConfig, ModelConfig, save_config
from tfreid.evaluation.thresholds import Threshold, save_thresholds
from tfreid.records import Records
from tfreid.serving import load_export
from tfreid.serving.client import ServerClient, exported_thresholds
from tfreid.systems.csn import export as pair_export
from tfreid.systems.csn.export import export_csn
from tfreid.systems.csn.network import build_csn, csn_parts
from tfreid.systems.csn.settings import ScoreSettings
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.trained_model import load
from tfreid.weights.files import save_weights

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[4]
SIGNATURES = {"serving_default", "extract", "strict", "extract_images", "compare", "compare_all"}
SIZE_OF_LOGITS = 5e4  # before training
SMALL = CsnSettings(levels=[3], divide=False, attention="center", ranking_net=False)


def make(records, csn, **score):
    keras.utils.set_random_seed(4)
    config = Config(
        name="csn", system="csn", csn=dataclasses.replace(csn, score=ScoreSettings(**score)),
        model=ModelConfig(height=48, width=24), data=DataConfig(records=str(records)),
    )
    model = build_csn(config)
    random = np.random.default_rng(5)
    for weight in model.weights:
        # Values other than the initial ones, which would hide a lost weight.
        weight.assign(weight.numpy() * random.uniform(0.8, 1.2, weight.shape) + 0.01)
    # Probabilities of neither 0 nor 1.
    kernel = csn_parts(model).judge.get_layer("match").kernel
    kernel.assign(kernel.numpy() / SIZE_OF_LOGITS)
    return model, config


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """A run's folder, its model and its settings."""
    model, config = make(records, CsnSettings(), distance_weight=0.3, epsilon=0.01)
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    save_config(config, folder / "config.yaml")
    save_weights(model, folder / "checkpoints" / "last.weights.h5")
    return folder, model, config


@pytest.fixture(scope="module")
def version(run):
    """The folder of the run's first export."""
    assert export_model.main(["--run", str(run[0])]) == 0
    return run[0] / "export" / "1"


@pytest.fixture(scope="module")
def small(records, tmp_path_factory):
    """A network without descriptors, its settings and its export, which scores in both orders."""
    model, config = make(records, SMALL, both_orders=True)
    return model, config, export_csn(model, config, tmp_path_factory.mktemp("small"))


def arrays(crops):
    """The crops decoded by OpenCV, float32 RGB of their own sizes."""
    decoded = (cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR) for crop in crops)
    return [image[..., ::-1].astype(np.float32) for image in decoded]


def whole_network(model, first, second):
    """The probability and the distance of one pair of images, both extracted for it."""
    size = (48, 24)
    images = [tf.image.resize(x, size, antialias=x.shape[:2] > size) for x in (first, second)]
    outputs = model({"images": tf.stack(images), "first": tf.constant([0]),
                     "second": tf.constant([1])}, training=False)
    logits = outputs["logits"].numpy()[0]
    distance = outputs["distance"].numpy()[0] if "distance" in outputs else None
    return 1.0 / (1.0 + np.exp(logits[0] - logits[1])), distance


def sided(**sides):
    return {f"{side}_{name}": value for side, features in sides.items()
            for name, value in features.items()}


def test_stored_features_give_the_whole_networks_scores(run, version, records):
    _, model, _ = run
    signatures = tf.saved_model.load(str(version)).signatures
    assert set(signatures) == SIGNATURES
    crops = list(Records(records)["gallery"].encoded)[:5]
    images = arrays(crops)
    assert len({image.shape for image in images}) > 1
    queries, gallery = (signatures["strict"](image_bytes=tf.constant(files))
                        for files in (crops[:2], crops[2:]))
    assert set(queries) == {"map_2", "parts_2", "map_3", "parts_3", "descriptor"}
    cross = signatures["compare_all"](**sided(query=queries, gallery=gallery))
    assert {name: value.shape for name, value in cross.items()} == dict.fromkeys(
        ("probability", "distance", "score"), (2, 3))
    for row in range(2):
        again = {name: tf.repeat(x[row : row + 1], 3, 0) for name, x in queries.items()}
        pairs = signatures["compare"](**sided(first=again, second=gallery))
        for column in range(3):
            probability, distance = whole_network(model, images[row], images[2 + column])
            score = probability + 0.3 / (distance + 0.01)
            for found in (cross["probability"][row, column], pairs["probability"][column]):
                np.testing.assert_allclose(found, probability, atol=1e-4)
            for found in (cross["distance"][row, column], pairs["distance"][column]):
                np.testing.assert_allclose(found, distance, atol=1e-4)
            for found in (cross["score"][row, column], pairs["score"][column]):
                np.testing.assert_allclose(found, score, rtol=1e-2)


def test_images_of_one_size_are_extracted_as_files_are(version):
    image = np.random.default_rng(6).integers(0, 255, (2, 80, 40, 3)).astype(np.uint8)
    files = [cv2.imencode(".png", each[..., ::-1])[1].tobytes() for each in image]
    signatures = tf.saved_model.load(str(version)).signatures
    from_files = signatures["strict"](image_bytes=tf.constant(files))
    from_images = signatures["extract_images"](images=tf.constant(image))
    assert from_files["parts_2"].shape == (2, 3, 10, 10, 96)
    for name, values in from_files.items():
        np.testing.assert_allclose(values, from_images[name], atol=1e-5)


def test_both_orders_and_no_distance_without_a_ranking_net(small, records):
    model, _, folder = small
    signatures = tf.saved_model.load(str(folder)).signatures
    crops = list(Records(records)["gallery"].encoded)[:2]
    first, second = (signatures["strict"](image_bytes=tf.constant([crop])) for crop in crops)
    found = [signatures["compare"](**sided(first=first, second=second)),
             signatures["compare_all"](**sided(query=first, gallery=second))]
    one, other = arrays(crops)
    there, back = whole_network(model, one, other)[0], whole_network(model, other, one)[0]
    assert abs(there - back) > 5e-4
    for results in found:
        assert set(results) == {"probability", "score"}
        for value in results.values():
            np.testing.assert_allclose(np.ravel(value), (there + back) / 2, atol=5e-5)


def nodes_and_functions(folder):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    nodes, functions = [], set()
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        functions.update(function.signature.name for function in graph.library.function)
        nodes += list(graph.node)
        nodes += [node for function in graph.library.function for node in function.node_def]
    return nodes, functions


def test_a_stock_tensorflow_has_every_operation(version):
    nodes, functions = nodes_and_functions(version)
    operations = {node.op for node in nodes} - functions
    # The walk sees both the images' side and the comparison, inside loops.
    assert {"DecodeJpeg", "DepthwiseConv2dNative", "Conv2D"} <= operations
    for operation in operations:
        assert op_def_registry.get(operation) is not None, operation
        # Importing Addons registers theirs too.
        assert not operation.startswith("Addons"), operation


def _upside_down(method):
    return lambda served, images: method(served, images[:, ::-1])


def _exchanged(method):
    return lambda served, first, second: method(served, second, first)


def _shifted(method):
    return lambda served, *sides: {k: x + 0.001 for k, x in method(served, *sides).items()}


@pytest.mark.parametrize(("method", "wrong", "signature"), [
    ("_extract", _upside_down, "extract"),
    ("_compare", _exchanged, "compare"),
    ("_compare_all", _shifted, "compare_all"),
])
def test_an_export_that_differs_is_not_written(
    small, tmp_path, monkeypatch, method, wrong, signature
):
    model, config, _ = small
    # In one order, so that exchanging the images matters.
    csn = dataclasses.replace(config.csn, score=ScoreSettings())
    right = getattr(pair_export.ServedCsn, method)
    monkeypatch.setattr(pair_export.ServedCsn, method, wrong(right))
    with pytest.raises(UserError, match=f"signature {signature} differs"):
        export_csn(model, dataclasses.replace(config, csn=csn),
                          tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_records_are_needed(small, tmp_path):
    model, config, _ = small
    with pytest.raises(UserError, match="data.records is not set"):
        export_csn(model, dataclasses.replace(config, data=DataConfig()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def files(records, tmp_path):
    """Paths of a query and three gallery images, the query's own file the second of them."""
    crops = list(Records(records)["gallery"].encoded)[:3]
    paths = []
    for name, crop in (("query", crops[0]), ("b", crops[1]), ("same", crops[0]), ("c", crops[2])):
        (tmp_path / f"{name}.jpg").write_bytes(crop)
        paths.append(str(tmp_path / f"{name}.jpg"))
    return paths


def test_a_query_is_ranked_against_files(version, files, capsys):
    assert query_export.main(["--model", str(version.parent), *files]) == 0
    title, heading, *rows = capsys.readouterr().out.splitlines()
    assert files[0] in title
    assert heading.split() == ["score", "probability", "distance"]
    assert rows[0].endswith("same.jpg") and len(rows) == 3
    scores = [float(row.split()[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    for row in rows:
        score, probability, distance = map(float, row.split()[1:4])
        assert score == pytest.approx(probability + 0.3 / (distance + 0.01), rel=0.02)


def test_a_device_format_ranks_as_the_saved_model_does(run, version, files, capsys, tmp_path):
    assert export_model.main(["--run", str(run[0]), "--output", str(tmp_path), "--format",
                              "litert"]) == 0
    capsys.readouterr()
    assert query_export.main(["--model", str(tmp_path / "litert-float32"), *files]) == 0
    title, heading, *rows = capsys.readouterr().out.splitlines()
    assert query_export.main(["--model", str(version), *files]) == 0
    expected = capsys.readouterr().out.splitlines()
    assert [heading, len(rows)] == [expected[1], 3]
    assert [Path(row.split()[-1]) for row in rows] == [
        Path(row.split()[-1]) for row in expected[2:]]
    model = load_export(tmp_path / "litert-float32")
    assert [model.card.graphs[name].rows for name in ("extract", "compare")] == [None, 1]
    with pytest.raises(UserError, match="has no embedding of one"):
        model.embed(files)
    features, nothing = model.extract(files[:2]), model.extract([])
    assert model.compare_all(nothing, features)["score"].shape == (0, 2)
    assert model.compare_all(features, nothing)["score"].shape == (2, 0)


def test_a_folder_is_ranked_and_drawn(version, files, capsys, tmp_path):
    folder = tmp_path / "gallery"
    folder.mkdir()
    for file in files[1:]:
        shutil.copy(file, folder)
    picture = tmp_path / "ranking.png"
    arguments = ["--gallery", str(folder), "--top", "2", "--picture", str(picture)]
    assert query_export.main(["--model", str(version), files[0], files[2], *arguments]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"wrote {picture}" and cv2.imread(str(picture)) is not None
    # The same image twice: the same two rows, under a title and a heading each.
    assert len(lines) == 8 and lines[2:4] == lines[6:8]
    assert lines[2].endswith("same.jpg")
    assert query_export.main(["--model", str(version), *files]) == 0
    # Rank, probability and file; the score magnifies the rounding of another batch.
    assert [(row.split()[0], row.split()[2], Path(row.split()[4]).name)
            for row in capsys.readouterr().out.splitlines()[2:4]] == [
        (row.split()[0], row.split()[2], Path(row.split()[4]).name) for row in lines[2:4]]


def test_a_server_is_asked_for_features_and_then_for_scores(small, files, capsys):
    with serve_rest(Servable(small[2], warm=False)) as url:
        assert query_export.main(["--url", url, *files]) == 0
        served = capsys.readouterr().out
        assert ServerClient(url).extract([Path(files[0]).read_bytes()])["map_3"].shape == (
            1, 6, 3, 96)
    assert query_export.main(["--model", str(small[2]), *files]) == 0
    assert capsys.readouterr().out == served
    assert served.splitlines()[1].split() == ["score", "probability"]


@pytest.mark.parametrize(("arguments", "words"), [
    (["a.jpg"], "give a second image"),
    (["--threshold", "thresholds.json", "a.jpg", "b.jpg"], "has no threshold of probabilities"),
])
def test_what_a_pair_model_cannot_do_is_one_sentence(
    small, files, capsys, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    save_thresholds({"euclidean": Threshold(
        0.5, "euclidean", 3.0, "neck", True, "equal error rate", 0.9, 0.1, "synthetic", None, None,
        "0")}, "thresholds.json")
    arguments = [files[0] if word.endswith(".jpg") else word for word in arguments]
    assert query_export.main(["--model", str(small[2]), *arguments]) == 2
    message = capsys.readouterr().err
    assert words in message and message.count("\n") == 1


def test_a_pair_model_has_neither_embeddings_nor_a_threshold(small, files, run, capsys):
    with pytest.raises(UserError, match="has no embedding"):
        load(small[2]).embed(files[0])
    assert exported_thresholds(small[2]) == {}
    assert calibrate.main(["--run", str(run[0])]) == 2
    message = capsys.readouterr().err
    assert "a distance threshold is for embeddings" in message and message.count("\n") == 1
