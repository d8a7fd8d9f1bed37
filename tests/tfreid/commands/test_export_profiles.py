"""Exports for the loaders of trackers: what those send, written out in NumPy, into the files."""

from __future__ import annotations

import ast
import dataclasses
import json

import cv2
import numpy as np
import pytest
import yaml

import tfreid
from tfreid.commands import export
from tfreid.serving import load_export
from tfreid.serving.embedding_files import model_fingerprint
from tfreid.serving.formats.card import GraphCard, ModelCard, TensorCard
from tfreid.serving.formats.profiles import PROFILES
from tfreid.serving.formats.registry import FORMATS

NEEDS = {"litert": (), "onnx": ("onnx", "tf2onnx", "onnxruntime"), "openvino": ("openvino",)}
SIZE = ["model.height=256", "model.width=128"]
# As BoxMOT normalises colours in 0-255: divided by 255, less the mean, divided by the deviation.
IMAGENET = (255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225]))
BOXES = np.array([[10.5, 20.5, 74, 180], [-5, 2, 60, 300], [61.7, 0, 99.2, 120]], np.float32)


@pytest.fixture(scope="module")
def frame():
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return cv2.resize(noise, (130, 190), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def exported(untrained, tmp_path_factory):
    """Returns a function that exports the untrained network of 256x128 once for each request."""
    found = {}

    def write(profile, name, *options):
        key = profile, name, *options
        if key not in found:
            for module in NEEDS[name]:
                pytest.importorskip(module)
            output = tmp_path_factory.mktemp("served")
            assert export.main([
                "--run", str(untrained[0]), "--output", str(output), "--format", name, "--profile",
                profile, *options, *SIZE, "export.parity_images=4"]) == 0
            found[key] = output
        return found[key]

    return write


@pytest.fixture(scope="module")
def expected(untrained, frame):
    model = tfreid.load(untrained[0], overrides=SIZE)
    return model.embed(frame, BOXES, color="bgr")


def sent(frame, mean, deviation):
    """What a loader sends for the boxes: RGB crops [n, 3, 256, 128], less a mean, divided."""
    crops = []
    for left, top, right, bottom in np.round(BOXES).astype(int).tolist():
        crop = frame[max(top, 0) : min(bottom, len(frame)), max(left, 0) : min(
            right, frame.shape[1])]
        rgb = cv2.resize(crop, (128, 256), interpolation=cv2.INTER_LINEAR)[..., ::-1]
        crops.append(((rgb - np.array(mean)) / deviation).transpose(2, 0, 1))
    return np.array(crops, np.float32)


def run_first_output(name, file, images):
    """Runs a file on images in order, as a loader that knows no names does."""
    if name == "litert":
        from tfreid.serving.formats import litert

        interpreter = litert._runtime().Interpreter(model_path=str(file))
        entrance = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(entrance, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entrance, images)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    if name == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})[0]
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([images])[compiled.outputs[0]]


@pytest.mark.parametrize("name", list(NEEDS))
def test_boxmot_gets_our_features(exported, expected, frame, name):
    folder = exported("boxmot", name) / f"boxmot-{name}-float32"
    card = load_export(folder).card
    images = sent(frame, *IMAGENET)
    file = folder / card.graphs["extract"].file
    for count in (1, 3):
        found = run_first_output(name, file, images[:count])
        np.testing.assert_allclose(found, expected[:count], atol=1e-5)
    np.testing.assert_allclose(
        tfreid.load(folder).embed(frame, BOXES, color="bgr"), expected, atol=1e-5)
    # Its loader looks for one of its models in the name, and for the format at the end.
    named = file.parent if name == "openvino" else file
    assert named.name == "tiny_like_osnet_x0_25" + {
        "litert": ".tflite", "onnx": ".onnx", "openvino": "_openvino_model"}[name]
    lines = (folder / "use_in_boxmot.py").read_text()
    assert len(lines.splitlines()) == 3 and ast.parse(lines)
    assert (folder / ast.parse(lines).body[1].value.args[0].value).exists()


