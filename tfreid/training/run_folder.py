"""The folder of one run: settings, command, checkpoints, TensorBoard, results, export."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfrecords.errors import UserError
from tfreid.config import Config, all_settings, flat, load_config, save_config, stage_config
from tfreid.config.trees import leaves
from tfreid.evaluation.thresholds import THRESHOLDS_NAME


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Paths inside one run's folder. `path` is the folder itself."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings, all of them, resolved."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Resumable checkpoints and weight files."""
        return self.path / "checkpoints"

    @property
    def best_weights(self) -> Path:
        """Weights of the best evaluation so far."""
        return self.checkpoints / "best.weights.h5"

    @property
    def last_weights(self) -> Path:
        """Weights at the end of training."""
        return self.checkpoints / "last.weights.h5"

    @property
    def progress(self) -> Path:
        """Which evaluations were done, and the best."""
        return self.checkpoints / "progress.json"

    @property
    def pretraining(self) -> Path:
        """Folder of the run of a stage before, where the system has one."""
        return self.path / "pretraining"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def results(self) -> Path:
        """Figures of the best evaluation, or of test_net.py on the run's own records."""
        return self.path / "results.json"

    @property
    def thresholds(self) -> Path:
        """Calibrated thresholds, if any."""
        return self.path / THRESHOLDS_NAME

    def weights(self, choice: str = "best") -> Path:
        """Returns a weight file: `best`, `last`, or the path of another.

        Without evaluations there is no best, and `best` means the last.

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
        raise UserError(
            f"{self.path}: the run has no {choice} weights yet; train it to an evaluation or to "
            "its end first."
        )


def start_run(path: str | Path, config: Config, command: str, resume: bool) -> RunFolder:
    """Makes the run's folder and writes the settings and the command into it.

    Args:
        path: The folder.
        config: Resolved settings.
        command: Command line; a resumed run appends to those before it.
        resume: Whether the folder may hold a run already.

    Raises:
        UserError: If the folder holds something and `resume` is false, or the resumed run's
            settings do not fit its checkpoints.
    """
    run = RunFolder(Path(path))
    if run.path.exists() and not run.path.is_dir():
        raise UserError(f"{path} is a file; choose another --output, a folder.")
    if run.path.exists() and any(run.path.iterdir()):
        if not resume:
            raise UserError(
                f"{path} is not empty; add --resume to continue the run in it, or choose another "
                "--output."
            )
        if run.config.exists():
            _check_same(load_config(run.config), config, run.path)
        else:
            raise UserError(f"{path} holds no run to resume (no config.yaml); choose another one.")
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    save_config(config, run.config)
    with open(run.path / "command.txt", "a", encoding="utf-8") as file:
        file.write(command + "\n")
    return run


def open_run(path: str | Path, overrides: Sequence[str] = ()) -> tuple[RunFolder, Config]:
    """Returns a finished or unfinished run and its settings, with overrides on top.

    Raises:
        UserError: If there is no run.
    """
    run = RunFolder(Path(path))
    if not run.config.exists():
        raise UserError(f"{path}: no run there (no config.yaml); give train_net.py's --output.")
    return run, load_config(run.config, overrides)


def _check_same(old: Config, new: Config, path: Path) -> None:
    """Refuses other values of settings that are fixed on resuming."""
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
            raise UserError(
                f"{path}: the run was started with {key}={value}, which cannot become {other} on "
                "resuming; set it back or start a new run."
            )
