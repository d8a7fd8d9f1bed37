"""TensorBoard's files, which may fail to be written, but never end a training."""

from __future__ import annotations

import shutil
import warnings

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfreid.training.summaries import Summaries


def steps(folder) -> list[int]:
    events = EventAccumulator(str(folder), {"tensors": 0})
    events.Reload()
    return [event.step for event in events.Tensors("a")]


def test_a_folder_that_cannot_be_made_is_a_warning_until_it_can(tmp_path):
    (tmp_path / "run").write_text("a file in the way")
    summaries = Summaries(tmp_path / "run" / "tensorboard")
    with pytest.warns(UserWarning, match="tensorboard: files .* could not be written .*goes on"):
        summaries.scalars({"a": 1.0}, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summaries.scalars({"a": 1.0}, 2)
        (tmp_path / "run").unlink()
        summaries.scalars({"a": 1.0}, 3)
        summaries.flush()
        summaries.scalars({"a": 1.0}, 4)
        summaries.flush()
    assert steps(tmp_path / "run" / "tensorboard") == [4]


def test_a_deleted_folder_is_made_again(tmp_path):
    summaries = Summaries(tmp_path / "tensorboard")
    summaries.scalars({"a": 1.0}, 1)
    summaries.flush()
    shutil.rmtree(tmp_path / "tensorboard")
    for step in (2, 3):
        summaries.scalars({"a": 1.0}, step)
    summaries.flush()
    assert steps(tmp_path / "tensorboard") == [2, 3]


def test_a_full_disk_is_told_without_tensorflows_internals(tmp_path):
    def fail(kind, message):
        raise kind(None, None, message)

    summaries = Summaries(tmp_path)
    message = "{{function_node __wrapped}} tensorboard/x; No space left on device [Op:Flush]"
    with pytest.warns(UserWarning, match=r"\(No space left on device\); training"):
        summaries.attempt(fail, tf.errors.ResourceExhaustedError, message)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a mistake of ours"):
        summaries.attempt(fail, tf.errors.InvalidArgumentError, "a mistake of ours")
