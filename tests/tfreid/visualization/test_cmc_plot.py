"""The CMC picture: that it shows the curves, not only that it exists."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from tfrecords.errors import UserError
from tfreid.visualization import draw_cmc


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


def test_curves_and_legend(tmp_path, saved_figures):
    path = tmp_path / "plots" / "cmc.png"
    first, second = np.array([0.5, 0.75, 1.0, 1.0]), np.array([0.9148, 1.0])
    draw_cmc({"one": first, "two": second}, path, max_rank=3, mean_aps={"two": 0.7738})
    (axes,) = saved_figures[0].axes
    lines = axes.get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), [50, 75, 100])
    np.testing.assert_allclose(lines[1].get_ydata(), [91.48, 100])
    np.testing.assert_array_equal(lines[0].get_xdata(), [1, 2, 3])
    assert lines[0].get_color() != lines[1].get_color()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["one (rank-1 50.00 %)", "two (rank-1 91.48 %, mAP 77.38 %)"]
    lowest, highest = axes.get_ylim()
    assert lowest <= 50 and highest == 100
    assert cv2.imread(str(path)).std() > 0


def test_bands_of_one_standard_deviation(tmp_path, saved_figures):
    curve, std = np.array([0.52, 0.75, 0.99, 1.0]), np.array([0.08, 0.05, 0.03, 0.0])
    draw_cmc({"trials": curve, "one trial": curve, "full": curve}, tmp_path / "cmc.png", 3,
             mean_aps={"full": 0.4}, stds={"trials": std, "one trial": 0 * std, "full": None})
    (axes,) = saved_figures[0].axes
    (band,) = axes.collections
    corners = {(round(x), round(y, 6)) for x, y in band.get_paths()[0].vertices}
    # What would pass 100 % is cut there.
    assert corners == {(1, 44), (1, 60), (2, 70), (2, 80), (3, 96), (3, 100)}
    colour = axes.get_lines()[0].get_color()
    assert to_rgb(band.get_facecolor()[0][:3]) == pytest.approx(to_rgb(colour))
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["trials (rank-1 52.00 ± 8.00 %)", "one trial (rank-1 52.00 %)",
                      "full (rank-1 52.00 %, mAP 40.00 %)"]
    assert axes.get_legend().get_title().get_text() == "band: ± one standard deviation"
    # The scale begins below the band, not only below the curve.
    assert axes.get_ylim() == (30, 100)
    draw_cmc({"full": curve}, tmp_path / "cmc.png")
    assert not saved_figures[1].axes[0].get_legend().get_title().get_text()


def test_many_runs_stay_apart(tmp_path, saved_figures):
    draw_cmc({f"run {index}": [0.1 * index, 1.0] for index in range(10)}, tmp_path / "cmc.png")
    lines = saved_figures[0].axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 10


def test_no_global_figure_is_left(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    draw_cmc({"one": [1.0]}, tmp_path / "cmc.png", max_rank=1)
    assert pyplot.get_fignums() == before


def test_bad_input(tmp_path):
    path = tmp_path / "cmc.png"
    with pytest.raises(UserError, match="no CMC curve"):
        draw_cmc({}, path)
    for curve in ([], [[0.5]], [50.0], [np.nan]):
        with pytest.raises(UserError, match="curve of 'one' must be a vector of fractions"):
            draw_cmc({"one": curve}, path)
    for std in ([0.1], [[0.1, 0.1]], [-0.1, 0.1], [np.nan, 0.1]):
        with pytest.raises(UserError, match="deviations of 'one' must be .* its 2 ranks"):
            draw_cmc({"one": [0.5, 1.0]}, path, stds={"one": std})
    with pytest.raises(ValueError, match="received 0"):
        draw_cmc({"one": [0.5]}, path, max_rank=0)
    assert not path.exists()
