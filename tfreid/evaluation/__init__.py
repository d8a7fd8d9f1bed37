"""Ranking a gallery for each query: distances, CMC, average precision, and the printed report."""

from __future__ import annotations

from tfreid.evaluation.distances import pairwise_distances
from tfreid.evaluation.ranking import RankingResult, TopMatches, evaluate_ranking, top_matches
from tfreid.evaluation.report import results_table, write_results_json

__all__ = [
    "RankingResult",
    "TopMatches",
    "evaluate_ranking",
    "pairwise_distances",
    "results_table",
    "top_matches",
    "write_results_json",
]
