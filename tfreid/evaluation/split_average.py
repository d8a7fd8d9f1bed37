"""The average of single-shot results over identity splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config, all_settings, flat, load_config
from tfreid.evaluation.results import (
    find_results,
    percent,
    read_results,
    ruled_table,
    saved_chosen_on,
    saved_curve,
)
from tfreid.evaluation.single_shot import SINGLE_SHOT, AveragedCmc
from tfreid.weights.choice import CHOSEN, TEST, VALIDATION

_FIGURES = ("dataset", "feature", "metric", "trials", "identities")


@dataclasses.dataclass(frozen=True, eq=False)
class SplitAverage(AveragedCmc):
    """Scores over identity splits; `curves` [splits, max_rank] has each split's mean over trials.

    Attributes:
        name: Name of the recipe.
        splits: Label of each split.
        sources: Results file of each split.
        identities: Number of identities in a trial of each split.
        trials: Number of trials in each split.
        metric: Name of the scores.
        evaluated_on: Whether the figures are of `test` or of `validation` images.
        weights_chosen_on: Which images chose the weights: `test` if that is so in any split, then
            `validation`; None if none did.
    """

    name: str
    splits: tuple[str, ...]
    sources: tuple[Path, ...]
    identities: tuple[int, ...]
    trials: int
    metric: str
    evaluated_on: str = TEST
    weights_chosen_on: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns plain Python values for JSON; deviations are those over splits."""
        return {
            "name": self.name,
            "protocol": SINGLE_SHOT,
            "metric": self.metric,
            "evaluated_on": self.evaluated_on,
            "weights_chosen_on": self.weights_chosen_on,
            **self.rank_figures(),
            "splits": [
                {"split": split, "results": str(source), "identities": identities,
                 **{f"rank_{k}": float(curve[k - 1]) for k in self.reported_ranks}}
                for split, source, identities, curve in zip(self.splits, self.sources,
                                                            self.identities, self.curves)
            ],
            "trials": self.trials,
            "cmc": self.cmc.tolist(),
            "cmc_std": self.std.tolist(),
        }


def average_splits(sources: Sequence[str | Path]) -> SplitAverage:
    """Averages saved single-shot results, one for each identity split, with equal weights.

    Args:
        sources: Folders with a `results.json`, for example runs, or these files. A `config.yaml`
            beside the file determines the split, and must agree with the others.

    Raises:
        UserError: If there are fewer than two results, or results are missing, broken, not
            single-shot, of different protocols or recipes, or of the same split.
    """
    results = [_Saved(find_results(source)) for source in sources]
    if len(results) < 2:
        raise UserError("an average over splits needs two results or more; give one run for each "
                        "split.")
    _check_distinct(results)
    for other in results[1:]:
        _check_same(results[0], other)
    chosen = {saved_chosen_on(result.content) for result in results}
    return SplitAverage(
        curves=np.stack([result.curve for result in results]),
        name=results[0].name,
        splits=tuple(result.split for result in results),
        sources=tuple(result.path for result in results),
        identities=tuple(result.content["identities"] for result in results),
        trials=results[0].content["trials"],
        metric=results[0].content["metric"],
        evaluated_on=results[0].evaluated_on,
        weights_chosen_on=next((images for images in (TEST, VALIDATION) if images in chosen), None),
    )


def format_split_average(average: SplitAverage) -> str:
    """Returns a table with a row per split, their mean and their standard deviation, in percent."""
    ranks = average.reported_ranks
    heads = ("split", *(f"rank-{k}" for k in ranks))
    rows = [(split, *(percent(curve[k - 1]) for k in ranks))
            for split, curve in zip(average.splits, average.curves)]
    sums = [("mean", *(percent(average.rank(k)) for k in ranks)),
            ("std over splits", *(percent(average.rank_std(k)) for k in ranks))]
    fewest, most = min(average.identities), max(average.identities)
    facts = [
        ("trials in each split", f"{average.trials:,}"),
        ("identities in a trial", f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"),
        ("ranked by", average.metric),
        ("images", average.evaluated_on),
        ("weights", CHOSEN.get(average.weights_chosen_on, "not chosen by figures")),
    ]
    return ruled_table([[heads], rows, sums, facts])


class _Saved:
    """One single-shot result as it was saved, and the settings beside it, if any."""

    def __init__(self, path: Path):
        self.path = path
        self.content = read_results(path)
        if "test_sets" in self.content:
            raise UserError(f"{path}: contains several test sets; give the results.json of one.")
        if self.content.get("protocol") != SINGLE_SHOT:
            raise UserError(f"{path}: not a single-shot result; evaluate the run with "
                            "evaluation.protocol=single_shot first.")
        if "step" in self.content:
            raise UserError(f"{path}: an evaluation during training, with few trials; run "
                            f"tfreid test --run {path.parent} first.")
        if "splits" in self.content:
            raise UserError(f"{path}: already an average over splits; give the runs themselves.")
        self.curve = saved_curve("", self.content, path).cmc
        whole = all(isinstance(self.content.get(key), int) for key in ("trials", "identities"))
        if not whole or "metric" not in self.content:
            raise UserError(f"{path}: lacks the trials, identities or metric; evaluate again with "
                            "tfreid test.")
        self.evaluated_on = str(self.content.get("evaluated_on", TEST))
        recipe = path.parent / "config.yaml"
        self.config: Config | None = load_config(recipe) if recipe.is_file() else None
        folder = path.parent.resolve().name
        self.name = str(self.content.get("name") or (self.config.name if self.config else folder))
        self.split = str(self.config.data.fold if self.config
                         else self.content.get("split", folder))

    def settings(self) -> dict[str, Any]:
        """Returns what must be the same in all runs; records by the name of their folder."""
        values = {key: value for key, value in flat(self.config).items()
                  if all_settings()[key].metadata["average"] == "same"}
        return {**values, "data.records": " and ".join(
            Path(folder).name for folder in self.config.data.folders)}


def _check_distinct(results: Sequence[_Saved]) -> None:
    seen: dict[Any, _Saved] = {}
    for result in results:
        if result.path.resolve() in seen:
            raise UserError(f"{result.path} is given twice; name each run once.")
        seen[result.path.resolve()] = result
        # A split that is only the folder's name may be wrong.
        split = result.split if result.config or "split" in result.content else None
        if split is not None and split in seen:
            raise UserError(f"{seen[split].path} and {result.path} are both of split {split}; give "
                            "one run for each split.")
        seen[split] = result


def _check_same(first: _Saved, other: _Saved) -> None:
    pairs = [(key, first.content.get(key), other.content.get(key)) for key in _FIGURES]
    pairs += [("max_rank", len(first.curve), len(other.curve)),
              ("evaluated_on", first.evaluated_on, other.evaluated_on)]
    if first.config and other.config:
        # With one recipe, splits may differ in the number of identities that have a match.
        pairs = [pair for pair in pairs if pair[0] != "identities"]
        theirs = other.settings()
        pairs += [(key, value, theirs[key]) for key, value in first.settings().items()]
    for key, one, another in pairs:
        if one != another:
            raise UserError(f"{other.path} has {key} {another} and {first.path} has {one}; average "
                            "results of one protocol and one recipe.")
