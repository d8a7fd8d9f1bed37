"""Results as text tables and JSON files, read back, and averaged over folds."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfrecords.manifest import write_json
from tfreid.config import Config, all_settings, flat, load_config
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.ranking import VARIANTS, RankingResult
from tfreid.evaluation.single_shot import SINGLE_SHOT, AveragedCmc, SingleShotResult

_RESULTS = "results.json"
_SUMMARY = "summary.json"


class SavedCurve(NamedTuple):
    """A curve with its name, and what was measured beside it.

    Attributes:
        name: for a legend.
        cmc: float64 [ranks], as fractions.
        mean_ap: the mAP; None for single-shot results, which have none.
        std: float64 [ranks], standard deviation over trials or splits; None where there are none.
    """

    name: str
    cmc: np.ndarray
    mean_ap: float | None = None
    std: np.ndarray | None = None


def read_curves(
    sources: Sequence[str | Path], labels: Sequence[str] | None = None
) -> list[SavedCurve]:
    """Reads the curves of runs, evaluations and summaries of several test sets.

    Args:
        sources: Folders with a `results.json` (or a `summary.json`), or such files.
        labels: A name for each source; None takes the name in the file, or the folder's where it
            has none. Names that several sources share are followed by the folder.

    Returns:
        The curves, in order; other ways to rank (`VARIANTS`) and several test sets each on their
        own, with the source's name before theirs. No two have one name.

    Raises:
        UserError: A source without results, results without a curve, or as many labels as not.
    """
    paths = [find_results(source) for source in sources]
    contents = [read_results(path) for path in paths]
    if labels is None:
        names = [str(content.get("name") or path.parent.resolve().name)
                 for content, path in zip(contents, paths)]
        shared = {name for name, count in Counter(names).items() if count > 1}
        names = [f"{name} ({path.parent})" if name in shared else name
                 for name, path in zip(names, paths)]
    elif len(labels) == len(paths):
        names = list(labels)
    else:
        raise UserError(f"there are {len(labels)} labels for {len(paths)} results; give one each.")
    curves = [curve for name, content, path in zip(names, contents, paths)
              for curve in _curves(name, content, path)]
    repeated = [name for name, count in Counter(c.name for c in curves).items() if count > 1]
    if repeated:
        raise UserError(f"two curves have the name {repeated[0]!r}; name results once, and give "
                        "each its own label.")
    return curves


def find_results(source: str | Path) -> Path:
    """Returns the results file that a folder holds, or that `source` is itself.

    Raises:
        UserError: There is none.
    """
    source = Path(source)
    if source.is_file():
        return source
    for name in (_RESULTS, _SUMMARY):
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source}: no results there (no {_RESULTS}); evaluate the run with "
                    "test_net.py first.")


def read_results(path: Path) -> dict[str, Any]:
    """Reads a results file.

    Raises:
        UserError: It holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a results file (no JSON object); give one of test_net.py.")
    return content


def _curves(name: str, content: dict, path: Path) -> list[SavedCurve]:
    if "test_sets" in content:
        return [curve for test_set, figures in content["test_sets"].items()
                for curve in _curves(f"{name}, {test_set}", figures, path)]
    variants = [saved_curve(f"{name}, {title}", content[key], path)
                for key, title in VARIANTS.items() if key in content]
    return [saved_curve(name, content, path), *variants]


def saved_curve(name: str, figures: dict[str, Any], path: Path) -> SavedCurve:
    """Takes the curve of one result out of the content of a results file.

    Raises:
        UserError: There is no curve of fractions, or what its protocol has beside it is missing.
    """
    try:
        cmc = np.asarray(figures["cmc"], np.float64)
        if cmc.ndim != 1 or not cmc.size or not np.all((cmc >= 0) & (cmc <= 1 + 1e-9)):
            raise ValueError("no vector of fractions")
        if figures.get("protocol") != SINGLE_SHOT:
            return SavedCurve(name, cmc, mean_ap=float(figures["mean_ap"]))
        std = np.asarray(figures["cmc_std"], np.float64)
        if std.shape != cmc.shape or not np.all(std >= 0):
            raise ValueError("no deviation for each rank")
        return SavedCurve(name, cmc, std=std)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: holds no CMC curve; evaluate again with test_net.py.") from None


_FIGURES = ("dataset", "feature", "metric", "trials", "identities")


