"""What tests of several commands share: a run that was never trained, and image files."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest

from tfreid.config import Config, DataConfig, ModelConfig, save_config
from tfreid.models.embedding import build_embedding_model
from tfreid.records import Records
from tfreid.weights.files import save_weights


@pytest.fixture(scope="module")
def untrained(records, tiny_backbone, tmp_path_factory) -> tuple[Path, keras.Model, Config]:
    """A run's folder with an untrained network of one convolution, that network, its settings."""
    keras.utils.set_random_seed(3)
    config = Config(
        name="tiny",
        model=ModelConfig(backbone=tiny_backbone, height=32, width=16, num_identities=8),
        data=DataConfig(records=str(records)),
    )
    model = build_embedding_model(config.model)
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    save_config(config, folder / "config.yaml")
    save_weights(model, folder / "checkpoints" / "last.weights.h5")
    return folder, model, config


@pytest.fixture(scope="module")
def files(records, tmp_path_factory) -> Path:
    """A folder with two image files, one cut short, and one that is text."""
    folder = tmp_path_factory.mktemp("files")
    images = list(Records(records)["query"].encoded)[:2]
    for name, image in zip(("a.jpg", "b.jpg"), images):
        (folder / name).write_bytes(image)
    (folder / "short.jpg").write_bytes(images[0][: len(images[0]) // 2])
    (folder / "text.jpg").write_text("no image")
    return folder
