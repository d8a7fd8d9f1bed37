"""Evaluation on several sources of records, each on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfreid.evaluation.evaluator import Evaluation, Evaluator, Projection
from tfreid.evaluation.results import percent, ruled_table

_TITLES = {"rank_1": "rank-1", "rank_5": "rank-5", "mean_ap": "mAP"}


@dataclasses.dataclass(frozen=True)
class SourcesEvaluation(Evaluation):
    """The evaluations of several sources, by name; what is one figure is the mean over them."""

    sources: Mapping[str, Evaluation]

    @property
    def main_figure(self) -> float:
        """The mean of the sources' main figures."""
        return float(np.mean([one.main_figure for one in self.sources.values()]))

    def scalars(self) -> dict[str, float]:
        """Returns the points of each source, whose name comes after the first part of the tag."""
        return {tag.replace("evaluation/", f"evaluation/{name}/", 1): value
                for name, one in self.sources.items() for tag, value in one.scalars().items()}

    def progress(self) -> dict[str, Any]:
        """Returns the means, and as `sources` the figures of each source."""
        figures = {name: one.progress() for name, one in self.sources.items()}
        first = next(iter(figures.values()))
        means = {name: float(np.mean([of[name] for of in figures.values()])) for name in first}
        return {**means, "sources": figures}

    def headline(self) -> str:
        """Returns the means, in percent."""
        means = ", ".join(f"{_TITLES[name]} {value:.2%}" for name, value
                          in self.progress().items() if name in _TITLES)
        of = ("{}:".format(*self.sources) if len(self.sources) == 1
              else f"mean of {len(self.sources)} sources")
        return f"{of} {means}"

    def table(self) -> str:
        """Returns a table with a row for each of several sources."""
        figures = self.progress()["sources"]
        if len(figures) == 1:
            return ""
        names = list(next(iter(figures.values())))
        rows = [(source, *(percent(of[name]) for name in names)) for source, of in figures.items()]
        return ruled_table([[("source", *(_TITLES[name] for name in names))], rows])

    def as_dict(self) -> dict[str, Any]:
        """Returns the figures of each source as those of a test set."""
        return {"test_sets": {name: one.as_dict() for name, one in self.sources.items()}}

    def projection(self) -> Projection | None:
        """Returns the gallery features of the first source."""
        return next(iter(self.sources.values())).projection()


class SourcesEvaluator:
    """Evaluates one source after the other; see `Evaluator`.

    Args:
        evaluators: Name of a source -> its evaluator; all are of images of the same kind.
    """

    def __init__(self, evaluators: Mapping[str, Evaluator]):
        self._evaluators = evaluators
        self.evaluated_on = next(iter(evaluators.values())).evaluated_on

    def try_out(self) -> None:
        """See `Evaluator`."""
        for evaluator in self._evaluators.values():
            evaluator.try_out()

    def evaluate(self, progress: bool = True, max_queries: int | None = None) -> SourcesEvaluation:
        """Evaluates each source with all its queries, or with `max_queries` of them."""
        return SourcesEvaluation({name: evaluator.evaluate(progress, max_queries)
                                  for name, evaluator in self._evaluators.items()})
