"""The evaluations of a run so far, and what they choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfreid.weights.choice import TEST


def describe_selection(evaluated_on: str | None, choosing: bool) -> str:
    """Describes what the evaluations of a training are for.

    Args:
        evaluated_on: `test` or `validation` images; None if there are no evaluations.
        choosing: Whether they choose the best weights.
    """
    if evaluated_on is None:
        return "no evaluation"
    if not choosing:
        return (f"evaluations are on {evaluated_on} images and choose nothing: the last weights "
                "are the result")
    mark = ", which are then CHOSEN ON TEST IMAGES: their figures are too good"
    return (f"evaluations are on {evaluated_on} images and choose the best weights"
            + (mark if evaluated_on == TEST else ""))


@dataclasses.dataclass
class EvaluationProgress:
    """The evaluations of a run.

    Attributes:
        evaluated_step: The step of the newest.
        untrained: Figures of the untrained network.
        best: Those of the evaluation with the highest main figure, where it chooses weights.
        best_figure: That figure.
        chosen_on: Which images chose it; None also in files from before this was written.

    Raises:
        TypeError: If a value is of another type.
    """

    evaluated_step: int = -1
    untrained: dict | None = None
    best: dict | None = None
    best_figure: float | None = None
    chosen_on: str | None = None

    def __post_init__(self):
        nothing = type(None)
        for value, kinds in ((self.evaluated_step, int), (self.untrained, (dict, nothing)),
                             (self.best, (dict, nothing)),
                             (self.best_figure, (float, int, nothing)),
                             (self.chosen_on, (str, nothing))):
            if not isinstance(value, kinds):
                raise TypeError(f"{value!r} is of another type")

    @classmethod
    def read(cls, path: Path, step: int) -> EvaluationProgress:
        """Reads the file of a run, if it exists.

        Args:
            path: The file.
            step: The step that the run was restored to.

        Raises:
            UserError: If the file is broken.
        """
        fix = "delete it to evaluate again and to search for new best weights"
        content = read_json(path, fix) if path.exists() else {}
        try:
            progress = cls(**content)
        except TypeError:
            raise UserError(f"{path} is broken (not the progress of a training); {fix}.") from None
        if progress.evaluated_step > step:  # the step of a checkpoint that is damaged now
            progress.evaluated_step = -1
        return progress

    def choose_on(self, images: str) -> None:
        """Forgets a best evaluation on other images, with which no figure can be compared.

        Files from before this was written tell nothing: their images were those of today.
        """
        if self.chosen_on not in (None, images):
            self.best = self.best_figure = None
        self.chosen_on = images
