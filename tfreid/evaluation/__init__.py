"""Ranking a gallery for each query: distances, CMC, average precision, and the printed report."""

from __future__ import annotations

from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.ranking import (
    RankingResult,
    TopMatches,
    evaluate_distances,
    evaluate_ranking,
    top_matches,
)
from tfreid.evaluation.report import comparison_table, results_table, write_results_json
from tfreid.evaluation.reranking import k_reciprocal_rerank
from tfreid.evaluation.verification import (
    OperatingPoint,
    VerificationCurve,
    streamed_verification_curve,
    verification_curve,
)

__all__ = [
    "OperatingPoint",
    "RankingResult",
    "TopMatches",
    "VerificationCurve",
    "comparison_table",
    "evaluate_distances",
    "evaluate_ranking",
    "k_reciprocal_rerank",
    "pairwise_distances",
    "results_table",
    "streamed_verification_curve",
    "top_matches",
    "verification_curve",
    "write_results_json",
]
