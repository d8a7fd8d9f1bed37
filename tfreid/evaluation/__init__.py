"""Ranking a gallery for each query: distances, CMC, average precision, and the printed report."""

from __future__ import annotations

from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.expansion import expand_features
from tfreid.evaluation.ranking import (
    RankingResult,
    TopMatches,
    evaluate_distances,
    evaluate_ranking,
    top_matches,
)
from tfreid.evaluation.report import (
    comparison_table,
    format_single_shot,
    results_table,
    write_results_json,
)
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.evaluation.single_shot import (
    SingleShotResult,
    Trial,
    draw_trials,
    single_shot_cmc,
    single_shot_result,
)
from tfreid.evaluation.streaming import evaluate_with_distractors
from tfreid.evaluation.verification import (
    OperatingPoint,
    VerificationCurve,
    streamed_verification_curve,
    verification_curve,
)

__all__ = [
    "OperatingPoint",
    "RankingResult",
    "SingleShotResult",
    "TopMatches",
    "Trial",
    "VerificationCurve",
    "comparison_table",
    "draw_trials",
    "evaluate_distances",
    "evaluate_ranking",
    "evaluate_with_distractors",
    "expand_features",
    "format_single_shot",
    "k_reciprocal_rerank",
    "pairwise_distances",
    "results_table",
    "single_shot_cmc",
    "single_shot_result",
    "streamed_verification_curve",
    "top_matches",
    "verification_curve",
    "write_results_json",
]