def test_the_contract_is_in_the_card(exported):
    folder = exported("boxmot", "litert") / "boxmot-litert-float32"
    card = json.loads((folder / "model.json").read_text())
    assert card["graphs"]["extract"]["inputs"] == [
        {"name": "images", "shape": [None, 3, 256, 128], "dtype": "float32"}]
    assert (card["profile"], card["layout"], card["colors"], card["values"]) == (
        "boxmot", "NCHW", "RGB", [0, 255])
    assert card["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert card["deviation"] == pytest.approx([58.395, 57.12, 57.375])
    assert "rounded and clipped" in card["resize"]
    plain = exported("generic", "litert") / "litert-float32"
    card = json.loads((plain / "model.json").read_text())
    assert (card["profile"], card["layout"], card["mean"], card["deviation"]) == (
        "generic", "NHWC", [0.0] * 3, [1.0] * 3)
    assert card["graphs"]["extract"]["inputs"][0]["shape"] == [None, 256, 128, 3]
    assert {path.name for path in plain.iterdir()} == {
        "extract.tflite", "model.json", "checksums.json"}


def test_cards_from_before_there_were_profiles_are_read(exported, frame, expected, tmp_path):
    folder = exported("generic", "litert") / "litert-float32"
    card = json.loads((folder / "model.json").read_text())
    for name in ("profile", "layout", "mean", "deviation"):
        del card[name]
    (tmp_path / "model.json").write_text(json.dumps(card))
    (tmp_path / "extract.tflite").write_bytes((folder / "extract.tflite").read_bytes())
    found = tfreid.load(tmp_path).embed(frame, BOXES, color="bgr")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for name, value in (("mean", [0.0]), ("layout", "NCHW"), ("deviation", None)):
        (tmp_path / "model.json").write_text(json.dumps({**card, name: value}))
        with pytest.raises(tfreid.UserError, match="is not the file of an export"):
            load_export(tmp_path)


def test_integers_are_calibrated_on_what_the_loader_sends(exported, expected, frame):
    folder = exported("boxmot", "litert", "--quantize", "int8",
                      "export.calibration_images=20") / "boxmot-litert-int8"
    images = sent(frame, *IMAGENET)
    found = run_first_output("litert", folder / load_export(folder).card.graphs["extract"].file,
                             images)
    assert found.dtype == np.float32 and ((found * expected).sum(1) > 0.98).all()


def test_every_file_is_checked(exported, tmp_path):
    folder = exported("boxmot", "openvino") / "boxmot-openvino-float32"
    checksums = json.loads((folder / "checksums.json").read_text())
    assert set(checksums) == {
        "model.json", "use_in_boxmot.py", *(
            f"tiny_like_osnet_x0_25_openvino_model/tiny_like_osnet_x0_25.{end}"
            for end in ("xml", "bin"))}
    before = model_fingerprint(folder)
    weights = next(folder.glob("*/*.bin"))
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + b"x")
        assert model_fingerprint(folder) != before
        with pytest.raises(tfreid.UserError, match=r"\.bin is not the file that was exported"):
            load_export(folder)
    finally:
        weights.write_bytes(content)


def make_card(normalized):
    """A card as the export of a model of 512 numbers makes it, without exporting."""
    graph = GraphCard("osnet_x0_25.onnx", [TensorCard("images", [None, 3, 256, 128], "float32")],
                      [TensorCard("embedding", [None, 512], "float32")])
    others = dict.fromkeys(field.name for field in dataclasses.fields(ModelCard))
    return ModelCard(**{**others, "graphs": {"extract": graph}, "normalized": normalized})


