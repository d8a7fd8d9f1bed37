"""What PyTorch computed, for parity tests."""

from __future__ import annotations

import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import pytest

_FOLDER = Path(__file__).parents[2] / "golden"
_DRAWS = runpy.run_path(str(_FOLDER / "draws.py"))


@dataclass(frozen=True)
class Golden:
    """A golden file: the weights and images that its seed gives, and PyTorch's output.

    Attributes:
        state: Weights by PyTorch's names, without the classifier's.
        images: Normalised images [n, h, w, 3].
        output: Last feature map [n, h', w', c].
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
        images = _DRAWS["draw_images"](about["images"], about["seed"])
        return Golden(state, images, output, about["parameters"], feature)

    return load
