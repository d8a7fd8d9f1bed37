"""What chose weights: written into their file, and assumed of files from before."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.weights.choice import describe_weights, find_chosen_on, marked, valid_choice, warning
from tfreid.weights.files import read_arrays, save_arrays


@pytest.mark.parametrize("chosen_on", ["validation", "test"])
def test_the_choice_goes_wherever_the_file_is_copied(tmp_path, chosen_on):
    path = tmp_path / "copied.weights.h5"
    save_arrays({"a/b": np.ones(2)}, path, "one", chosen_on)
    assert find_chosen_on(path) == chosen_on
    np.testing.assert_array_equal(read_arrays(path)["a/b"], [1, 1])


@pytest.mark.parametrize(("settings", "chosen_on"), [
    ("name: old\n", "test"), ("data: {subset: {validation: 0.2}}\n", "validation")])
def test_best_weights_from_before_are_of_the_test_images_unless_people_were_held_out(
        tmp_path, settings, chosen_on):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").write_text(settings)
    for name in ("best", "last"):
        save_arrays({"a/b": np.ones(2)}, tmp_path / f"checkpoints/{name}.weights.h5", "one")
    assert find_chosen_on(tmp_path / "checkpoints/best.weights.h5") == chosen_on
    assert find_chosen_on(tmp_path / "checkpoints/last.weights.h5") is None


def test_only_a_choice_on_test_images_is_marked_in_plots():
    assert marked("first", "test") == "first, CHOSEN ON TEST IMAGES"
    assert marked("first", "validation") == marked("first", None) == "first"
    assert describe_weights("a/b.h5", "validation") == "b.h5, chosen on validation images"
    assert describe_weights("a/b.h5", None) == "b.h5"
    assert warning("test") == "The weights were CHOSEN ON TEST IMAGES."
    assert warning("validation") == warning(None) == ""
    assert [valid_choice(value) for value in ("test", "others", [], None)] == ["test", *[None] * 3]
