"""One plot of several results: which curves it finds, under which names."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.commands import plot_cmc as plot_cmc_command
from tfreid.evaluation.results import read_curves


@pytest.fixture(scope="module")
def plot():
    return plot_cmc_command.main


def figures(rank_1, **more):
    return {"cmc": [rank_1, 1.0], "mean_ap": rank_1 / 2, **more}


@pytest.fixture
def runs(tmp_path):
    """Folders `first` and `second` with results, without a name of their own, and `empty`."""
    for name, rank_1 in (("first", 0.5), ("second", 0.8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(json.dumps(figures(rank_1)))
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_one_picture_of_several_runs(plot, runs, capsys):
    output = runs / "new" / "cmc.png"
    assert plot([str(runs / "first"), str(runs / "second" / "results.json"), "--output",
                 str(output)]) == 0
    assert cv2.imread(str(output)) is not None
    assert f"wrote {output} with 2 curves" in capsys.readouterr().out


def test_names_and_figures(runs):
    curves = read_curves([runs / "first", runs / "second"])
    assert [curve.name for curve in curves] == ["first", "second"]
    assert [curve.mean_ap for curve in curves] == [0.25, 0.4]
    np.testing.assert_array_equal(curves[1].cmc, [0.8, 1.0])
    labelled = read_curves([runs / "first", runs / "second"], ["a", "b"])
    assert [curve.name for curve in labelled] == ["a", "b"]


def test_names_that_runs_share_are_told_apart(runs):
    for name in ("first", "second"):
        (runs / name / "results.json").write_text(json.dumps(figures(0.5, name="osnet")))
    names = [curve.name for curve in read_curves([runs / "first", runs / "second"])]
    assert names == [f"osnet ({runs / 'first'})", f"osnet ({runs / 'second'})"]


def test_ways_to_rank_and_test_sets_have_curves_of_their_own(runs):
    market = figures(0.9, reranked=figures(0.95), multi_query=figures(0.94), expanded=figures(0.93))
    (runs / "empty" / "summary.json").write_text(json.dumps({"name": "osnet", "test_sets": {
        "market1501": market, "other": figures(0.3)}}))
    curves = read_curves([runs / "empty"])
    assert {curve.name: curve.cmc[0] for curve in curves} == {
        "osnet, market1501": 0.9, "osnet, market1501, multi-query": 0.94,
        "osnet, market1501, expanded": 0.93, "osnet, market1501, re-ranked": 0.95,
        "osnet, other": 0.3}


@pytest.mark.parametrize("test_sets", [[], {}, "x", {"market1501": [1]}])
def test_broken_summaries_are_named(runs, test_sets):
    (runs / "empty" / "summary.json").write_text(json.dumps({"test_sets": test_sets}))
    with pytest.raises(UserError, match="summary.json: its test_sets are not results"):
        read_curves([runs / "empty"])


def single_shot(**changes):
    return {"protocol": "single_shot", "cmc": [0.5, 1.0], "cmc_std": [0.1, 0.0], **changes}


def test_single_shot_results_have_a_deviation_and_no_mean_ap(plot, runs, capsys):
    (runs / "first" / "results.json").write_text(json.dumps(single_shot()))
    first, second = read_curves([runs / "first", runs / "second"])
    assert first.mean_ap is None and second.mean_ap == 0.4 and second.std is None
    np.testing.assert_array_equal(first.std, [0.1, 0.0])
    output = runs / "cmc.png"
    assert plot([str(runs / "first"), str(runs / "second"), "--output", str(output)]) == 0
    assert "2 curves" in capsys.readouterr().out and cv2.imread(str(output)) is not None


@pytest.mark.parametrize("changes", [
    {"cmc": []}, {"cmc": 0.5}, {"cmc": [50.0, 100.0]}, {"cmc": [float("nan"), 1.0]},
    {"cmc_std": [0.1]}, {"cmc_std": [-0.1, 0.0]}, {"cmc_std": None}, {"protocol": "full"},
])
def test_broken_figures_are_no_curve(runs, changes):
    (runs / "first" / "results.json").write_text(json.dumps(single_shot(**changes)))
    with pytest.raises(UserError, match="has no CMC curve|NaN is not finite"):
        read_curves([runs / "first"])


def test_mistakes_are_one_sentence(plot, runs, capsys):
    (runs / "no-curve.json").write_text('{"mean_ap": 0.5}')
    (runs / "no-object.json").write_text("[1]")
    (runs / "no-json.json").write_text("half a fi")
    first = str(runs / "first")
    for arguments, words in (
        ([str(runs / "empty")], "evaluate the run with tfreid test first"),
        ([str(runs / "nowhere")], "no results there"),
        ([str(runs / "no-curve.json")], "has no CMC curve"),
        ([str(runs / "no-object.json")], "is broken"),
        ([str(runs / "no-json.json")], "is broken"),
        ([first, "--labels", "a", "b"], "2 labels for 1 results"),
        ([first, first], "two curves have the name"),
        ([first, str(runs / "second"), "--labels", "a", "a"], "two curves have the name 'a'"),
    ):
        assert plot([*arguments, "--output", str(runs / "cmc.png")]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert not (runs / "cmc.png").exists()



@pytest.mark.parametrize(("content", "name"), [
    ({"weights_chosen_on": "test"}, "first, CHOSEN ON TEST IMAGES"),
    ({"weights_chosen_on": None, "evaluated_on": "test", "step": 4}, "first"),
    ({"weights_chosen_on": "validation", "evaluated_on": "validation"}, "first, validation"),
    # Written before: by a training, and by a test of its best or its last weights.
    ({"step": 4}, "first, CHOSEN ON TEST IMAGES"),
    ({"weights": "runs/first/checkpoints/best.weights.h5"}, "first, CHOSEN ON TEST IMAGES"),
    ({"weights": "runs/first/checkpoints/last.weights.h5"}, "first"),
])
def test_what_test_images_chose_is_marked(runs, content, name):
    (runs / "first" / "results.json").write_text(json.dumps(figures(0.5, **content)))
    assert [curve.name for curve in read_curves([runs / "first"])] == [name]
