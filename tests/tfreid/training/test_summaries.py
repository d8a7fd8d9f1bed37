"""TensorBoard's files, which may fail to be written, but never end a training."""

from __future__ import annotations

import re
import shutil
import warnings

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfreid.evaluation.evaluator import Projection
from tfreid.training.summaries import Summaries, _thumbnail


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


class Images:
    """A split of grey images, each as bright as its position."""

    person_names, camera_names = {8: "Ann"}, {}

    def __init__(self, index):
        self.index = index

    def batches(self, size, count, positions):
        shape = (count, size.height, size.width, 3)
        yield positions, np.broadcast_to(positions[:, None, None, None], shape).astype(np.float32)


def test_the_sprite_is_a_square_grid_in_the_order_of_the_rows(make_index, tmp_path):
    index = make_index([7, 7, 8, 9, 9, 9], [1, 2, 1, 1, 2, 3])
    features = np.arange(12.0).reshape(6, 2)
    Summaries(tmp_path).projector(Projection(features, Images(index)), 5)
    sprite = cv2.imread(str(tmp_path / "gallery.png"))
    assert sprite.shape == (3 * 64, 3 * 32, 3)
    np.testing.assert_array_equal(sprite[::64, ::32, 0], [[0, 1, 2], [3, 4, 0], [0, 0, 0]])
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "gallery.tsv"), features[:5])
    assert (tmp_path / "gallery_labels.tsv").read_text().splitlines()[1:4] == [
        "7\t1", "7\t2", "Ann\t1"]
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert re.findall(r"single_image_dim: (\d+)", config) == ["32", "64"]


@pytest.mark.parametrize(("count", "size"), [
    # 8192 / 64 is 128, the most columns of whole thumbnails; 139 is the root of Market's gallery.
    (512, (64, 32)), (128**2, (64, 32)), (128**2 + 1, (63, 31)), (19_281, (58, 29)),
    (10**6, (8, 4)),
])
def test_a_sprite_is_never_larger_than_tensorboard_reads(count, size):
    columns = int(np.ceil(np.sqrt(count)))
    assert _thumbnail(columns) == size
    assert columns * max(size) <= 8192
