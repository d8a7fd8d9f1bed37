"""Pictures of augmentation from the command line, and what is in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from tfreid.commands import visualize_augmentation
from tfreid.visualization import curriculum as pictures

AUGMENTATION = {"pad": 0, "flip_probability": 0.0, "erasing_probability": 0.0,
                "cutout_probability": 1.0, "cutout_area_end": 0.4, "cutout_epochs": 9}


@pytest.fixture
def recipe(records, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({
        "name": "grown", "system": "triplet", "training": {"epochs": 9},
        "model": {"longest_side": 64, "normalize_embedding": True, "classifier": False},
        "data": {"records": str(records), "augmentation": AUGMENTATION},
        "pretraining": "classification"}))
    return path


def test_the_schedule_and_images_of_some_epochs(recipe, tmp_path, monkeypatch):
    drawn = []
    draw = pictures.draw_curriculum
    monkeypatch.setattr(pictures, "draw_curriculum",
                        lambda *arguments: (drawn.append(arguments), draw(*arguments)))
    output = tmp_path / "out" / "curriculum.png"
    assert visualize_augmentation.main(
        ["--config", str(recipe), "--output", str(output), "--images", "3", "--columns", "3"]) == 0
    assert cv2.imread(str(output)) is not None
    (curriculum, _, name), = drawn
    assert name == "grown" and curriculum.epochs == [0, 4, 8]
    np.testing.assert_allclose(curriculum.limits, np.linspace(0, 0.4, 9))
    assert [len(row) for row in curriculum.images] == [3, 3, 3]
    for plain, *later in curriculum.images:
        assert max(plain.shape[:2]) == 64
        for image, limit in zip(later, (0.2, 0.4)):
            changed = np.mean(np.any(image != plain, axis=2))
            assert 0 < changed <= limit


def test_the_stage_before(recipe, tmp_path):
    output = tmp_path / "before.png"
    assert visualize_augmentation.main(
        ["--pretraining", "--config", str(recipe), "--output", str(output)]) == 0
    assert cv2.imread(str(output)) is not None


@pytest.mark.parametrize("more, words", [
    (["data.records=null"], "data.records is not set"),
    (["data.records=nowhere"], "nowhere"),
    (["--pretraining", "pretraining=null"], "grown has no stage before"),
])
def test_mistakes_get_one_sentence(recipe, tmp_path, capsys, more, words):
    arguments = ["--config", str(recipe), "--output", str(tmp_path / "x.png"), *more]
    assert visualize_augmentation.main(arguments) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message