@dataclasses.dataclass(frozen=True, eq=False)
class SplitAverage(AveragedCmc):
    """Scores over identity splits; `curves` [splits, max_rank] has each split's mean over trials.

    Attributes:
        name: of the recipe.
        splits: label of each split.
        sources: results file of each.
        identities: identities in a trial of each.
        trials: trials in each split.
        metric: what ranked.
    """

    name: str
    splits: tuple[str, ...]
    sources: tuple[Path, ...]
    identities: tuple[int, ...]
    trials: int
    metric: str

    def as_dict(self) -> dict[str, Any]:
        """Returns all as plain Python values, ready for JSON; deviations are those over splits."""
        return {
            "name": self.name,
            "protocol": SINGLE_SHOT,
            "metric": self.metric,
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
    """Averages saved single-shot results, one for each identity split.

    Every split weighs the same. A `config.yaml` beside a results file, as in a run's folder, tells
    which split it is and that the recipe is the others' too.

    Args:
        sources: Folders with a `results.json`, such as runs, or such files.

    Returns:
        The average.

    Raises:
        UserError: Fewer than two results, results that are missing, broken or not single-shot, of
            different protocols or recipes, or twice of one split.
    """
    results = [_Saved(find_results(source)) for source in sources]
    if len(results) < 2:
        raise UserError("an average over splits wants two results or more; give one run for each "
                        "split.")
    _check_distinct(results)
    for other in results[1:]:
        _check_same(results[0], other)
    return SplitAverage(
        curves=np.stack([result.curve for result in results]),
        name=results[0].name,
        splits=tuple(result.split for result in results),
        sources=tuple(result.path for result in results),
        identities=tuple(result.content["identities"] for result in results),
        trials=results[0].content["trials"],
        metric=results[0].content["metric"],
    )


class _Saved:
    """One single-shot result as it was saved, and the settings beside it where there are any."""

    def __init__(self, path: Path):
        self.path = path
        self.content = read_results(path)
        if "test_sets" in self.content:
            raise UserError(f"{path}: holds several test sets; give the results.json of one.")
        if self.content.get("protocol") != SINGLE_SHOT:
            raise UserError(f"{path}: not a single-shot result; evaluate the run with "
                            "evaluation.protocol=single_shot first.")
        if "step" in self.content:
            raise UserError(f"{path}: an evaluation made while training, with few trials; run "
                            f"test_net.py --run {path.parent} first.")
        if "splits" in self.content:
            raise UserError(f"{path}: an average over splits already; give the runs themselves.")
        self.curve = saved_curve("", self.content, path).cmc
        whole = all(isinstance(self.content.get(key), int) for key in ("trials", "identities"))
        if not whole or "metric" not in self.content:
            raise UserError(f"{path}: does not tell its trials, identities and metric; evaluate "
                            "again with test_net.py.")
        recipe = path.parent / "config.yaml"
        self.config: Config | None = load_config(recipe) if recipe.is_file() else None
        folder = path.parent.resolve().name
        self.name = str(self.content.get("name") or (self.config.name if self.config else folder))
        self.split = str(self.config.data.fold if self.config
                         else self.content.get("split", folder))

    def known_split(self) -> str | None:
        """The split, unless only the folder's name stands for it."""
        return self.split if self.config or "split" in self.content else None

    def settings(self) -> dict[str, Any]:
        """What must be the same in all runs; records by the name of their folder."""
        values = {key: value for key, value in flat(self.config).items()
                  if all_settings()[key].metadata["average"] == "same"}
        return {**values, "data.records": Path(self.config.data.records or "").name}


def _check_distinct(results: Sequence[_Saved]) -> None:
    seen: dict[Any, _Saved] = {}
    for result in results:
        if result.path.resolve() in seen:
            raise UserError(f"{result.path} is given twice; name each run once.")
        seen[result.path.resolve()] = result
        split = result.known_split()
        if split is not None and split in seen:
            raise UserError(f"{seen[split].path} and {result.path} are both of split {split}; give "
                            "one run for each split.")
        seen[split] = result


def _check_same(first: _Saved, other: _Saved) -> None:
    pairs = [(key, first.content.get(key), other.content.get(key)) for key in _FIGURES]
    pairs.append(("max_rank", len(first.curve), len(other.curve)))
    if first.config and other.config:
        # Under one recipe a split may lack a match for an identity and so have fewer of them.
        pairs = [pair for pair in pairs if pair[0] != "identities"]
        theirs = other.settings()
        pairs += [(key, value, theirs[key]) for key, value in first.settings().items()]
    for key, one, another in pairs:
        if one != another:
            raise UserError(f"{other.path} has {key} {another} and {first.path} has {one}; average "
                            "results of one protocol and one recipe.")


def results_table(
    result: RankingResult,
    protocol: str = "",
    variants: Mapping[str, RankingResult] | None = None,
) -> str:
    """Returns a table of the scores, in percent, and of what they were measured on.

    Args:
        result: what `evaluate_ranking` returned.
        protocol: name of the dataset and of the rules, e.g. "Market-1501, single query".
        variants: key of `VARIANTS` -> the scores of that way to rank, for a column beside the
            plain ones.
    """
    variants = variants or {}
    columns = [_scores(one) for one in (result, *variants.values())]
    scores = [(name, *(_percent(column[name]) for column in columns))
              for name in columns[0]]
    if variants:
        scores.insert(0, ("", "plain", *(VARIANTS[key] for key in variants)))
    mean = ", mean over queries" if result.own_galleries else ""
    facts = [
        ("valid queries", f"{result.num_valid_queries:,}"),
        ("skipped queries (no valid match)", f"{result.num_skipped_queries:,}"),
        (f"gallery {result.unit}{mean}", _gallery_size(result)),
        ("distance", describe_metric(result.metric, result.minkowski_p)),
    ]
    if protocol:
        facts.insert(0, ("protocol", protocol))
    return ruled_table([scores, facts])


def comparison_table(rows: Mapping[str, RankingResult]) -> str:
    """Returns a table with one row per test set, or per way to rank it.

    Args:
        rows: name of the row -> its scores.
    """
    heads = ("test set", "rank-1", "rank-5", "rank-10", "mAP", "mINP", "queries", "skipped",
             "gallery")
    cells = []
    for name, result in rows.items():
        scores = _scores(result)
        unit = "" if result.unit == "images" else f" {result.unit}"
        each = " a query" if result.own_galleries else ""
        cells.append((
            name,
            *(_percent(scores[head]) if head in scores else "-" for head in heads[1:6]),
            f"{result.num_valid_queries:,}", f"{result.num_skipped_queries:,}",
            f"{_gallery_size(result)}{unit}{each}",
        ))
    return ruled_table([[heads], cells])


def format_single_shot(result: SingleShotResult, protocol: str = "") -> str:
    """Returns a table of the mean scores over the trials, in percent, and of how they were made.

    Args:
        result: what `single_shot_result` returned.
        protocol: name of the dataset and of the rules, e.g. "VIPeR, split 0, single shot".
    """
    spread = result.trials > 1
    scores = [_spread_row(result, k, spread) for k in result.reported_ranks]
    if spread:
        scores.insert(0, ("", "mean", "std over trials"))
    facts = [
        ("identities in a trial", f"{result.num_identities:,}"),
        ("trials", f"{result.trials:,}"),
        ("ranked by", result.metric),
    ]
    if protocol:
        facts.insert(0, ("protocol", protocol))
    return ruled_table([scores, facts])


def format_split_average(average: SplitAverage) -> str:
    """Returns a table with a row per split, their mean and their standard deviation, in percent.

    Args:
        average: what `average_splits` returned.
    """
    ranks = average.reported_ranks
    heads = ("split", *(f"rank-{k}" for k in ranks))
    rows = [(split, *(_percent(curve[k - 1]) for k in ranks))
            for split, curve in zip(average.splits, average.curves)]
    sums = [("mean", *(_percent(average.rank(k)) for k in ranks)),
            ("std over splits", *(_percent(average.rank_std(k)) for k in ranks))]
    fewest, most = min(average.identities), max(average.identities)
    facts = [
        ("trials in each split", f"{average.trials:,}"),
        ("identities in a trial", f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"),
        ("ranked by", average.metric),
    ]
    return ruled_table([[heads], rows, sums, facts])


def write_results_json(path: str | os.PathLike, results: Any) -> None:
    """Writes results as JSON, replacing the file in one step.

    Args:
        path: the file; its folder is made if it is missing.
        results: a result (of a ranking, of single-shot trials, or their average over splits), or a
            mapping of names to plain values, NumPy values, paths and results (each written as its
            `as_dict()`).

    Raises:
        TypeError: a value has no JSON form.
        ValueError: a value is NaN or infinite.
    """
    content = json.loads(json.dumps(results, default=_plain, allow_nan=False))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def ruled_table(blocks: list[list[tuple[str, ...]]]) -> str:
    """Lays out rows of a name and values, with a rule around each block.

    Values stand at the right; rows with equally many values share their columns.
    """
    widths: dict[int, list[int]] = {}
    for row in (row for block in blocks for row in block):
        known = widths.setdefault(len(row), [0] * len(row))
        widths[len(row)] = [max(width, len(cell)) for width, cell in zip(known, row)]
    left = max(columns[0] for columns in widths.values())
    right = max(sum(columns[1:]) + 2 * len(columns[1:]) for columns in widths.values())
    rule = "-" * (left + right)
    lines = [rule]
    for block in blocks:
        for name, *values in block:
            columns = widths[len(values) + 1][1:]
            cells = (f"  {value:>{width}}" for value, width in zip(values, columns))
            lines.append(f"{name:<{left}}{''.join(cells):>{right}}")
        lines.append(rule)
    return "\n".join(lines)


def _scores(result: RankingResult) -> dict[str, float]:
    return {
        **{f"rank-{k}": result.rank(k) for k in (1, 5, 10, 20) if k <= len(result.cmc)},
        "mAP": result.mean_ap,
        "mAP (official script, trapezoids)": result.mean_ap_trapezoid,
        "mINP": result.mean_inp,
    }


def _gallery_size(result: RankingResult) -> str:
    return f"{result.num_gallery:,.1f}" if result.own_galleries else f"{result.num_gallery:,}"


def _spread_row(averaged: AveragedCmc, k: int, spread: bool) -> tuple[str, ...]:
    row = (f"rank-{k}", _percent(averaged.rank(k)))
    return (*row, _percent(averaged.rank_std(k))) if spread else row


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def _plain(value: Any) -> Any:
    """Turns what `json` does not know into plain Python."""
    if isinstance(value, (RankingResult, SingleShotResult, SplitAverage)):
        return value.as_dict()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"results hold a {type(value).__name__}, which has no JSON form")
