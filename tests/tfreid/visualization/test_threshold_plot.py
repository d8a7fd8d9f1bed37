"""The pictures of pair distances and of the ROC: that they show the numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from tfrecords.errors import UserError
from tfreid.visualization import draw_pair_distances, draw_roc


@pytest.fixture
def saved_figures(monkeypatch):
    """Collects the figures that are saved, so that a test can read what they show."""
    figures = []
    save = Figure.savefig

    def recording(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", recording)
    return figures


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_histograms_are_shares_of_each_kind(tmp_path, saved_figures):
    path = tmp_path / "new" / "distances.png"
    draw_pair_distances(
        np.array([0.0, 0.5, 1.0]), np.array([3, 1, 0]), np.array([0, 2000, 8000]), path,
        thresholds={"EER": 0.5}, label="cosine distance")
    (axes,) = saved_figures[0].axes
    outlines = [patch for patch in axes.patches if not patch.get_fill()]
    for outline, (low, high) in zip(outlines, ((75, 0), (0, 80))):
        values = outline.get_data().values
        assert values.sum() == pytest.approx(100)
        assert (values[0], values[-1]) == pytest.approx((low, high))
    (line,) = axes.get_lines()
    assert set(line.get_xdata()) == {0.5}
    assert legend_of(saved_figures[0]) == [
        "positive pairs (4)", "negative pairs (10,000)", "EER: 0.5"]
    assert axes.get_xlabel() == "cosine distance"
    assert cv2.imread(str(path)).std() > 0


def test_roc_shows_the_curve_and_the_points(tmp_path, saved_figures):
    path = tmp_path / "roc.png"
    draw_roc([0, 0, 0.001, 0.1, 1], [0, 0.4, 0.8, 0.9, 1], path,
             points={"FPR 0.001": (0.001, 0.8), "none pass": (0.0, 0.4)}, area=0.95)
    (axes,) = saved_figures[0].axes
    assert axes.get_xscale() == "log"
    left = axes.get_xlim()[0]
    assert 0 < left < 0.001
    _, curve, point, none = axes.get_lines()
    np.testing.assert_allclose(curve.get_ydata(), [0, 40, 80, 90, 100])
    np.testing.assert_allclose(curve.get_xdata()[2:], [0.001, 0.1, 1])
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (0.001, 80)
    # A rate of zero has no place on a logarithmic axis; it stands at its left end.
    assert (none.get_xdata()[0], none.get_ydata()[0]) == (left, 40)
    assert "pairs (area 0.95000)" in legend_of(saved_figures[0])
    assert "FPR 0.001: TPR 80.00%, FPR 0.100%" in legend_of(saved_figures[0])
    assert cv2.imread(str(path)).std() > 0


def test_nothing_to_draw(tmp_path):
    path = tmp_path / "picture.png"
    with pytest.raises(UserError, match="needs positive and negative pairs"):
        draw_pair_distances([1.0], [1], [0], path)
    with pytest.raises(UserError, match="needs negative pairs"):
        draw_roc([0.0], [1.0], path)
    assert not path.exists()
