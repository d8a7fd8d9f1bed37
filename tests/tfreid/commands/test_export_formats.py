"""Device formats by the command: written, compared, measured, and used in the place of a model."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import tfreid
from tfreid.commands import embed_images, export, query, test
from tfreid.evaluation.thresholds import Threshold, save_thresholds, weights_fingerprint
from tfreid.serving import load_export
from tfreid.serving.client import exported_thresholds
from tfreid.serving.formats import litert, onnx, openvino
from tfreid.systems import device_export
from tfreid.systems.exporting import ServedFeatures
from tfreid.systems.registry import make_system
from tfreid.weights.files import save_weights

# Modules that a format needs to be written and opened, beside TensorFlow.
NEEDS = {"litert": (), "onnx": ("onnx", "tf2onnx", "onnxruntime"), "openvino": ("openvino",)}


@pytest.fixture(scope="module")
def run(untrained, tmp_path_factory):
    """A run with a calibrated threshold."""
    folder, model, config = untrained
    copy = shutil.copytree(folder, tmp_path_factory.mktemp("formats") / "run")
    threshold = Threshold(0.4, "cosine", 3.0, "neck", True, "by hand", 0.9, 0.1, "rendered",
                          "query x gallery", "last", weights_fingerprint(model))
    save_thresholds({"cosine": threshold}, copy / "thresholds.json")
    return copy, threshold


@pytest.fixture(scope="module")
def litert_export(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("served")
    assert export.main(["--run", str(run[0]), "--output", str(output), "--format",
                        "litert", "--quantize", "none,int8", "export.calibration_images=20",
                        "export.license=for tests"]) == 0
    return output


def crops(files):
    return [cv2.imread(str(files / name))[..., ::-1] for name in ("a.jpg", "b.jpg")]


@pytest.mark.parametrize("name", list(NEEDS))
def test_written_and_like_the_model(run, untrained, files, tmp_path, name):
    for module in NEEDS[name]:
        pytest.importorskip(module)
    assert export.main(["--run", str(run[0]), "--output", str(tmp_path), "--format", name,
                        "--quantize", "none,float16", "--batch", "3", "--input", "float32"]) == 0
    for precision, tolerance in (("float32", 1e-5), ("float16", 1e-2)):
        found = load_export(tmp_path / f"{name}-{precision}")
        assert found.card.measured["difference"] < tolerance ** 2
        # Five rows, of which the graph takes three a call.
        both = crops(files)
        five = [both[0], files / "b.jpg", (files / "a.jpg").read_bytes(), both[1], both[0]]
        expected = tfreid.load(run[0]).embed([both[place] for place in (0, 1, 0, 1, 0)])
        np.testing.assert_allclose(found.embed(five), expected, atol=tolerance)
        assert found.embed([]).shape == (0, expected.shape[1])


def test_the_card_says_what_a_caller_must_know(litert_export, run):
    card = json.loads((litert_export / "litert-int8" / "model.json").read_text())
    graph = card["graphs"]["extract"]
    assert (card["height"], card["width"], card["colors"], card["values"]) == (
        32, 16, "RGB", [0, 255])
    assert graph["inputs"] == [{"name": "images", "shape": [None, 32, 16, 3], "dtype": "uint8"}]
    assert graph["outputs"][0]["name"] == "embedding" and card["normalized"] is True
    assert card["license"] == "for tests" and "bilinear" in card["resize"]
    assert card["weights"] == run[1].fingerprint
    measured = card["measured"]
    assert set(measured["model"]) == set(measured["export"]) >= {"rank_1", "mean_ap"}
    assert exported_thresholds(litert_export / "litert-int8") == {"cosine": run[1]}


def test_the_cost_of_int8_is_what_test_measures(litert_export, run, records, tmp_path, capsys):
    folder = litert_export / "litert-int8"
    card = load_export(folder).card
    assert test.main(["--model", str(folder), "--records", str(records), "--output",
                      str(tmp_path), "--ranked-queries", "0"]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["mean_ap"] == pytest.approx(card.measured["export"]["mean_ap"], abs=1e-6)
    assert test.main(["--run", str(run[0]), "--output", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["mean_ap"] == pytest.approx(card.measured["model"]["mean_ap"], abs=1e-6)


def test_a_choice_on_test_images_stays_marked_behind_an_export(untrained, records, tmp_path,
                                                              capsys):
    pytest.importorskip("pyarrow")
    run, served = shutil.copytree(untrained[0], tmp_path / "run"), tmp_path / "served"
    save_weights(untrained[1], run / "checkpoints" / "last.weights.h5", "test")
    mark = "CHOSEN ON TEST IMAGES"
    assert export.main(["--run", str(run), "--output", str(served), "--format",
                        "saved_model,litert", "--quantize", "int8",
                        "export.calibration_images=20"]) == 0
    assert f"The weights were {mark}." in capsys.readouterr().out
    assert embed_images.main(["--model", str(served), "--input", str(records), "--output",
                              str(tmp_path / "embedded")]) == 0
    for arguments in (["--model", str(served)], ["--model", str(served / "litert-int8")],
                      ["--features", str(tmp_path / "embedded")]):
        assert test.main([*arguments, "--records", str(records), "--output", str(tmp_path / "out"),
                          "--ranked-queries", "0"]) == 0
        assert mark in capsys.readouterr().out
        found = json.loads((tmp_path / "out" / "results.json").read_text())
        assert found["weights_chosen_on"] == "test"


def test_it_takes_the_place_of_a_model(litert_export, run, files, tmp_path, capsys):
    folder = str(litert_export / "litert-float32")
    images = [str(files / name) for name in ("a.jpg", "b.jpg")]
    assert query.main(["--model", folder, *images]) == 0
    served = capsys.readouterr().out
    assert query.main(["--run", str(run[0]), *images]) == 0
    assert capsys.readouterr().out == served
    model = tfreid.load(folder)
    assert model.verify(images[:1], images[1:]).same.shape == (1,)
    np.testing.assert_allclose(
        model.distance(images, images), tfreid.load(run[0]).distance(images, images), atol=1e-4)
    pytest.importorskip("pyarrow")
    assert embed_images.main(["--model", folder, "--input", str(files), "--output",
                              str(tmp_path / "embedded")]) == 0
    refused = (tmp_path / "embedded" / "refused.csv").read_text()
    assert "short.jpg" in refused and "text.jpg" in refused and "a.jpg" not in refused


def test_opened_without_tensorflow(litert_export, files):
    """Only the runtime may be missing, which TensorFlow brings here."""
    code = f"""
