"""What every evaluation of a model gives, and what makes one while the model is trained."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from tfreid.evaluation.thresholds import Threshold
from tfreid.records import Split


class Projection(NamedTuple):
    """Features [n, d] of the first n gallery images, and the gallery."""

    features: np.ndarray
    split: Split


class Evaluation:
    """The outcome of one evaluation.

    Attributes:
        main_figure: The figure that is highest for the best weights.
    """

    main_figure: float

    def scalars(self) -> dict[str, float]:
        """Returns TensorBoard's points by tag."""
        raise NotImplementedError

    def progress(self) -> dict[str, float]:
        """Returns the figures that `progress.json` keeps."""
        raise NotImplementedError

    def headline(self) -> str:
        """Returns the figures in a few words."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """Returns what `results.json` holds."""
        raise NotImplementedError

    def projection(self) -> Projection | None:
        """Returns gallery features for TensorBoard's projector; by default None."""

    def thresholds(self) -> dict[str, Threshold] | None:
        """Returns the calibrated thresholds by metric; by default None, for none."""


class Evaluator(Protocol):
    """Tests a model, while it is trained too, with the weights it has at the moment."""

    def try_out(self) -> None:
        """Runs a tiny evaluation, so that a broken one fails before hours of training."""

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> Evaluation:
        """Evaluates with all queries, or with `max_queries` of them."""
