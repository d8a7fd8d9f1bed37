"""From a model to tables, JSON, CMC plots and ranked-list pictures, for one or more test sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfrecords.storage import as_path
from tfreid.config import Config, EvaluationConfig
from tfreid.evaluation.distances import describe_metric
from tfreid.evaluation.evaluator import Evaluator, GalleryEvaluator, Ranked
from tfreid.evaluation.features import FeatureSource
from tfreid.evaluation.picture_images import ranked_rows, spread_queries
from tfreid.evaluation.pooling import (
    MULTI_QUERY,
    TRACKLETS,
    expand_features,
    pool_blocks,
    query_groups,
)
from tfreid.evaluation.protocol import check_spread
from tfreid.evaluation.ranking import VARIANTS, RankingResult, evaluate_distances, evaluate_ranking
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.evaluation.results import (
    comparison_table,
    format_single_shot,
    results_table,
    write_results_json,
)
from tfreid.evaluation.scoring import Scored
from tfreid.records import JoinedRecords, Records, open_records
from tfreid.records.sources import name_folders
from tfreid.serving.client import exported_chosen_on
from tfreid.serving.interface import Client
from tfreid.serving.stored_embeddings import StoredEmbeddings, stored_chosen_on
from tfreid.systems.exported import ExportedFeatures
from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import draw_ranked_lists
from tfreid.weights.choice import TEST, describe_weights, find_chosen_on, marked, warning

# Figures beside those of the ranking.
Further = Callable[[], dict[str, Any]]


class TestSet(NamedTuple):
    """Name, records and output folder of one set of test images."""

    name: str
    records: Records
    output: Path


class TestSets:
    """One or several sets of test images; several share a table, a `summary.json` and a CMC plot.

    Args:
        config: The settings.
        weights: The weight file; tables, files and plots say if test images chose it.
        output: Folder for `results.json`, `cmc.png` and `ranked_lists.png`; of several sets, for
            `summary.json`, a shared `cmc.png` and a folder for each of them.
        records: Folders of records. Defaults to those of `data.records` that are tested; see
            `JoinedRecords`.
        chosen_on: Which images chose the weights, where the file cannot say so.

    Raises:
        UserError: If there are no records, or a set is named twice.
    """

    def __init__(self, config: Config, weights: str | Path, output: str | Path,
                 records: Sequence[str | Path] = (), chosen_on: str | None = None):
        self._config, self._weights, self._output = config, str(weights), as_path(output)
        self._chosen_on = chosen_on or find_chosen_on(weights)
        self._described = describe_weights(weights, self._chosen_on)
        self._several = len(records) > 1 or (not records and config.data.tests_several)
        # Fails for a wrong folder, before the model is built.
        self._sets = [TestSet(name, opened, self._output / name if self._several else self._output)
                      for name, opened in self._open(records).items()]

    def _open(self, records: Sequence[str | Path]) -> dict[str, Records]:
        """Opens the records by the names of the test sets."""
        data = self._config.data
        if records:
            opened = {name: open_records(dataclasses.replace(data, records=folder))
                      for name, folder in name_folders(records).items()}
        elif len(data.folders) > 1:
            opened = JoinedRecords(data).tested
            if not opened:
                raise UserError(f"{data.named} hold no query and gallery to test on; name others "
                                "by --records.")
        else:
            opened = {"": open_records(data)}
        return opened if self._several else {self._config.name: next(iter(opened.values()))}

    def rank(self, prepare: Callable[[TestSet], tuple[GalleryEvaluator, Further]],
             ranked_queries: int) -> dict[str, Ranked]:
        """Ranks the gallery of each set by features, prints a table and writes the files.

        Args:
            prepare: Makes a set's evaluator and the function for its further figures; called for
                all sets before the first is evaluated, to fail fast.
            ranked_queries: Queries in each ranked-list picture, evenly spread; 0 for no pictures.

        Returns:
            Name of the set -> its evaluation.
        """
        prepared = [(test_set, *prepare(test_set)) for test_set in self._sets]
        evaluations, figures, curves, config = {}, {}, {}, self._config
        for (name, _, output), evaluator, further in prepared:
            ranked = evaluator.evaluate()
            check_spread(ranked.gallery_features)
            ranked = add_variants(ranked, evaluator.extract, config)
            figures[name] = {**_figures(ranked, config.evaluation), **further()}
            write_results_json(output / "results.json", {
                "name": config.name, "protocol": _ranking_protocol(ranked, config),
                **self._origin(), "feature": config.evaluation.feature, **figures[name],
            })
            _draw_curves(_named_results(self._marked(config.name), ranked), output / "cmc.png")
            if ranked_queries:
                rows = ranked_rows(ranked, config, spread_queries(ranked.result, ranked_queries))
                draw_ranked_lists(rows, output / "ranked_lists.png",
                                  remark=warning(self._chosen_on))
            evaluations[name] = ranked
            curves.update(_named_results(self._marked(name), ranked))
        if not self._several:
            print(results_table(ranked.result, _ranking_protocol(ranked, config),
                                ranked.variants, self._described))
            return evaluations
        evaluation = config.evaluation
        print(comparison_table(curves))
        print(f"weights: {self._described}")
        print(f"distance: {describe_metric(evaluation.metric, evaluation.minkowski_p)}")
        self._write_summary(figures, feature=evaluation.feature)
        _draw_curves(curves, self._output / "cmc.png")
        return evaluations

    def score(self, make_evaluator: Callable[[Records], Evaluator]) -> dict[str, Scored]:
        """Evaluates each set by scores of pairs, prints a table for each and writes the files.

        Args:
            make_evaluator: Makes the evaluator of a set's records; called for all sets before the
                first is evaluated, to fail fast.

        Returns:
            Name of the set -> its evaluation.
        """
        evaluations, spreads, config = {}, {}, self._config
        title = self._marked(config.name)
        prepared = [(test_set, make_evaluator(test_set.records)) for test_set in self._sets]
        for (name, records, output), evaluator in prepared:
            scored = evaluations[name] = evaluator.evaluate()
            result, dataset = scored.result, records.description
            if isinstance(result, RankingResult):
                protocol = f"{dataset}, single query, shortlist"
                print(results_table(result, protocol, weights=self._described))
                beside = {"mean_aps": {title: result.mean_ap}}
            else:
                protocol = f"{dataset}, single shot"
                print(format_single_shot(result, protocol, self._described))
                spreads[self._marked(name)] = result.std
                beside = {"stds": {title: result.std}}
            write_results_json(output / "results.json", {
                "name": config.name, "protocol": protocol, "dataset": records.dataset,
                "split": records.fold, **self._origin(), **scored.as_dict(),
            })
            draw_cmc({title: result.cmc}, output / "cmc.png", **beside)
        if self._several:
            self._write_summary({name: scored.as_dict() for name, scored in evaluations.items()})
            draw_cmc({self._marked(name): one.result.cmc for name, one in evaluations.items()},
                     self._output / "cmc.png", stds=spreads)
        return evaluations

    def _write_summary(self, figures: dict[str, dict], **facts) -> None:
        write_results_json(self._output / "summary.json", {
            "name": self._config.name, **self._origin(), **facts, "test_sets": figures})

    def _origin(self) -> dict[str, str | None]:
        return {"weights": self._weights, "weights_chosen_on": self._chosen_on,
                "evaluated_on": TEST}

    def _marked(self, name: str) -> str:
        return marked(name, self._chosen_on)


def rank_embedded(config: Config, folder: str | Path, output: str | Path, ranked_queries: int = 8,
                  records: Sequence[str | Path] = (),
                  client: Client | None = None) -> dict[str, Ranked]:
    """Ranks galleries by embeddings of `tfreid embed-images`, or by those that an export computes.

    Args:
        config: The settings; only those of the records and the evaluation count.
        folder: The embeddings of all records, or the export.
        output: Folder for the files; see `TestSets`.
        ranked_queries: See `TestSets.rank`.
        records: Folders of records; see `TestSets`.
        client: The export, or None for stored embeddings.

    Raises:
        UserError: If embeddings are missing or broken, or as in `TestSets`.
    """
    if config.evaluation.protocol == "single_shot" or config.evaluation.flip:
        raise UserError("embeddings of --features or --model rank a full gallery as they are; set "
                        "evaluation.protocol=full and evaluation.flip=false.")
    chosen_on = stored_chosen_on(folder) if client is None else exported_chosen_on(folder)
    sets = TestSets(config, folder, output, records, chosen_on)

    def source(records):
        if client is None:
            return StoredEmbeddings(folder, records)
        return ExportedFeatures(client, records, config.data.eval_batch_size)

    return sets.rank(lambda test_set: (
        GalleryEvaluator(source(test_set.records), config, test_set.records), dict),
        ranked_queries)


def add_variants(ranked: Ranked, extract: FeatureSource, config: Config,
                 progress: bool = True) -> Ranked:
    """Adds the variants of the ranking that the settings ask for, alone and together.

    Args:
        ranked: An evaluation of all queries.
        extract: Where the features of the same records come from.
        config: The whole configuration.
        progress: Whether to show progress bars.

    Returns:
        The evaluation with `variants`.

    Raises:
        UserError: If the metric cannot be re-ranked, an image cannot be decoded, or a query has no
            image in split `multi_query`.
    """
    evaluation = config.evaluation
    queries, rows = {"": ranked.query_features}, {"": np.arange(len(ranked.query))}
    if evaluation.multi_query:
        queries["multi_query"], rows["multi_query"] = _multi_queries(
            ranked, extract, evaluation.metric, progress)
    # Junk would be among the neighbours; where queries have galleries, there is no such ranking.
    kept = np.flatnonzero((ranked.gallery.ids >= 0) | (ranked.galleries is not None))
    gallery, labels = ranked.gallery_features[kept], ranked.gallery.take(kept)
    compared = {(name, ""): (query, gallery) for name, query in queries.items()}
    if evaluation.expansion:
        together, gallery = expand_features(
            np.concatenate(list(queries.values())), gallery, evaluation.expansion_query,
            evaluation.expansion_gallery, evaluation.metric, evaluation.minkowski_p, progress,
            evaluation.expansion_method)
        ends = np.cumsum([len(query) for query in queries.values()])
        compared.update({(name, "expanded"): (query, gallery)
                         for name, query in zip(queries, np.split(together, ends[:-1]))})
    found = {}
    for (name, expanded), (query, gallery) in compared.items():
        key = "_".join(filter(None, (name, expanded)))
        ids = (ranked.query.ids, ranked.query.cameras), (labels.ids, labels.cameras)
        shared = {"max_rank": evaluation.max_rank, "unit": ranked.result.unit}
        if key:
            found[key] = evaluate_ranking(
                query[rows[name]], *ids[0], gallery, *ids[1], evaluation.metric,
                progress=progress, p=evaluation.minkowski_p, galleries=ranked.galleries, **shared)
        if evaluation.reranking:
            distances = k_reciprocal_rerank(
                query, gallery, evaluation.reranking_k1, evaluation.reranking_k2,
                evaluation.reranking_lambda, evaluation.metric, progress)
            found["_".join(filter(None, (key, "reranked")))] = evaluate_distances(
                distances[rows[name]], *ids[0], *ids[1], f"{evaluation.metric}, re-ranked",
                **shared)
    return dataclasses.replace(
        ranked, variants={key: found[key] for key in VARIANTS if key in found})


def _multi_queries(ranked: Ranked, extract: FeatureSource, metric: str,
                   progress: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean features of each identity's images by a camera, and each query's row."""
    positions, groups, group_of_query = query_groups(
        ranked.query, ranked.records[MULTI_QUERY].index, ranked.records.directory)
    blocks = extract.blocks(MULTI_QUERY, positions, progress)
    return pool_blocks(blocks, groups, metric), group_of_query