import sys
sys.modules["tensorflow"] = None
from tfreid.serving import load_export
try:
    print(load_export({str(litert_export / "litert-float32")!r}).embed([{str(files / "a.jpg")!r}]))
except Exception as error:
    assert "pip install 'tfreid[litert]'" in str(error), error
assert not [name for name in sys.modules if name.startswith(("keras.", "tensorflow."))]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--format", "tflite"], "tflite is none of saved_model, litert, onnx, openvino"),
    (["--format", ""], "nothing is none of"),
    (["--quantize", "int8"], "are for device formats"),
    (["--input", "float32"], "are for device formats"),
    (["--format", "saved_model,openvino", "--quantize", "int16x8"], "openvino has no int16x8"),
    (["--format", "openvino", "--quantize", "int16x8"], "openvino has no int16x8 here, only"),
    (["--format", "litert", "--batch", "0"], "--batch"),
    (["--format", "litert", "--quantize", "int8", "export.calibration_split=val"],
     "has no split val; set export.calibration_split to one of"),
    (["--format", "litert", "model.longest_side=64"], "add model.longest_side=null"),
])
def test_mistakes_get_one_sentence(run, tmp_path, capsys, arguments, words):
    try:
        status = export.main(["--run", str(run[0]), "--output", str(tmp_path), *arguments])
    except SystemExit as error:  # of the parser
        status = error.code
    assert status == 2
    assert words in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("module", "name", "words"), [
    (litert, "litert", r"needs ai-edge-litert"), (onnx, "onnx", r"tfreid\[onnx\]"),
    (openvino, "openvino", r"tfreid\[openvino\]")])
def test_a_missing_extra_is_named(run, tmp_path, capsys, monkeypatch, module, name, words):
    for missing in (*litert._RUNTIMES, "onnx", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, missing, None)
    assert export.main(["--run", str(run[0]), "--output", str(tmp_path), "--format", name]) == 2
    message = capsys.readouterr().err
    assert "run `pip install 'tfreid[" in message and name in message
    assert not list(tmp_path.iterdir())


