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


class SavedCurve(NamedTuple):
    """A named CMC curve, with the mAP or the deviation of its protocol.

    Attributes:
        name: Name in a legend.
        cmc: float64 [ranks], as fractions.
        mean_ap: The mAP, or None for single-shot results.
        std: float64 [ranks], standard deviation over trials or splits, or None.
    """

    name: str
    cmc: np.ndarray
    mean_ap: float | None = None
    std: np.ndarray | None = None


def read_curves(sources: Sequence[str | Path],
                labels: Sequence[str] | None = None) -> list[SavedCurve]:
    """Reads the curves of runs, evaluations and summaries of several test sets.

    Args:
        sources: Folders with a `results.json` (or a `summary.json`), or these files.
        labels: A name for each source. Defaults to the name in the file or of the folder; the
            folder is appended to names that several sources share.

    Returns:
        The curves, in order, with different names; further ways to rank (`VARIANTS`) and test sets
        have curves of their own.

    Raises:
        UserError: If a source has no results or no curve, or the number of labels is wrong.
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
        raise UserError(f"two curves have the name {repeated[0]!r}; give each result once, with a "
                        "label of its own.")
    return curves


def find_results(source: str | Path) -> Path:
    """Returns the results file in a folder, or `source` if it is a file.

    Raises:
        UserError: If there is none.
    """
    source = Path(source)
    if source.is_file():
        return source
    for name in ("results.json", "summary.json"):
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source}: no results there (no results.json); evaluate the run with "
                    "test_net.py first.")


def read_results(path: Path) -> dict[str, Any]:
    """Reads a results file.

    Raises:
        UserError: If it is not a JSON object.
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
    """Returns the curve of one result in a results file.

    Raises:
        UserError: If the curve, or the mAP or deviation of its protocol, is missing or broken.
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
        raise UserError(f"{path}: has no CMC curve; evaluate again with test_net.py.") from None


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
    """

    name: str
    splits: tuple[str, ...]
    sources: tuple[Path, ...]
    identities: tuple[int, ...]
    trials: int
    metric: str

    def as_dict(self) -> dict[str, Any]:
        """Returns plain Python values for JSON; deviations are those over splits."""
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
                            f"test_net.py --run {path.parent} first.")
        if "splits" in self.content:
            raise UserError(f"{path}: already an average over splits; give the runs themselves.")
        self.curve = saved_curve("", self.content, path).cmc
        whole = all(isinstance(self.content.get(key), int) for key in ("trials", "identities"))
        if not whole or "metric" not in self.content:
            raise UserError(f"{path}: lacks the trials, identities or metric; evaluate again with "
                            "test_net.py.")
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
        return {**values, "data.records": Path(self.config.data.records or "").name}


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
    pairs.append(("max_rank", len(first.curve), len(other.curve)))
    if first.config and other.config:
        # With one recipe, splits may differ in the number of identities that have a match.
        pairs = [pair for pair in pairs if pair[0] != "identities"]
        theirs = other.settings()
        pairs += [(key, value, theirs[key]) for key, value in first.settings().items()]
    for key, one, another in pairs:
        if one != another:
            raise UserError(f"{other.path} has {key} {another} and {first.path} has {one}; average "
                            "results of one protocol and one recipe.")


def results_table(result: RankingResult, protocol: str = "",
                  variants: Mapping[str, RankingResult] | None = None) -> str:
    """Returns a table of the scores of a ranking, in percent, and of their test set.

    Args:
        result: The scores.
        protocol: Name of the dataset and of the rules, e.g. "Market-1501, single query".
        variants: Key of `VARIANTS` -> the scores of that way to rank, for further columns.
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
    return ruled_table([scores, _with_protocol(facts, protocol)])


def comparison_table(rows: Mapping[str, RankingResult]) -> str:
    """Returns a table with a row for each name in `rows`, a test set or a way to rank it."""
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
    """Returns a table of the mean scores over the trials, in percent; see `results_table`."""
    spread = result.trials > 1
    scores = [_spread_row(result, k, spread) for k in result.reported_ranks]
    if spread:
        scores.insert(0, ("", "mean", "std over trials"))
    facts = [
        ("identities in a trial", f"{result.num_identities:,}"),
        ("trials", f"{result.trials:,}"),
        ("ranked by", result.metric),
    ]
    return ruled_table([scores, _with_protocol(facts, protocol)])


def format_split_average(average: SplitAverage) -> str:
    """Returns a table with a row per split, their mean and their standard deviation, in percent."""
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
    """Writes results as JSON, replacing the file in one step and making its folder if needed.

    Args:
        path: The file.
        results: A result of this package, written as its `as_dict()`, or a mapping to results,
            plain or NumPy values and paths.

    Raises:
        TypeError: If a value has no JSON form.
        ValueError: If a value is NaN or infinite.
    """
    content = json.loads(json.dumps(results, default=_plain, allow_nan=False))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def ruled_table(blocks: list[list[tuple[str, ...]]]) -> str:
    """Lays out rows of a name and right-aligned values, with a rule around each block.

    Rows with equally many values share their columns.
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


def _with_protocol(facts, protocol: str) -> list[tuple[str, str]]:
    return [("protocol", protocol), *facts] if protocol else facts


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
    """Converts what `json` does not support to plain Python."""
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
    raise TypeError(f"results contain a {type(value).__name__}, which has no JSON form")
