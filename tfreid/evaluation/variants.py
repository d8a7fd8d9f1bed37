"""Other ways to rank a gallery than the plain one: many-image queries, expansion, re-ranking."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfreid.config import Config, EvaluationConfig
from tfreid.evaluation.expansion import expand_features
from tfreid.evaluation.features import FeatureExtractor, Ranked
from tfreid.evaluation.multi_query import SPLIT, query_groups
from tfreid.evaluation.pooling import pool_blocks
from tfreid.evaluation.ranking import RankingResult, evaluate_distances, evaluate_ranking
from tfreid.evaluation.reranking import k_reciprocal_rerank


def add_variants(
    ranked: Ranked, extract: FeatureExtractor, config: Config, progress: bool = True
) -> Ranked:
    """Ranks an evaluation's gallery again in the other ways that the settings ask for.

    Args:
        ranked: An evaluation of all queries.
        extract: Of the same model and records.
        config: Its whole configuration.
        progress: Show progress bars.

    Returns:
        The evaluation with `variants`.

    Raises:
        UserError: The metric cannot be re-ranked, an image cannot be decoded, or a query has no
            image in split `multi_query`.
    """
    evaluation, variants = config.evaluation, {}
    if evaluation.multi_query:
        variants["multi_query"] = _multi_query_result(ranked, extract, config, progress)
    if evaluation.expansion:
        variants["expanded"] = _expanded_result(ranked, evaluation, progress)
    if evaluation.reranking:
        variants["reranked"] = _reranked_result(ranked, evaluation, progress)
    return dataclasses.replace(ranked, variants=variants)


def _multi_query_result(
    ranked: Ranked, extract: FeatureExtractor, config: Config, progress: bool
) -> RankingResult:
    """Ranks by queries that are the mean of their person's images by their camera."""
    evaluation, records = config.evaluation, ranked.records
    positions, groups, group_of_query = query_groups(
        ranked.query, records[SPLIT].index, records.directory)
    pooled = pool_blocks(extract.blocks(SPLIT, positions, progress), groups, evaluation.metric)
    return evaluate_ranking(
        pooled[group_of_query], *ranked.arrays()[1:], evaluation.metric, evaluation.max_rank,
        progress=progress, p=evaluation.minkowski_p, galleries=ranked.galleries,
        unit=ranked.result.unit,
    )


def _expanded_result(
    ranked: Ranked, evaluation: EvaluationConfig, progress: bool
) -> RankingResult:
    features, ids, cameras = _without_junk(ranked)
    query, gallery = expand_features(
        ranked.query_features, features, evaluation.expansion_query, evaluation.expansion_gallery,
        evaluation.metric, evaluation.minkowski_p, progress,
    )
    return evaluate_ranking(
        query, ranked.query.ids, ranked.query.cameras, gallery, ids, cameras,
        evaluation.metric, evaluation.max_rank, progress=progress, p=evaluation.minkowski_p,
        unit=ranked.result.unit,
    )


def _reranked_result(
    ranked: Ranked, evaluation: EvaluationConfig, progress: bool
) -> RankingResult:
    """Scores an evaluation's features again after k-reciprocal re-ranking."""
    features, ids, cameras = _without_junk(ranked)
    distances = k_reciprocal_rerank(
        ranked.query_features, features, evaluation.reranking_k1, evaluation.reranking_k2,
        evaluation.reranking_lambda, evaluation.metric, progress,
    )
    return evaluate_distances(
        distances, ranked.query.ids, ranked.query.cameras, ids, cameras,
        f"{evaluation.metric}, re-ranked", evaluation.max_rank, unit=ranked.result.unit,
    )


def _without_junk(ranked: Ranked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns features, identities and cameras of the gallery; junk would be neighbours too."""
    kept = np.flatnonzero(ranked.gallery.ids >= 0)
    return ranked.gallery_features[kept], ranked.gallery.ids[kept], ranked.gallery.cameras[kept]