def test_a_format_that_differs_is_not_written(run, tmp_path, capsys, monkeypatch):
    graphs = ServedFeatures.graphs

    def wrong(self, rows, dtype):
        extract = graphs(self, rows, dtype)["extract"]
        return {"extract": extract._replace(
            function=lambda images: extract.function(images=images[:, ::-1]))}

    exporter = device_export.DeviceExporter
    original = exporter._features
    monkeypatch.setattr(ServedFeatures, "graphs", wrong)
    monkeypatch.setattr(exporter, "_features", lambda self, x: original(self, x[:, ::-1]))
    assert export.main(["--run", str(run[0]), "--output", str(tmp_path), "--format", "litert"]) == 2
    assert "differs from the trained model" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_damage_gets_one_sentence(litert_export, tmp_path, capsys, files):
    folder = shutil.copytree(litert_export / "litert-float32", tmp_path / "one")

    def refused(words):
        assert query.main(["--model", str(folder), str(files / "a.jpg"), str(files / "b.jpg")]) == 2
        assert words in capsys.readouterr().err

    card = (folder / "model.json").read_text()
    (folder / "model.json").write_text(card.replace("for tests", "changed"))
    refused("model.json is not the file that was exported")
    (folder / "checksums.json").unlink()
    for text in ("{}", card.replace('"graphs"', '"graph"'), card.replace('"images"', "3"),
                 card.replace('"height": 32', '"height": 64'),
                 card.replace('"height": 32', '"height": -32'),
                 card.replace('"dtype": "uint8"', '"dtype": "foo"')):
        (folder / "model.json").write_text(text)
        refused("model.json is not the file of an export; copy the whole folder again")
    (folder / "model.json").write_text(card.replace('"litert"', '"caffe"'))
    refused("names the format 'caffe'")
    (folder / "model.json").write_text(card.replace('"threshold": 0.4', '"threshold": "far"'))
    refused("copy the whole folder again")
    (folder / "model.json").write_text(card)
    (folder / "extract.tflite").write_bytes(b"cut")
    refused("cannot be opened by the runtime of litert")


def test_a_folder_of_device_formats_names_them(litert_export, files, capsys):
    assert query.main(["--model", str(litert_export), str(files / "a.jpg"),
                       str(files / "b.jpg")]) == 2
    assert "name one of its folders litert-float32, litert-int8" in capsys.readouterr().err


@pytest.mark.parametrize("crops", [
    np.zeros((2, 16, 16, 3), np.uint8), np.zeros((32, 16, 3), np.uint8),
    np.zeros((1, 32, 16, 3), np.float32)])
def test_crops_of_another_size_or_type_are_refused(litert_export, crops):
    with pytest.raises(tfreid.UserError, match=r"must be uint8 \['n', 32, 16, 3\], received"):
        load_export(litert_export / "litert-float32").extract_crops(crops)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_graph_that_computes_nan_is_refused(litert_export, untrained, precision, monkeypatch):
    _, model, config = untrained
    exporter = device_export.DeviceExporter(
        model, config, make_system(config).serve(model, None),
        device_export.DeviceOptions(["litert"], ["float32"], None, "uint8"))
    found = load_export(litert_export / f"litert-{precision}")
    extract = found.extract_crops
    monkeypatch.setattr(found, "extract_crops", lambda crops: {
        name: np.where(np.arange(len(x))[:, None] == 3, np.nan, x)
        for name, x in extract(crops).items()})
    with pytest.raises(tfreid.UserError, match="differs from the trained model by nan"):
        exporter._compare(found)


def test_a_loss_is_named(litert_export):
    card = load_export(litert_export / "litert-int8").card
    worse = dataclasses.replace(card, measured={
        **card.measured, "model": {"rank_1": 0.9, "mean_ap": 0.8},
        "export": {"rank_1": 0.9, "mean_ap": 0.78}})
    text = device_export.describe([device_export.Written(litert_export / "litert-int8", worse)])
    assert "loses 2.0 points of mAP; --quantize int16x8" in text
    better = dataclasses.replace(worse, measured={**worse.measured, "model": {
        "rank_1": 0.9, "mean_ap": 0.785}})
    assert "loses" not in device_export.describe(
        [device_export.Written(litert_export / "litert-int8", better)])
