"""Pictures of augmentation from the command line, and what is in them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml

from tfreid.commands import visualize_augmentation
from tfreid.config import AugmentationConfig
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
    assert list(curriculum.steps) == ["none", "cutout"]
    for alone, (plain, *_) in zip(curriculum.steps["none"], curriculum.images):
        np.testing.assert_array_equal(alone, plain)  # in the first epoch nothing is cut out
    for plain, *later in curriculum.images:
        assert max(plain.shape[:2]) == 64
        for image, limit in zip(later, (0.2, 0.4)):
            changed = np.mean(np.any(image != plain, axis=2))
            assert 0 < changed <= limit


def test_every_step_that_is_on_is_shown_alone(recipe, tmp_path, monkeypatch):
    drawn = []
    draw = pictures.draw_curriculum
    monkeypatch.setattr(pictures, "draw_curriculum",
                        lambda *arguments: (drawn.append(arguments), draw(*arguments)))
    steps = AugmentationConfig().steps()
    chances = [f"data.augmentation.{step}_probability=0.1" for step in steps]
    output = tmp_path / "steps.png"
    assert visualize_augmentation.main(
        ["--config", str(recipe), "--output", str(output), "--columns", "2",
         "data.augmentation.translation=0.1", "data.augmentation.crop_area_max=0.5", *chances]) == 0
    (curriculum, _, _), = drawn
    assert list(curriculum.steps) == ["none", "shift", *steps] and len(steps) == 12
    height, width = cv2.imread(str(output)).shape[:2]
    assert width > 14 * 100 and height > 2 * 4 * 64
    plain = curriculum.steps["none"]
    np.testing.assert_array_equal(curriculum.steps["flip"][0], plain[0][:, ::-1])
    for step, images in curriculum.steps.items():
        # Of RandAugment some operations leave an image as it is.
        changed = [np.any(one != other) for one, other in zip(images, plain)]
        assert any(changed) == (step != "none"), step
    assert np.ptp(curriculum.steps["grey"][0], axis=2).max() == 0


def test_without_a_cut_out_there_is_no_schedule(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_schedule", None)
    assert visualize_augmentation.main(
        ["--config", str(recipe), "--output", str(tmp_path / "x.png"),
         "data.augmentation.cutout_probability=0"]) == 0


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
