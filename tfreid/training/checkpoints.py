"""Resumable checkpoints, atomic on disk."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tfrecords.errors import UserError


class Checkpoints:
    """Saves and restores everything that training changes.

    TensorFlow writes a checkpoint under a temporary name first, so an unfinished one is never read.

    Args:
        directory: Folder of the checkpoints.
        keep: Number of checkpoints that stay on disk.
        **parts: Trackable objects, for example the model and the optimizer.

    Raises:
        UserError: If there are checkpoints, but the newest one is unknown.
    """

    def __init__(self, directory: Path, keep: int, **parts):
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._checkpoint = tf.train.Checkpoint(step=self.step, **parts)
        damaged = UserError(
            f"{directory}: the file `checkpoint`, which names the newest one, is missing or "
            "damaged; restore it, or start a new run."
        )
        try:
            self._manager = tf.train.CheckpointManager(
                self._checkpoint, str(directory), max_to_keep=keep, checkpoint_name="step"
            )
        except ValueError:
            raise damaged from None
        if self._manager.latest_checkpoint is None and any(directory.glob("step-*.index")):
            raise damaged

    def save(self, step: int) -> None:
        """Writes a checkpoint of a step, unless it exists."""
        latest = self._manager.latest_checkpoint
        if latest and latest.endswith(f"step-{step}"):
            return
        self.step.assign(step)
        try:
            self._manager.save(checkpoint_number=step)
        except tf.errors.OpError as error:
            raise UserError(f"{self._manager.directory}: the checkpoint of step {step} could not "
                            f"be written ({error.message.splitlines()[0]}); free some space and "
                            "run again with --resume.") from None

    def restore(self) -> int:
        """Restores the newest checkpoint and returns its step, or 0 if there is none.

        Raises:
            UserError: If it does not fit the model.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return 0
        try:
            self._checkpoint.restore(latest).assert_existing_objects_matched()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"{latest}: the checkpoint does not fit this model or is damaged "
                            f"({reason}); resume with its original settings.") from None
        return int(self.step.numpy())
