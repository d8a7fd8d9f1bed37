"""Pictures of an evaluation."""

from __future__ import annotations

from tfreid.visualization.cmc_plot import draw_cmc
from tfreid.visualization.ranked_list import RankedImage, RankedRow, draw_ranked_lists

__all__ = ["RankedImage", "RankedRow", "draw_cmc", "draw_ranked_lists"]
