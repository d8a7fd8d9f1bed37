"""Results of an evaluation as a text table and as a JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.manifest import write_json
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.ranking import VARIANTS, RankingResult
from tfreid.evaluation.saved_results import SplitAverage
from tfreid.evaluation.single_shot import AveragedCmc, SingleShotResult


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
