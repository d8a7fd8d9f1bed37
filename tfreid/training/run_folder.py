"""The folder of one run: settings, command, checkpoints, TensorBoard, results, export."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfrecords.storage import as_path, copy_file, copy_tree
from tfrecords.writing import (
    LOCK_NAME,
    TEMPORARY,
    check_name,
    scratch_folder,
    write_json,
    write_whole,
)
from tfreid.config import Config, all_settings, flat, load_config, save_config, stage_config
from tfreid.config.trees import leaves
from tfreid.evaluation.thresholds import THRESHOLDS_NAME
from tfreid.weights.choice import BEST_NAME, VALIDATION, find_chosen_on


class RunFolder:
    """The folder of one run: its paths, and its start.

    Args:
        path: The folder.
        outer: The run that this one is a stage of, if any.

    Attributes:
        path: The folder.
        config: All settings, resolved.
        checkpoints: Resumable checkpoints and weight files.
        best_weights: Weights of the best evaluation so far, where evaluations choose weights.
        last_weights: Weights at the end of training.
        progress: The evaluations so far and the best one.
        identities: Number and fingerprint of the training identities.
        pretraining: Run folder of the preceding stage, if the system has one.
        section: What the names of its settings begin with: `pretraining.` in a preceding stage.
        tensorboard: Event files.
        results: Figures of the best evaluation, or of the newest where none is chosen, or of tfreid
            test on the run's records.
        thresholds: Calibrated thresholds, if any.
    """

    def __init__(self, path: str | Path, outer: RunFolder | None = None):
        self.path = path = as_path(path)
        self._outer = outer
        self.section = "" if outer is None else "pretraining."
        self._started: dict[Path, Callable[[Path], None]] = {}
        self.config = path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.best_weights = self.checkpoints / BEST_NAME
        self.last_weights = self.checkpoints / "last.weights.h5"
        self.progress = self.checkpoints / "progress.json"
        self.identities = self.checkpoints / "identities.json"
        self.pretraining = path / "pretraining"
        self.tensorboard = path / "tensorboard"
        self.results = path / "results.json"
        self.thresholds = path / THRESHOLDS_NAME

    def check_usable(self, resume: bool) -> None:
        """Checks that a run can start in the folder, or be resumed.

        What a start leaves that was killed before it wrote `config.yaml` counts as nothing.

        Raises:
            UserError: If the folder is a file or not empty, or has no run to resume.
        """
        path = self.path
        check_name(path)
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; choose another --output, a folder.")
        if not path.exists() or all(map(_left_by_a_start, path.iterdir())):
            return
        if not self.config.exists():
            raise UserError(f"{path} is not empty and has no run to resume (no config.yaml); "
                            "choose another --output.")
        if not resume:
            raise UserError(f"{path} is not empty; add --resume to continue the run in it, or "
                            "choose another --output.")

    def check_settings(self, config: Config) -> None:
        """Raises a `UserError` if the settings do not fit the run in the folder, if any."""
        if self.config.exists():
            _check_same(load_config(self.config), config, self)

    def start(self, config: Config, identities: dict[str, Any],
              command: str | None = None) -> None:
        """Writes the resolved settings and what is known of the identities.

        Args:
            config: The settings.
            identities: See `describe_identities`.
            command: A line for `command.txt`.
        """
        self._started = {self.config: functools.partial(save_config, config),
                         self.identities: lambda path: write_json(path, identities)}
        for path, write in self._started.items():
            write(path)
        if command is not None:
            commands = self.path / "command.txt"
            before = commands.read_bytes() if commands.exists() else b""
            write_whole(commands, before + f"{command}\n".encode())

    def restore_files(self) -> None:
        """Writes what `start` wrote again if somebody deleted it, so that the run can resume."""
        for path, write in self._started.items():
            if not path.exists():
                warnings.warn(f"{path} was deleted during training and is written again",
                              stacklevel=2)
                write(path)
        if self._outer is not None:
            self._outer.restore_files()

    def weights(self, choice: str | None = None) -> Path:
        """Returns a weight file: `best`, `last`, a path, or by default the result of the run.

        That is the best weights if validation images chose them, else the last ones; in a run that
        has not ended and chose on test images, its best ones.

        Raises:
            UserError: If there is none yet.
        """
        if choice not in (None, "best", "last"):
            return as_path(choice)
        best, last = self.best_weights, self.last_weights
        if choice is not None:
            candidates = [best if choice == "best" else last]
        elif best.exists() and find_chosen_on(best) == VALIDATION:
            candidates = [best]
        else:
            candidates = [last, best]
        for path in candidates:
            if path.exists():
                return path
        if choice == "best" and last.exists():
            raise UserError(f"{self.path}: the run has no best weights, since it held nobody out "
                            "(data.subset.validation) to choose them on; take the last ones.")
        raise UserError(f"{self.path}: the run has no {choice or 'last'} weights yet; train it to "
                        "its end with tfreid train --resume (training.max_steps=N ends it at N "
                        "steps).")


def open_run(path: str | Path, overrides: Sequence[str] = ()) -> tuple[RunFolder, Config]:
    """Returns a run and its settings with overrides.

    Raises:
        UserError: If there is no run.
    """
    run = RunFolder(as_path(path))
    if not run.config.exists():
        raise UserError(f"{path}: no run there (no config.yaml); give tfreid train's --output.")
    return run, load_config(run.config, overrides)


@contextlib.contextmanager
def private_copy(path: Path, resume: bool) -> Iterator[Path]:
    """Gives a process that trains with the writer of a run a folder of its own, for a while.

    Args:
        path: The run's folder.
        resume: Whether it gets what is needed to resume the run, if there is one.

    Yields:
        The folder, which is removed at the end.
    """
    with scratch_folder("training") as own:
        for stage in (".", "pretraining") if resume else ():
            theirs, ours = RunFolder(path / stage), RunFolder(own / stage)
            if theirs.config.exists():
                copy_tree(theirs.checkpoints, ours.checkpoints)
                copy_file(theirs.config, ours.config)
        yield own


def _left_by_a_start(path: Path) -> bool:
    return (path.name.startswith((LOCK_NAME, TEMPORARY, "config.yaml.tmp"))
            or path.name == "checkpoints" and path.is_dir() and not any(path.iterdir()))


def _check_same(old: Config, new: Config, folder: RunFolder) -> None:
    """Raises a `UserError` if a setting changed that must not change on resuming."""
    free = {key for key, field in all_settings().items() if field.metadata["resume"] == "free"}
    values, others = flat(old), flat(new)
    changes = [(key, values[key], others[key]) for key in values
               if key not in free and key != "pretraining"]
    stages = [stage_config(config) for config in (old, new)]
    if None in stages:
        changes.append(("pretraining", old.pretraining, new.pretraining))
    else:
        # Of a stage that has ended, what is free to change would change nothing, but where its
        # records are. What is null in the new settings alone is derived from these.
        ended = RunFolder(folder.pretraining).last_weights.exists()
        free = {key for key in free if key.startswith("data.") or not ended}
        values, others = map(flat, stages)
        before, after = ([".".join(key) for key, _ in leaves(config.pretraining)]
                         for config in (old, new))
        changes += [(f"pretraining.{key}", values[key], others[key])
                    for key in dict.fromkeys(before + after) if key not in free
                    and (key in before or others[key] is not None)]
    for key, value, other in changes:
        if value != other:
            raise UserError(f"{folder.path}: the run was started with {key}={value}, which cannot "
                            f"become {other} on resuming; set it back or start a new run.")
