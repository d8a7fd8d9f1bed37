"""What tests share: indices made by hand, recipes and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import load_config
from tfreid.records import SplitIndex


@pytest.fixture(scope="session")
def make_index():
    """Returns a function that makes an index of images `0.jpg`, `1.jpg` ... of some people."""

    def make(ids, cameras, tracklets=None):
        count = len(ids)
        return SplitIndex(
            np.array(ids), np.full(count, -1), np.array(cameras),
            np.array([f"{place}.jpg" for place in range(count)]),
            np.full(count, -1) if tracklets is None else np.array(tracklets),
            np.full(count, 32), np.full(count, 16),
        )

    return make


@pytest.fixture
def recipe(tmp_path):
    """Returns a function that writes a recipe and returns its path."""

    def write(text: str, name: str = "recipe.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def problem():
    """Returns a function that returns the sentence with which a recipe is refused."""

    def refuse(path, overrides=()) -> str:
        with pytest.raises(UserError) as caught:
            load_config(path, overrides)
        return str(caught.value)

    return refuse
