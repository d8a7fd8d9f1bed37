"""The converter's command line."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from tfreid.backbones import BACKBONES
from tfreid.commands import convert as convert_command
from tfreid.weights.files import read_shapes
from tfreid.weights.layouts.layout import weight_pairs
from tfreid.weights.layouts.resnet import layer_pairs


@pytest.fixture(scope="module")
def convert_weights():
    return convert_command


@pytest.fixture(scope="module")
def trunk_shapes():
    """The shapes of a ResNet-34 by PyTorch's names."""
    import keras

    from tfreid.weights.files import weight_keys

    inputs = keras.Input((None, None, 3))
    variables = weight_keys(keras.Model(inputs, BACKBONES["resnet34"](inputs)))
    shapes = {}
    for pair in (pair for layer in layer_pairs("resnet34") for pair in weight_pairs(layer)):
        shape = tuple(variables[pair.ours].shape)
        shapes[pair.theirs] = (shape[3], shape[2], *shape[:2]) if shape[1:] else shape
    return shapes


def write_checkpoint(path, trunk, neck, classifier):
    """Writes a trunk with a neck and 11 identities, as safetensors."""
    shapes = dict(trunk)
    for part in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{neck}.{part}"] = (512,)
    shapes[classifier] = (11, 512)
    header, data = {}, b""
    for key, shape in shapes.items():
        content = np.full(shape, float("bias" not in key), np.float16).tobytes()
        places = [len(data), len(data) + len(content)]
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": places}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return str(path)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, trunk_shapes):
    """A ResNet-34 of Bag of Tricks."""
    path = tmp_path_factory.mktemp("checkpoint") / "bot.safetensors"
    trunk = {f"base.{key}": shape for key, shape in trunk_shapes.items()}
    return write_checkpoint(path, trunk, "bottleneck", "classifier.weight")


def test_converted_file_and_summary(convert_weights, checkpoint, tmp_path, capsys):
    output = tmp_path / "new" / "bot.weights.h5"
    assert convert_weights.main(
        ["--arch", "resnet34", "--input", checkpoint, "--output", str(output)]
    ) == 0
    printed = capsys.readouterr().out
    assert "dropped bottleneck.bias: zero" in printed
    assert "  neck_beta: false\n" in printed and "has 11 identities" in printed
    assert "  stem: bag_of_tricks\n  last_stride: 1\n" in printed and "note" not in printed
    assert "conv1.weight -> " not in printed
    shapes = read_shapes(output)
    assert shapes["classifier/kernel"] == (512, 11) and shapes["neck/gamma"] == (512,)
    assert shapes["stem_conv/kernel"] == (7, 7, 3, 64)


def test_dry_run_with_a_recipe(convert_weights, checkpoint, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {backbone: resnet34, neck_beta: true, num_identities: 7}")
    assert convert_weights.main(
        ["model.embedding_size=64", "--arch", "resnet34", "--input", checkpoint, "--dry-run",
         "--config", str(recipe)]
    ) == 0
    printed = capsys.readouterr().out
    assert "conv1.weight -> stem_conv/kernel 7x7x3x64" in printed
    assert "left out neck/gamma: 512 in the file, 64 in the model" in printed
    assert "not in the file: fc/kernel" in printed
    assert "-> nothing written" in printed
    assert "note: the recipe has model.stem torchvision, which is another" in printed
    # The settings of the file's head are not those of the recipe's.
    assert "identities" not in printed and "neck" not in printed.partition("\nmodel:\n")[2]
    assert list(tmp_path.iterdir()) == [recipe]


@pytest.mark.parametrize("identities, status", [(None, 0), (11, 0), (7, 2)])
def test_keep_with_a_recipe(identities, status, convert_weights, checkpoint, tmp_path, capsys):
    recipe, output = tmp_path / "recipe.yaml", tmp_path / "kept.weights.h5"
    recipe.write_text(
        "model: {backbone: resnet34, stem: bag_of_tricks, num_identities: "
        f"{'null' if identities is None else identities}}}"
    )
    assert convert_weights.main(
        ["--arch", "resnet34", "--input", checkpoint, "--output", str(output),
         "--config", str(recipe), "--classifier", "keep"]
    ) == status
    printed = capsys.readouterr()
    assert output.exists() is (status == 0)
    if status:
        assert "classifier/kernel is 512x11 in the file and 512x7 in the model" in printed.err
        assert printed.err.count("\n") == 1
    else:
        assert read_shapes(output)["classifier/kernel"] == (512, 11)
        assert "has 11 identities" in printed.out


@pytest.mark.parametrize("stem, notes", [("fast_reid", 0), ("bag_of_tricks", 1)])
def test_the_stem_of_fast_reid(stem, notes, convert_weights, trunk_shapes, tmp_path, capsys):
    trunk = {f"backbone.{key}": shape for key, shape in trunk_shapes.items()}
    path = write_checkpoint(
        tmp_path / "fast.safetensors", trunk, "heads.bottleneck.0", "heads.weight"
    )
    (tmp_path / "recipe.yaml").write_text(f"model: {{backbone: resnet34, stem: {stem}}}")
    assert convert_weights.main(
        ["--arch", "resnet34", "--input", path, "--dry-run",
         "--config", str(tmp_path / "recipe.yaml")]
    ) == 0
    printed = capsys.readouterr().out
    assert "  stem: fast_reid\n  last_stride: 1\n" in printed
    assert printed.count(f"note: the recipe has model.stem {stem}") == notes


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--arch", "resnet", "--dry-run"], "--arch is resnet, and must be one of resnet34"),
        (["--arch", "resnet34", "--output", "x.h5"], "must end in .weights.h5"),
        (["--arch", "resnet34", "--dry-run", "model.neck=false"], "need --config RECIPE"),
        (["--arch", "resnet34", "--dry-run", "--config", "RECIPE"], "make them the same"),
        (["--arch", "resnet50", "--dry-run", "--config", "RECIPE"], "set it to false"),
        (["--arch", "resnet50", "--dry-run"], "its weights are those of resnet34"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments, reason, convert_weights, checkpoint, tmp_path, capsys
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {backbone: resnet50, stride_in_1x1: true}")
    arguments = [str(recipe) if item == "RECIPE" else item for item in arguments]
    assert convert_weights.main(["--input", checkpoint, *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1


def test_output_or_dry_run(convert_weights, capsys):
    with pytest.raises(SystemExit):
        convert_weights.main(["--arch", "resnet34", "--input", "x.pth"])
    assert "--output" in capsys.readouterr().err
