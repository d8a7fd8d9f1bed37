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
from tfreid.evaluation.ranking import RankingResult


def results_table(
    result: RankingResult, protocol: str = "", reranked: RankingResult | None = None
) -> str:
    """Returns a table of the scores, in percent, and of what they were measured on.

    Args:
        result: what `evaluate_ranking` returned.
        protocol: name of the dataset and of the rules, e.g. "Market-1501, single query".
        reranked: the scores after re-ranking, for a column beside the plain ones.
    """
    columns = [_scores(one) for one in (result, reranked) if one is not None]
    scores = [(name, *(f"{100 * column[name]:.2f} %" for column in columns))
              for name in columns[0]]
    if reranked is not None:
        scores.insert(0, ("", "plain", "re-ranked"))
    facts = [
        ("valid queries", f"{result.num_valid_queries:,}"),
        ("skipped queries (no valid match)", f"{result.num_skipped_queries:,}"),
        ("gallery images", f"{result.num_gallery:,}"),
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
        counts = (result.num_valid_queries, result.num_skipped_queries, result.num_gallery)
        cells.append((
            name,
            *(f"{100 * scores[head]:.2f} %" if head in scores else "-" for head in heads[1:6]),
            *(f"{count:,}" for count in counts),
        ))
    return ruled_table([[heads], cells])


def write_results_json(path: str | os.PathLike, results: RankingResult | Mapping[str, Any]) -> None:
    """Writes results as JSON, replacing the file in one step.

    Args:
        path: the file; its folder is made if it is missing.
        results: a ranking result, or a mapping of names to plain values, NumPy values, paths and
            ranking results (each written as its `as_dict()`).

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


def _plain(value: Any) -> Any:
    """Turns what `json` does not know into plain Python."""
    if isinstance(value, RankingResult):
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
