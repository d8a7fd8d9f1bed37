"""The file that says which evaluations of a run were done."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfreid.training.evaluations import EvaluationProgress, describe_selection


def test_it_is_read_back(tmp_path):
    path = tmp_path / "progress.json"
    assert EvaluationProgress.read(path, 3) == EvaluationProgress()
    path.write_text('{"evaluated_step": 4, "untrained": null, "best": {"step": 2}, '
                    '"best_figure": 1}')
    assert EvaluationProgress.read(path, 4) == EvaluationProgress(4, best={"step": 2},
                                                                  best_figure=1)
    # The checkpoint of step 4 is damaged, so training goes on from step 2 and evaluates step 4.
    assert EvaluationProgress.read(path, 2).evaluated_step == -1


@pytest.mark.parametrize("content", [
    "", "{", "[]", '{"best_figure": NaN}', '{"best_figure": 1e999}', '{"best_figure": "high"}',
    '{"chosen_on": 3}', '{"evaluated_step": "two"}',
    '{"evaluated_step": 1.5}', '{"best": 3}', '{"others": 3}',
    '{"best_figure": ' + "[" * 100000 + "]" * 100000 + "}",
])
def test_a_broken_one_is_refused_before_training(tmp_path, content):
    path = tmp_path / "progress.json"
    path.write_text(content)
    with pytest.raises(UserError, match="progress.json is broken .*; delete it to evaluate again"):
        EvaluationProgress.read(path, 0)


@pytest.mark.parametrize(("before", "figure"), [("validation", 0.5), (None, 0.5), ("test", None)])
def test_a_best_figure_of_other_images_is_forgotten(before, figure):
    progress = EvaluationProgress(4, best={"step": 2}, best_figure=0.5, chosen_on=before)
    progress.choose_on("validation")
    assert (progress.best_figure, progress.chosen_on) == (figure, "validation")
    assert (progress.best is None) == (figure is None)


@pytest.mark.parametrize(("images", "choosing", "words"), [
    ("validation", True, "on validation images and choose the best weights"),
    ("test", False, "on test images and choose nothing: the last weights are the result"),
    ("test", True, "CHOSEN ON TEST IMAGES: their figures are too good"),
    (None, True, "no evaluation"),
])
def test_the_log_says_what_evaluations_choose(images, choosing, words):
    assert describe_selection(images, choosing).endswith(words)
