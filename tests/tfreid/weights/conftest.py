"""What PyTorch computed, for parity tests, and writers of its files."""

from __future__ import annotations

import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.backbones import BACKBONES
from tfreid.weights.checkpoints import read_state_dict
from tfreid.weights.convert import convert_state
from tfreid.weights.files import weight_keys

_FOLDER = Path(__file__).parents[2] / "golden"
_DRAWS = runpy.run_path(str(_FOLDER / "draws.py"))
_FILES = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("checkpoint_files.py"))))


@dataclass(frozen=True)
class Golden:
    """A golden file: the weights and images that its seed gives, and PyTorch's output.

    Attributes:
        state: Weights by PyTorch's names; those of a backbone are without the classifier's.
        images: Normalised images [n, h, w, 3]; of a whole network, crops of 0-255.
        output: Last feature map [n, h', w', c]; of a whole network, the feature [n, c] of its neck.
        parameters: Trainable weights of the ImageNet classifier.
        feature: Embedding [n, d] of the authors' head, for OSNet.
    """

    state: dict[str, np.ndarray]
    images: np.ndarray
    output: np.ndarray
    parameters: int
    feature: np.ndarray | None


@pytest.fixture(scope="session")
def draw_state() -> Callable[..., dict[str, np.ndarray]]:
    """The function from names, shapes and a seed to a PyTorch state dictionary."""
    return _DRAWS["draw_state"]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """The function from the name of a golden file to its content."""

    def load(name):
        with np.load(_FOLDER / f"{name}.npz") as file:
            about, output = json.loads(str(file["about"])), file["output"]
            feature = file.get("feature")
        weights = about["weights"]
        state = _DRAWS["draw_state"](list(weights), list(weights.values()), about["seed"])
        draw = _DRAWS["draw_images" if output.ndim == 4 else "draw_crops"]
        images = draw(about["images"], about["seed"])
        return Golden(state, images, output, about["parameters"], feature)

    return load


@pytest.fixture(scope="session")
def check_parity(golden) -> Callable[..., tuple[int, int]]:
    """The function that holds a backbone, and heads by their golden output, to PyTorch's output.

    Values may differ by 1e-4 of the largest one, or of `most`, if that is less. The function
    returns the trainable weights of our model, and those of PyTorch's ImageNet classifier.
    """

    def check(name, most=np.inf, **heads):
        recorded = golden(name)
        images = keras.Input(recorded.images.shape[1:])
        features = BACKBONES[name](images)
        outputs = {"output": features, **{key: head(features) for key, head in heads.items()}}
        model = keras.Model(images, outputs)
        variables, conversion = weight_keys(model), convert_state(recorded.state, name)
        assert conversion.weights.keys() == variables.keys()
        assert set(conversion.sources.values()) == recorded.state.keys()
        for key, variable in variables.items():
            variable.assign(conversion.weights[key])
        for key, actual in model(recorded.images, training=False).items():
            expected = getattr(recorded, key)
            # The values of a ResNet-152 reach 113.
            tolerance = 1e-4 * np.clip(np.abs(expected).max(), None, most)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
        trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        return trainable, recorded.parameters

    return check


@pytest.fixture
def files(monkeypatch) -> SimpleNamespace:
    """The content of `checkpoint_files.py`."""
    _FILES.name_torch(monkeypatch)
    return _FILES


@pytest.fixture(params=_FILES.WRITERS)
def write(request, files) -> Callable[..., Path]:
    """The function that writes a pickled checkpoint, once for each of PyTorch's formats."""
    return files.WRITERS[request.param]


@pytest.fixture
def sentence() -> Callable[[Path], str]:
    """The function that reads a bad file and returns the sentence, which must be one."""

    def read(path):
        with pytest.raises(UserError) as error:
            read_state_dict(path)
        message = str(error.value)
        assert message.startswith(str(path)) and message.endswith(".") and "\n" not in message
        return message[len(str(path)) + 1 :]

    return read
