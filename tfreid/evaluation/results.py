"""Results as text tables and JSON files, and the curves in these files."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfrecords.storage import as_path
from tfrecords.writing import write_json
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.ranking import VARIANTS, RankingResult
from tfreid.evaluation.single_shot import SINGLE_SHOT, AveragedCmc, SingleShotResult
from tfreid.weights.choice import TEST, VALIDATION, assume_chosen_on, marked


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
        The curves, in order, with different names, which say if the weights were chosen on test
        images or the figures are of validation images; further ways to rank (`VARIANTS`) and test
        sets have curves of their own.

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
              for curve in _curves(name_with_images(name, content), content, path)]
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
    source = as_path(source)
    if source.is_file():
        return source
    for name in ("results.json", "summary.json"):
        if (source / name).is_file():
            return source / name
    raise UserError(f"{source}: no results there (no results.json); evaluate the run with "
                    "tfreid test first.")


def read_results(path: Path) -> dict[str, Any]:
    """Reads a results file.

    Raises:
        UserError: As `tfrecords.files.read_json`.
    """
    return read_json(path, "give a results file of tfreid test")


def saved_chosen_on(content: dict[str, Any]) -> str | None:
    """Returns which images chose the weights behind the content of a results file, if any did."""
    if "weights_chosen_on" in content:
        return content["weights_chosen_on"]
    if "weights" in content:
        return assume_chosen_on(str(content["weights"]))
    return TEST if "step" in content else None  # trainings of before kept their best evaluation


def name_with_images(name: str, content: dict[str, Any]) -> str:
    """Returns a name for saved figures that says what they owe to which images."""
    validation = ", validation" if content.get("evaluated_on") == VALIDATION else ""
    return marked(name + validation, saved_chosen_on(content))


def _curves(name: str, content: dict, path: Path) -> list[SavedCurve]:
    if "test_sets" in content:
        test_sets = content["test_sets"]
        if not isinstance(test_sets, dict) or not test_sets or not all(
                isinstance(figures, dict) for figures in test_sets.values()):
            raise UserError(f"{path}: its test_sets are not results; evaluate again with tfreid "
                            "test.")
        return [curve for test_set, figures in test_sets.items()
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
        raise UserError(f"{path}: has no CMC curve; evaluate again with tfreid test.") from None


def results_table(result: RankingResult, protocol: str = "",
                  variants: Mapping[str, RankingResult] | None = None, weights: str = "") -> str:
    """Returns a table of the scores of a ranking, in percent, and of their test set.

    Args:
        result: The scores.
        protocol: Name of the dataset and of the rules, e.g. "Market-1501, single query".
        variants: Key of `VARIANTS` -> the scores of that way to rank; every way has a row then.
        weights: Description of the weights, see `describe_weights`.
    """
    scores = [(name, percent(value)) for name, value in _scores(result).items()]
    if variants:
        ways = {"plain": result, **{VARIANTS[key]: one for key, one in variants.items()}}
        heads = [_HEADS.get(name, name) for name, _ in scores]
        scores = [("", *heads), *((way, *map(percent, _scores(one).values()))
                                  for way, one in ways.items())]
    mean = ", mean over queries" if result.own_galleries else ""
    facts = [
        ("valid queries", f"{result.num_valid_queries:,}"),
        ("skipped queries (no valid match)", f"{result.num_skipped_queries:,}"),
        (f"gallery {result.unit}{mean}", _gallery_size(result)),
        ("distance", describe_metric(result.metric, result.minkowski_p)),
    ]
    return ruled_table([scores, _with_origin(facts, protocol, weights)])


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
            *(percent(scores[head]) if head in scores else "-" for head in heads[1:6]),
            f"{result.num_valid_queries:,}", f"{result.num_skipped_queries:,}",
            f"{_gallery_size(result)}{unit}{each}",
        ))
    return ruled_table([[heads], cells])


def format_single_shot(result: SingleShotResult, protocol: str = "", weights: str = "") -> str:
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
    return ruled_table([scores, _with_origin(facts, protocol, weights)])


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
    path = as_path(path)
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


def _with_origin(facts, protocol: str, weights: str) -> list[tuple[str, str]]:
    origin = [("protocol", protocol), ("weights", weights)]
    return [row for row in origin if row[1]] + facts


_TRAPEZOIDS = "mAP (official script, trapezoids)"
# Shorter names for the heads of columns.
_HEADS = {_TRAPEZOIDS: "mAP, trapezoids"}


def _scores(result: RankingResult) -> dict[str, float]:
    return {
        **{f"rank-{k}": result.rank(k) for k in (1, 5, 10, 20) if k <= len(result.cmc)},
        "mAP": result.mean_ap,
        _TRAPEZOIDS: result.mean_ap_trapezoid,
        "mINP": result.mean_inp,
    }


def _gallery_size(result: RankingResult) -> str:
    return f"{result.num_gallery:,.1f}" if result.own_galleries else f"{result.num_gallery:,}"


def _spread_row(averaged: AveragedCmc, k: int, spread: bool) -> tuple[str, ...]:
    row = (f"rank-{k}", percent(averaged.rank(k)))
    return (*row, percent(averaged.rank_std(k))) if spread else row


def percent(fraction: float) -> str:
    """Formats a fraction in percent."""
    return f"{100 * fraction:.2f} %"


def _plain(value: Any) -> Any:
    """Converts what `json` does not support to plain Python."""
    if isinstance(value, (RankingResult, AveragedCmc)):
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
