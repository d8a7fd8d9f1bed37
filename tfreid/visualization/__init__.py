"""Pictures of an evaluation."""

from __future__ import annotations

from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists
from tfreid.visualization.threshold_plot import draw_pair_distances, draw_roc

__all__ = [
    "RankedImage",
    "RankedRow",
    "draw_cmc",
    "draw_pair_distances",
    "draw_ranked_lists",
    "draw_roc",
]
