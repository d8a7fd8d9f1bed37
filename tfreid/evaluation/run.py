"""From weights to tables, JSON, CMC plots and ranked-list pictures, for one test set or several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfreid.data.records import decode_image, describe_records, read_encoded, split_names
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.features import Evaluator, Ranked, reranked_result
from tfreid.evaluation.pair_evaluation import ScoredPairs
from tfreid.evaluation.pair_run import evaluate_pairs, scores_pairs
from tfreid.evaluation.ranking import RankingResult, top_matches
from tfreid.evaluation.report import comparison_table, results_table, write_results_json
from tfreid.models.loading import load_embedding_model
from tfreid.settings import Config
from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists

_RERANKED = "re-ranked"


def evaluate_weights(
    config: Config, weights: str | Path, output: str | Path, ranked_queries: int = 8
) -> Ranked | ScoredPairs:
    """Evaluates weights on the test images of `data.records`, prints a table and writes files.

    Args:
        config: The settings; with `evaluation.reranking` everything is given twice, plain and
            re-ranked.
        weights: `.weights.h5` file.
        output: Folder for `results.json`, `cmc.png` and `ranked_lists.png`.
        ranked_queries: Queries in the ranked-list picture, evenly spread; 0 for no picture.

    Returns:
        The evaluation.

    Raises:
        UserError: A mistake in the settings, the weights or the records.
    """
    if config.data.records is None:
        raise UserError("data.records is not set; give the folder of the records to evaluate on.")
    if scores_pairs(config):
        return evaluate_pairs(config, weights, {Path(output): config.data.records})[Path(output)]
    # A wrong folder is told before the model is built.
    split_names(config.data.records, config.data.split)
    model, config = load_embedding_model(config, weights)
    ranked = _evaluate(Evaluator(model, config), config, weights, Path(output), ranked_queries)
    print(results_table(ranked.result, _protocol(config), ranked.reranked))
    return ranked


def evaluate_test_sets(
    config: Config,
    weights: str | Path,
    records: Sequence[str | Path],
    output: str | Path,
    ranked_queries: int = 8,
) -> dict[str, Ranked | ScoredPairs]:
    """Evaluates weights on several test sets, prints a table with a row for each, writes files.

    Args:
        config: The settings; `data.records` is not looked at.
        weights: `.weights.h5` file.
        records: Folders of records. Their names are the names of the test sets.
        output: Folder for `summary.json`, a `cmc.png` of all sets, and for each set a folder of
            its name as `evaluate_weights` fills it.
        ranked_queries: Queries in each ranked-list picture; 0 for no pictures.

    Returns:
        Name of the test set -> its evaluation.

    Raises:
        UserError: A mistake in the settings, the weights or the records.
    """
    named = _named(records)
    for folder in named.values():
        split_names(folder, config.data.split)
    output = Path(output)
    if scores_pairs(config):
        found = evaluate_pairs(config, weights, {output / name: x for name, x in named.items()})
        evaluations = {folder.name: scored for folder, scored in found.items()}
        write_results_json(output / "summary.json", {
            "name": config.name, "weights": str(weights),
            "test_sets": {name: scored.as_dict() for name, scored in evaluations.items()},
        })
        draw_cmc({name: scored.result.cmc for name, scored in evaluations.items()},
                 output / "cmc.png", stds={
                     name: scored.result.std for name, scored in evaluations.items()
                     if config.evaluation.protocol == "single_shot"})
        return evaluations
    model, config = load_embedding_model(config, weights)
    # Every evaluator is made before the first one runs: a broken set is told at once.
    prepared = {}
    for name, folder in named.items():
        data = dataclasses.replace(config.data, records=str(folder))
        settings = dataclasses.replace(config, data=data)
        prepared[name] = (Evaluator(model, settings), settings)
    evaluations = {
        name: _evaluate(evaluator, settings, weights, output / name, ranked_queries)
        for name, (evaluator, settings) in prepared.items()
    }
    rows = {row: result for name, ranked in evaluations.items()
            for row, result in _results(name, ranked).items()}
    print(comparison_table(rows))
    metric = config.evaluation.metric
    print(f"distance: {describe_metric(metric, config.evaluation.minkowski_p)}")
    write_results_json(output / "summary.json", {
        "name": config.name, "weights": str(weights), "feature": config.evaluation.feature,
        "test_sets": {name: _figures(ranked, config) for name, ranked in evaluations.items()},
    })
    _draw_curves(rows, output / "cmc.png")
    return evaluations


def _evaluate(
    evaluator: Evaluator, config: Config, weights: str | Path, output: Path, ranked_queries: int
) -> Ranked:
    """Evaluates one test set and writes its files."""
    ranked = evaluator.evaluate()
    if config.evaluation.reranking:
        result = reranked_result(ranked, config.evaluation)
        ranked = dataclasses.replace(ranked, reranked=result)
    write_results_json(output / "results.json", {
        "name": config.name, "protocol": _protocol(config), "weights": str(weights),
        "feature": config.evaluation.feature, **_figures(ranked, config),
    })
    _draw_curves(_results(config.name, ranked), output / "cmc.png")
    if ranked_queries:
        draw_ranked_lists(_rows(ranked, config, ranked_queries), output / "ranked_lists.png")
    return ranked


def _protocol(config: Config) -> str:
    return f"{describe_records(config.data.records, config.data.split)}, single query"


def _results(name: str, ranked: Ranked) -> dict[str, RankingResult]:
    """Returns the plain result under its name and, where there is one, the re-ranked."""
    reranked = {} if ranked.reranked is None else {f"{name}, {_RERANKED}": ranked.reranked}
    return {name: ranked.result, **reranked}


def _figures(ranked: Ranked, config: Config) -> dict:
    figures = ranked.result.as_dict()
    if ranked.reranked is not None:
        evaluation = config.evaluation
        figures["reranked"] = {
            "k1": evaluation.reranking_k1, "k2": evaluation.reranking_k2,
            "lambda": evaluation.reranking_lambda, **ranked.reranked.as_dict(),
        }
    return figures


def _draw_curves(results: dict[str, RankingResult], path: Path) -> None:
    draw_cmc({name: result.cmc for name, result in results.items()}, path,
             mean_aps={name: result.mean_ap for name, result in results.items()})


def _named(records: Sequence[str | Path]) -> dict[str, Path]:
    """Names each folder of records by its own name, numbered where two have the same."""
    named: dict[str, Path] = {}
    for folder in map(Path, records):
        if folder.resolve() in (known.resolve() for known in named.values()):
            raise UserError(f"{folder} is named twice; name each test set once.")
        name, number = folder.resolve().name, 1
        while name in named:
            number += 1
            name = f"{folder.resolve().name}-{number}"
        named[name] = folder
    return named


def _rows(ranked: Ranked, config: Config, count: int) -> list[RankedRow]:
    valid = np.flatnonzero(ranked.result.first_match_rank > 0)
    chosen = valid[np.unique(np.linspace(0, len(valid) - 1, min(count, len(valid))).astype(int))]
    evaluation = config.evaluation
    top = top_matches(*ranked.arrays(), chosen, metric=evaluation.metric,
                      p=evaluation.minkowski_p)
    wanted = np.unique(top.indices[top.indices >= 0])
    gallery = dict(zip(wanted.tolist(), _images(config, "gallery", wanted)))
    queries = _images(config, "query", chosen)
    rows = []
    for place, query in enumerate(chosen):
        results = [
            RankedImage(gallery[index], bool(match), int(ranked.gallery.cameras[index]), distance)
            for index, distance, match in zip(
                top.indices[place].tolist(), top.distances[place].tolist(), top.is_match[place]
            )
            if index >= 0
        ]
        identity, camera = int(ranked.query.ids[query]), int(ranked.query.cameras[query])
        rows.append(RankedRow(queries[place], identity, camera, results))
    return rows


def _images(config: Config, split: str, positions: np.ndarray) -> list[np.ndarray]:
    encoded = read_encoded(config.data.records, split, positions, config.data.split)
    return [decode_image(image).numpy() for image in encoded]
