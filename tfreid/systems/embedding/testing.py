"""From weights to tables, JSON, CMC plots and ranked-list pictures, for one test set or several."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tfrecords.errors import UserError
from tfreid.config import Config, EvaluationConfig
from tfreid.data.records import describe_records, split_names
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.features import Ranked
from tfreid.evaluation.ranked_rows import ranked_rows, spread_queries
from tfreid.evaluation.ranking import VARIANTS, RankingResult
from tfreid.evaluation.report import comparison_table, results_table, write_results_json
from tfreid.evaluation.tracklets import TRACKLETS
from tfreid.evaluation.variants import add_variants
from tfreid.models.loading import load_model
from tfreid.systems.csn.tables_and_plots import evaluate_pairs, scores_pairs
from tfreid.systems.csn.testing import ScoredPairs
from tfreid.systems.siamese.testing import make_ranker, pairs_of_test_set, verify
from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import draw_ranked_lists


def evaluate_weights(
    config: Config,
    weights: str | Path,
    output: str | Path,
    ranked_queries: int = 8,
    thresholds: Path | None = None,
) -> Ranked | ScoredPairs:
    """Evaluates weights on the test images of `data.records`, prints a table and writes files.

    Args:
        config: The settings; `evaluation.multi_query`, `expansion` and `reranking` each have
            figures of their own beside the plain ones.
        weights: `.weights.h5` file.
        output: Folder for `results.json`, `cmc.png` and `ranked_lists.png`, and of verdicts on
            pairs `roc.png` and `pair_probabilities.png`.
        ranked_queries: Queries in the ranked-list picture, evenly spread; 0 for no picture.
        thresholds: With `system: siamese`, whose verdicts on pairs are tested too, the file of
            calibrated thresholds.

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
    split_names(config.data.records, config.data.fold)
    model, config = load_model(config, weights)
    test = _TestSet(model, config, weights, Path(output), thresholds)
    ranked, _ = test.evaluate(ranked_queries)
    print(results_table(ranked.result, _protocol(ranked.result, config), ranked.variants))
    return ranked


def evaluate_test_sets(
    config: Config,
    weights: str | Path,
    records: Sequence[str | Path],
    output: str | Path,
    ranked_queries: int = 8,
    thresholds: Path | None = None,
) -> dict[str, Ranked | ScoredPairs]:
    """Evaluates weights on several test sets, prints a table with a row for each, writes files.

    Args:
        config: The settings; `data.records` is not looked at.
        weights: `.weights.h5` file.
        records: Folders of records. Their names are the names of the test sets.
        output: Folder for `summary.json`, a `cmc.png` of all sets, and for each set a folder of
            its name as `evaluate_weights` fills it.
        ranked_queries: Queries in each ranked-list picture; 0 for no pictures.
        thresholds: As in `evaluate_weights`.

    Returns:
        Name of the test set -> its evaluation.

    Raises:
        UserError: A mistake in the settings, the weights or the records.
    """
    named = _named(records)
    for folder in named.values():
        split_names(folder, config.data.fold)
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
    model, config = load_model(config, weights)
    # Every evaluator is made before the first one runs: a broken set is told at once.
    prepared = {}
    for name, folder in named.items():
        data = dataclasses.replace(config.data, records=str(folder))
        settings = dataclasses.replace(config, data=data)
        prepared[name] = _TestSet(model, settings, weights, output / name, thresholds)
    tested = {name: test.evaluate(ranked_queries) for name, test in prepared.items()}
    evaluations = {name: ranked for name, (ranked, _) in tested.items()}
    rows = {row: result for name, ranked in evaluations.items()
            for row, result in _results(name, ranked).items()}
    print(comparison_table(rows))
    metric = config.evaluation.metric
    print(f"distance: {describe_metric(metric, config.evaluation.minkowski_p)}")
    write_results_json(output / "summary.json", {
        "name": config.name, "weights": str(weights), "feature": config.evaluation.feature,
        "test_sets": {name: figures for name, (_, figures) in tested.items()},
    })
    _draw_curves(rows, output / "cmc.png")
    return evaluations


class _TestSet:
    """One test set, made ready."""

    def __init__(self, model, config: Config, weights: str | Path, output: Path,
                 thresholds: Path | None):
        self._evaluator = make_ranker(model, config)
        self._pairs = pairs_of_test_set(config) if config.system == "siamese" else None
        self._model, self._config = model, config
        self._weights, self._output, self._thresholds = weights, output, thresholds

    def evaluate(self, ranked_queries: int) -> tuple[Ranked, dict]:
        """Evaluates it, writes its files and returns the evaluation and all figures."""
        config, output = self._config, self._output
        ranked = add_variants(self._evaluator.evaluate(), self._evaluator.extract, config)
        figures = _figures(ranked, config)
        if self._pairs is not None:
            figures["verification"] = verify(
                self._model, config, self._pairs, output, self._thresholds)
        write_results_json(output / "results.json", {
            "name": config.name, "protocol": _protocol(ranked.result, config),
            "weights": str(self._weights), "feature": config.evaluation.feature, **figures,
        })
        _draw_curves(_results(config.name, ranked), output / "cmc.png")
        if ranked_queries:
            rows = ranked_rows(ranked, config, spread_queries(ranked.result, ranked_queries))
            draw_ranked_lists(rows, output / "ranked_lists.png")
        return ranked, figures


def _protocol(result: RankingResult, config: Config) -> str:
    described = f"{describe_records(config.data.records, config.data.fold)}, single query"
    if result.unit == TRACKLETS:
        described += f", tracklets ({config.evaluation.tracklet_pooling} of their images)"
    return described


def _results(name: str, ranked: Ranked) -> dict[str, RankingResult]:
    """Returns the plain result under its name, and each variant under that and its title."""
    return {name: ranked.result, **{f"{name}, {VARIANTS[key]}": result
                                    for key, result in ranked.variants.items()}}


def _figures(ranked: Ranked, config: Config) -> dict:
    variants = {key: {**_variant_settings(key, config.evaluation), **result.as_dict()}
                for key, result in ranked.variants.items()}
    return {**ranked.result.as_dict(), **variants}


def _variant_settings(key: str, evaluation: EvaluationConfig) -> dict:
    """Returns what decided the figures of a variant."""
    return {
        "multi_query": {},
        "expanded": {"query_neighbours": evaluation.expansion_query,
                     "gallery_neighbours": evaluation.expansion_gallery},
        "reranked": {"k1": evaluation.reranking_k1, "k2": evaluation.reranking_k2,
                     "lambda": evaluation.reranking_lambda},
    }[key]


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