def _ranking_protocol(ranked: Ranked, config: Config) -> str:
    described = f"{ranked.records.description}, single query"
    if config.evaluation.flip:
        described += ", images and their mirror images"
    if ranked.result.unit == TRACKLETS:
        described += f", tracklets ({config.evaluation.tracklet_pooling} of their images)"
    if set(ranked.query.paths).issubset(ranked.gallery.paths):
        described += ", queries in the gallery"
    return described


def _named_results(name: str, ranked: Ranked) -> dict[str, RankingResult]:
    """Returns the plain result and each variant by its title."""
    return {name: ranked.result, **{f"{name}, {VARIANTS[key]}": result
                                    for key, result in ranked.variants.items()}}


def _figures(ranked: Ranked, evaluation: EvaluationConfig) -> dict:
    variants = {key: {**_variant_settings(key, evaluation), **result.as_dict()}
                for key, result in ranked.variants.items()}
    return {**ranked.result.as_dict(), **variants}


def _variant_settings(key: str, evaluation: EvaluationConfig) -> dict:
    """Returns the settings behind the figures of a variant."""
    expansion = {"method": evaluation.expansion_method,
                 "query_neighbours": evaluation.expansion_query,
                 "gallery_neighbours": evaluation.expansion_gallery}
    reranking = {"k1": evaluation.reranking_k1, "k2": evaluation.reranking_k2,
                 "lambda": evaluation.reranking_lambda}
    return {**(expansion if "expanded" in key else {}), **(reranking if "reranked" in key else {})}


def _draw_curves(results: dict[str, RankingResult], path: Path) -> None:
    draw_cmc({name: result.cmc for name, result in results.items()}, path,
             mean_aps={name: result.mean_ap for name, result in results.items()})
