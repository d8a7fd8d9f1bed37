"""Checkpoints: those that are whole are read, and nothing else is left."""

from __future__ import annotations

import shutil

import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.training import checkpoints
from tfreid.training.checkpoints import Checkpoints, saved_steps


def weight(value: float) -> tf.Module:
    module = tf.Module()
    module.weight = tf.Variable([value, value])
    return module


@pytest.fixture(params=["run", "a[1]*?"])
def folder(request, tmp_path):
    """Folder with checkpoints of steps 2 and 4, whose weights are the step."""
    path = tmp_path / request.param / "checkpoints"
    model = weight(0.0)
    saved = Checkpoints(path, 2, model=model)
    assert saved.restore() == 0
    for step in (1, 2, 4):
        model.weight.assign([step, step])
        saved.save(step)
    return path


def restored(folder, model=None) -> float:
    """Restores, and returns the weight, which is the step."""
    model = model or weight(0.0)
    step = Checkpoints(folder, 2, model=model).restore()
    assert step == model.weight.numpy()[0]
    return step


@pytest.fixture(autouse=True)
def this_keras(monkeypatch):
    """Modules without Keras's layers count as Keras 3's."""
    monkeypatch.setattr(checkpoints.keras, "__version__", "3.0")


def test_the_newest_is_restored_and_old_ones_go(folder):
    assert saved_steps(folder) == [2, 4] and restored(folder) == 4
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {
        "checkpoint", "step-2", "step-4"}
    assert (folder / "checkpoint").read_text() == 'model_checkpoint_path: "step-4"\n'


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[0] ^= 1
    path.write_bytes(content[:{"empty": 0, "cut": len(content) // 2}.get(how, len(content))])
    if how == "missing":
        path.unlink()


@pytest.mark.parametrize("how", ["empty", "cut", "flipped", "missing"])
@pytest.mark.parametrize("summed", [True, False])
def test_a_damaged_checkpoint_is_passed_over(folder, how, summed):
    """Also one without checksums, of older runs or of a process killed before it wrote them."""
    for step in (2, 4):
        if not summed:
            (folder / f"step-{step}.sums").unlink()
    damage(folder / "step-4.data-00000-of-00001", how)
    with pytest.warns(UserWarning, match="step-4.* is damaged .*an earlier checkpoint is taken"):
        assert restored(folder) == 2
    damage(folder / "step-2.index", "cut")
    with pytest.warns(UserWarning), pytest.raises(UserError, match="all checkpoints are damaged"):
        restored(folder)


def test_what_killed_processes_left_goes_with_the_next_checkpoint(folder):
    damage(folder / "step-4.index", "cut")
    (folder / "step-3_temp").mkdir()
    (folder / "step-3_temp" / "part").write_text("")
    (folder / "step-5.data-00000-of-00001").write_text("")
    (folder / "best.weights.h5").write_text("")
    model = weight(0.0)
    saved = Checkpoints(folder, 2, model=model)
    with pytest.warns(UserWarning):
        assert saved.restore() == 2
    model.weight.assign([3.0, 3.0])
    saved.save(3)
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {
        "best", "checkpoint", "step-2", "step-3"}
    assert restored(folder) == 3


def test_missing_checkpoints_are_no_new_run(folder):
    for path in folder.glob("step-*"):
        path.unlink()
    with pytest.raises(UserError, match="are missing; put them back, or start a new run"):
        restored(folder)
    shutil.rmtree(folder)
    assert Checkpoints(folder, 2, model=weight(0.0)).restore() == 0


def test_another_model_is_refused(folder):
    model = tf.Module()
    model.weight = tf.Variable([1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="step-4: the checkpoint does not fit this model"):
        Checkpoints(folder, 2, model=model).restore()


def test_the_other_stack_is_named(folder, monkeypatch):
    monkeypatch.setattr(checkpoints.keras, "__version__", "2.15.0")
    (folder / "best.weights.h5").write_text("")
    with pytest.raises(UserError, match=r"with Keras 3, and .* Keras 2: .*model\.weights="):
        restored(folder)
