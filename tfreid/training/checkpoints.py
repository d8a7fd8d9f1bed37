"""Resumable checkpoints, read only if they are whole."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import keras
import tensorflow as tf

from tfrecords.checksums import find_changed_file, write_checksums
from tfrecords.errors import UserError
from tfrecords.storage import remove_tree
from tfrecords.writing import write_whole
from tfreid.plain_paths import plain_path

# TensorFlow writes into `step-N_temp`, then moves its files to `step-N.index` and others.
_FILE = re.compile(r"step-(\d+)(\.|_temp)")
_STATE = "checkpoint"
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def saved_steps(directory: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder, in increasing order."""
    files = directory.iterdir() if directory.is_dir() else ()
    return sorted(int(path.stem[5:]) for path in files
                  if re.fullmatch(r"step-\d+\.index", path.name))


class Checkpoints:
    """Saves and restores everything that training changes.

    Args:
        directory: Folder of the checkpoints.
        keep: Number of checkpoints that stay on disk.
        **parts: Trackable objects, for example the model and the optimizer.
    """

    def __init__(self, directory: Path, keep: int, **parts):
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._checkpoint = tf.train.Checkpoint(step=self.step, **parts)
        self._directory, self._keep = directory, keep
        self._last: int | None = None  # the step that was saved or restored last

    def save(self, step: int) -> None:
        """Writes a checkpoint of a step, unless it exists, and removes what is left of others."""
        if step == self._last:
            return
        self.step.assign(step)
        name = f"step-{step}"
        self._directory.mkdir(parents=True, exist_ok=True)
        with plain_path(self._directory) as folder:
            self._checkpoint.write(str(folder / name))
        files = [path for path in self._directory.iterdir()
                 if path.name.startswith(f"{name}.") and path.suffix != ".sums"]
        write_checksums(self._directory / f"{name}.sums", sorted(files))
        # For TensorFlow's own functions, such as `tf.train.latest_checkpoint`.
        write_whole(self._directory / _STATE, f'model_checkpoint_path: "{name}"\n'.encode())
        self._last = step
        self._remove_others()

    def restore(self) -> int:
        """Restores the newest whole checkpoint and returns its step, or 0 if there is none.

        Raises:
            UserError: If all are damaged, or it does not fit the model.
        """
        steps = saved_steps(self._directory)
        if not steps and (self._directory / _STATE).exists():
            raise UserError(f"{self._directory}: the checkpoints (step-N.index and others) are "
                            "missing; put them back, or start a new run.")
        for step in reversed(steps):
            problem = self._problem(step)
            if problem is None:
                self._read(step)
                self._last = step
                return step
            earlier = "" if step == steps[0] else ", so an earlier checkpoint is taken"
            warnings.warn(f"{problem}{earlier}", stacklevel=2)
        if steps:
            raise UserError(f"{self._directory}: all checkpoints are damaged; put copies back, or "
                            f"start a new run{self._from_weights()}.")
        return 0

    def _problem(self, step: int) -> str | None:
        """Describes what is wrong with the files of a checkpoint, None if they are whole."""
        prefix = self._directory / f"step-{step}"
        sums = prefix.with_suffix(".sums")
        changed = find_changed_file(sums)
        if changed is not None:
            return f"{changed} is damaged (its checksum differs)"
        if not sums.exists():  # of before there were checksums, or killed before they were written
            try:
                with plain_path(self._directory) as folder:
                    reader = tf.compat.v1.train.NewCheckpointReader(str(folder / prefix.name))
                    for key in reader.get_variable_to_shape_map():
                        reader.get_tensor(key)
            except Exception as error:  # TensorFlow raises many kinds
                return f"{prefix} is damaged ({str(error).splitlines()[0]})"
        return None

    def _read(self, step: int) -> None:
        prefix = self._directory / f"step-{step}"
        with plain_path(self._directory) as folder:
            path = str(folder / prefix.name)
            graph = tf.compat.v1.train.NewCheckpointReader(path).get_tensor(_GRAPH)
            written, here = 2 if b"layer_with_weights-" in graph else 3, int(keras.__version__[0])
            if written != here:
                raise UserError(
                    f"{prefix} was written with Keras {written}, and this is Keras {here}: "
                    "checkpoints cannot be exchanged between the two TensorFlow stacks, weights "
                    "can; resume with the stack of before, or start a new run"
                    f"{self._from_weights()}.")
            try:
                # `expect_partial` keeps TensorFlow from listing what it did not find.
                status = self._checkpoint.read(path).expect_partial()
                status.assert_existing_objects_matched()
            except (AssertionError, ValueError, tf.errors.OpError) as error:
                reason = str(error).strip().splitlines()[0]
                raise UserError(f"{prefix}: the checkpoint does not fit this model ({reason}); "
                                "resume with its original settings.") from None

    def _from_weights(self) -> str:
        """Returns how a new run can take weights of this one, if it has any."""
        for name in ("last", "best"):
            path = self._directory / f"{name}.weights.h5"
            if path.exists():
                return f" with model.weights={path}"
        return ""

    def _remove_others(self) -> None:
        """Removes old and damaged checkpoints, and what killed processes left."""
        kept = [step for step in saved_steps(self._directory) if step <= self._last][-self._keep:]
        found = [(path, _FILE.match(path.name)) for path in self._directory.iterdir()]
        # The index first, without which the others are no checkpoint.
        for path, match in sorted(found, key=lambda one: one[0].suffix != ".index"):
            if match and (match[2] == "_temp" or int(match[1]) not in kept):
                if path.is_dir():
                    remove_tree(path)
                else:
                    path.unlink(missing_ok=True)
