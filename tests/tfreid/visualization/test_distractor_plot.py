"""The picture of scores by the number of distractors: that it shows the numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from tfrecords.errors import UserError
from tfreid.visualization.distractor_plot import DistractorCurve, draw_distractor_curves


def test_both_scores_of_every_run(tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **kwargs: (
        figures.append(self), save(self, *args, **kwargs)))
    path = tmp_path / "new" / "curve.png"
    draw_distractor_curves({
        "first": DistractorCurve(np.array([0, 2500, 500_000]), np.array([0.8, 0.75, 0.5]),
                                 np.array([0.9, 0.85, 0.75])),
        "second": DistractorCurve(np.array([0, 100_000]), np.array([0.5, 0.25]),
                                  np.array([0.625, 0.5])),
    }, path)
    left, right = figures[0].axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("mAP (%)", "rank-1 (%)")
    shown = [[line.get_ydata().tolist() for line in axes.get_lines()] for axes in (left, right)]
    assert shown == [[[80, 75, 50], [50, 25]], [[90, 85, 75], [62.5, 50]]]
    assert left.get_lines()[0].get_xdata().tolist() == [0, 2500, 500_000]
    assert left.get_xlim() == right.get_xlim() == (0, 500_000)
    form = left.xaxis.get_major_formatter()
    assert [form(count, 0) for count in (0, 250, 2500, 100_000)] == ["0", "250", "2500", "100k"]
    assert [text.get_text() for text in figures[0].legends[0].get_texts()] == ["first", "second"]
    assert cv2.imread(str(path)).std() > 0


def test_nothing_to_draw(tmp_path):
    with pytest.raises(UserError, match="no distractor curve"):
        draw_distractor_curves({}, tmp_path / "curve.png")
