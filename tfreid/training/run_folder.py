"""The folder of one run: settings, command, checkpoints, TensorBoard, results, export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.writing import check_name
from tfreid.config import Config, all_settings, flat, load_config, save_config, stage_config
from tfreid.config.trees import leaves
from tfreid.evaluation.thresholds import THRESHOLDS_NAME


class RunFolder:
    """Paths inside one run's folder.

    Attributes:
        path: The folder.
        config: All settings, resolved.
        checkpoints: Resumable checkpoints and weight files.
        best_weights: Weights of the best evaluation so far.
        last_weights: Weights at the end of training.
        progress: The evaluations so far and the best one.
        pretraining: Run folder of the preceding stage, if the system has one.
        tensorboard: Event files.
        results: Figures of the best evaluation, or of tfreid test on the run's records.
        thresholds: Calibrated thresholds, if any.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.best_weights = self.checkpoints / "best.weights.h5"
        self.last_weights = self.checkpoints / "last.weights.h5"
        self.progress = self.checkpoints / "progress.json"
        self.pretraining = path / "pretraining"
        self.tensorboard = path / "tensorboard"
        self.results = path / "results.json"
        self.thresholds = path / THRESHOLDS_NAME

    def weights(self, choice: str = "best") -> Path:
        """Returns a weight file: `best` (`last` if there were no evaluations), `last` or a path.

        Raises:
            UserError: If there is none yet.
        """
        if choice not in ("best", "last"):
            return Path(choice)
        candidates = [self.last_weights] if choice == "last" else [self.best_weights,
                                                                   self.last_weights]
        for path in candidates:
            if path.exists():
                return path
        raise UserError(f"{self.path}: the run has no {choice} weights yet; train it to an "
                        "evaluation or to its end first.")


def start_run(path: str | Path, config: Config, command: str, resume: bool) -> RunFolder:
    """Makes the run's folder and writes the resolved settings and the command line into it.

    Args:
        path: The folder.
        config: The settings.
        command: The command line.
        resume: Whether to continue the run in the folder.

    Raises:
        UserError: If the folder is not empty and `resume` is false, or the settings do not fit the
            resumed run.
    """
    check_name(path)
    run = RunFolder(Path(path))
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{path} is a file; choose another --output, a folder.")
    if run.path.exists() and any(run.path.iterdir()):
        if not resume:
            raise UserError(f"{path} is not empty; add --resume to continue the run in it, or "
                            "choose another --output.")
        if run.config.exists():
            _check_same(load_config(run.config), config, run.path)
        else:
            raise UserError(f"{path} has no run to resume (no config.yaml); choose another one.")
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    save_config(config, run.config)
    with open(run.path / "command.txt", "a", encoding="utf-8") as file:
        file.write(command + "\n")
    return run


def open_run(path: str | Path, overrides: Sequence[str] = ()) -> tuple[RunFolder, Config]:
    """Returns a run and its settings with overrides.

    Raises:
        UserError: If there is no run.
    """
    run = RunFolder(Path(path))
    if not run.config.exists():
        raise UserError(f"{path}: no run there (no config.yaml); give tfreid train's --output.")
    return run, load_config(run.config, overrides)


def _check_same(old: Config, new: Config, path: Path) -> None:
    """Raises a `UserError` if a setting changed that must not change on resuming."""
    changes = [(key, flat(old)[key], flat(new)[key]) for key, field in all_settings().items()
               if field.metadata["resume"] == "fixed" and key != "pretraining"]
    stages = [stage_config(config) for config in (old, new)]
    if None in stages:
        changes.append(("pretraining", old.pretraining, new.pretraining))
    else:
        keys = dict.fromkeys(".".join(key) for stage in (old.pretraining, new.pretraining)
                             for key, _ in leaves(stage))
        changes += [(f"pretraining.{key}", *(flat(stage)[key] for stage in stages))
                    for key in keys]
    for key, value, other in changes:
        if value != other:
            raise UserError(f"{path}: the run was started with {key}={value}, which cannot become "
                            f"{other} on resuming; set it back or start a new run.")
