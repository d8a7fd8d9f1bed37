"""The file that says which evaluations of a run were done."""

from __future__ import annotations

import pytest

from tfrecords.errors import UserError
from tfreid.training.trainer import EvaluationProgress


def test_it_is_read_back(tmp_path):
    path = tmp_path / "progress.json"
    assert EvaluationProgress.read(path, 3) == EvaluationProgress()
    path.write_text('{"evaluated_step": 4, "untrained": null, "best": {"step": 2}, '
                    '"best_figure": 1}')
    assert EvaluationProgress.read(path, 4) == EvaluationProgress(4, None, {"step": 2}, 1)
    # The checkpoint of step 4 is damaged, so training goes on from step 2 and evaluates step 4.
    assert EvaluationProgress.read(path, 2).evaluated_step == -1


@pytest.mark.parametrize("content", [
    "", "{", "[]", '{"best_figure": NaN}', '{"best_figure": 1e999}', '{"best_figure": "high"}',
    '{"evaluated_step": "two"}', '{"evaluated_step": 1.5}', '{"best": 3}', '{"others": 3}',
    '{"best_figure": ' + "[" * 100000 + "]" * 100000 + "}",
])
def test_a_broken_one_is_refused_before_training(tmp_path, content):
    path = tmp_path / "progress.json"
    path.write_text(content)
    with pytest.raises(UserError, match="progress.json is broken .*; delete it to evaluate again"):
        EvaluationProgress.read(path, 0)