# The fields of the ReID section as the manual and NVIDIA's commented sample explain them, and the
# values that each may have.
DEEPSTREAM = {
    "reidType": (0, 1, 2, 3),  # none, NvDeepSORT, re-association, both
    "batchSize": range(1, 1001), "workspaceSize": range(1, 100_001),  # MB
    "reidFeatureSize": [512], "reidHistorySize": range(1, 1001),
    "inferDims": [[3, 256, 128]],  # channels, height, width, since inputOrder is 0
    "networkMode": (0, 1, 2),  # float32, float16, int8
    "inputOrder": [0],  # NCHW
    "colorFormat": [0],  # RGB
    "offsets": [[0.0, 0.0, 0.0]],  # subtracted first
    "netScaleFactor": [1.0],  # then multiplied by
    "keepAspc": [0],  # the aspect ratio is not kept, as in training
    "addFeatureNormalization": (0, 1),
    "onnxFile": ["osnet_x0_25.onnx"],
}


@pytest.mark.parametrize("normalized", [True, False])
def test_the_deepstream_section_is_that_of_the_manual(normalized):
    name, text = PROFILES["deepstream"].companion(make_card(normalized))
    section, = yaml.safe_load(text).values()
    assert name == "tracker_reid.yml" and "ReID:" in text
    assert section.keys() == DEEPSTREAM.keys()
    for field, allowed in DEEPSTREAM.items():
        assert section[field] in allowed, field
    # Features of length 1 need no normalisation, others do.
    assert section["addFeatureNormalization"] == int(not normalized)


def test_deepstream_gets_our_features(exported, expected, frame):
    """With what the section says: y = netScaleFactor * (x - offsets), in the order of the axes."""
    folder = exported("deepstream", "onnx") / "deepstream-onnx-float32"
    section = yaml.safe_load((folder / "tracker_reid.yml").read_text())["ReID"]
    images = sent(frame, section["offsets"], 1 / section["netScaleFactor"])
    assert list(images.shape[1:]) == section["inferDims"]
    found = run_first_output("onnx", folder / section["onnxFile"], images)
    assert found.shape == (3, section["reidFeatureSize"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert section["onnxFile"] == "tiny.onnx"
    np.testing.assert_allclose(
        tfreid.load(folder).embed(frame, BOXES, color="bgr"), expected, atol=1e-5)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--profile", "boxmot"], "--profile are for device formats; name one"),
    (["--profile", "boxmot", "--format", "litert"],
     "32x16 pixels, and the loader of --profile boxmot makes crops of 256x128; train with "
     "model.height=256 model.width=128"),
    (["--profile", "boxmot", "--format", "litert", "--batch", "8", *SIZE], "leave out --batch"),
    (["--profile", "boxmot", "--format", "litert", "--input", "uint8", *SIZE],
     "takes images of float32; leave out --input"),
    (["--profile", "deepstream", "--format", "litert"],
     "deepstream is not for litert in float32, only for onnx in float32"),
    (["--profile", "deepstream", "--format", "onnx", "--quantize", "int8"],
     "deepstream is not for onnx in int8"),
])
def test_what_a_loader_does_not_take_is_refused(untrained, tmp_path, capsys, arguments, words):
    assert export.main(["--run", str(untrained[0]), "--output", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_models_of_pairs_are_refused():
    for name in ("boxmot", "deepstream"):
        with pytest.raises(tfreid.UserError, match="csn compares pairs of images, and a tracker"):
            PROFILES[name].check_model("csn", True, 256, 128)
    PROFILES["generic"].check_model("csn", True, 160, 60)


@pytest.mark.parametrize(("backbone", "stem"), [
    ("osnet_x0_25", "osnet_x0_25"), ("resnet50", "resnet50"), ("resnet50_ibn_a", "resnet50_ibn_a"),
    ("mobilenet_v3_large", "mobilenet_v3_large_like_osnet_x0_25"),
    ("vgg16", "vgg16_like_osnet_x0_25")])
def test_boxmot_finds_a_model_of_its_own_in_the_name(backbone, stem):
    file = PROFILES["boxmot"].file
    assert file("onnx", "extract", backbone) == file("litert", "extract", backbone) == stem
    assert file("openvino", "extract", backbone) == f"{stem}_openvino_model/{stem}"
    assert all(set(profile.formats) <= set(FORMATS) for profile in PROFILES.values())
