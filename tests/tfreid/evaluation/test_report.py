"""The printed table and the JSON file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tfreid.evaluation.ranking import RankingResult
from tfreid.evaluation.results import (
    comparison_table,
    format_single_shot,
    results_table,
    write_results_json,
)
from tfreid.evaluation.single_shot import SingleShotResult
from tfreid.evaluation.split_average import SplitAverage, format_split_average


def make_result(max_rank=20, **changes):
    return RankingResult(**{**dict(
        cmc=np.linspace(0.91478, 1.0, max_rank),
        mean_ap=0.773812,
        mean_ap_trapezoid=0.7649,
        mean_inp=0.5,
        num_valid_queries=3367,
        num_skipped_queries=1,
        num_gallery=15913,
        metric="cosine",
        average_precision=np.array([0.7, np.nan]),
        first_match_rank=np.array([1, 0]),
    ), **changes})


def rows_of(table):
    """Name -> value of each line that is not a rule."""
    lines = [line for line in table.splitlines() if not line.startswith("---")]
    return {line.rsplit("  ", 1)[0].strip(): line.rsplit("  ", 1)[1].strip() for line in lines}


def test_table_shows_percentages_with_two_decimals():
    table = results_table(make_result(), "Market-1501", weights="last.weights.h5")
    assert rows_of(table)["weights"] == "last.weights.h5"
    rows = rows_of(table)
    assert rows["rank-1"] == "91.48 %"
    assert rows["rank-20"] == "100.00 %"
    assert rows["mAP"] == "77.38 %"
    assert rows["mAP (official script, trapezoids)"] == "76.49 %"
    assert rows["mINP"] == "50.00 %"
    assert rows["valid queries"] == "3,367"
    assert rows["skipped queries (no valid match)"] == "1"
    assert rows["gallery images"] == "15,913"
    assert rows["distance"] == "cosine"
    assert rows["protocol"] == "Market-1501"
    assert len({len(line) for line in table.splitlines()}) == 1


def test_table_leaves_out_what_was_not_measured():
    rows = rows_of(results_table(make_result(max_rank=7)))
    assert "rank-5" in rows
    assert not {"rank-10", "rank-20", "protocol"} & set(rows)


def test_table_has_a_row_for_each_way_to_rank():
    reranked = make_result(mean_ap=0.9, metric="cosine, re-ranked")
    variants = {"multi_query": make_result(mean_ap=0.85), "reranked": reranked}
    lines = results_table(make_result(), "Market-1501", variants).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [re.split("  +", line) for line in lines]
    place = cells[1].index("mAP")
    assert cells[1][place + 1] == "mAP, trapezoids"
    assert {row[0]: row[place] for row in cells[2:5]} == {
        "plain": "77.38 %", "multi-query": "85.00 %", "re-ranked": "90.00 %"}
    assert ["protocol", "Market-1501"] in cells


def test_tables_say_what_was_counted():
    tracklets = make_result(unit="tracklets", num_gallery=9330)
    own = make_result(own_galleries=True, num_gallery=1520.25)
    assert rows_of(results_table(tracklets))["gallery tracklets"] == "9,330"
    assert rows_of(results_table(own))["gallery images, mean over queries"] == "1,520.2"
    lines = comparison_table({"mars": tracklets, "person_search": own}).splitlines()
    assert [re.split("  +", line)[-1] for line in lines[3:5]] == ["9,330 tracklets",
                                                                  "1,520.2 a query"]


def test_the_minkowski_exponent_is_reported():
    result = make_result(metric="minkowski", minkowski_p=2.5)
    assert rows_of(results_table(result))["distance"] == "minkowski, p = 2.5"
    assert result.as_dict()["minkowski_p"] == 2.5
    assert "minkowski_p" not in make_result().as_dict()


def test_comparison_has_a_row_for_each_test_set():
    lines = comparison_table({
        "market1501": make_result(), "a longer name": make_result(7, num_gallery=9),
    }).splitlines()
    assert len({len(line) for line in lines}) == 1
    heads, first, second = (re.split("  +", lines[place]) for place in (1, 3, 4))
    first, second = (dict(zip(heads, row)) for row in (first, second))
    assert first == {"test set": "market1501", "rank-1": "91.48 %", "rank-5": "93.27 %",
                     "rank-10": "95.51 %", "mAP": "77.38 %", "mINP": "50.00 %",
                     "queries": "3,367", "skipped": "1", "gallery": "15,913"}
    assert (second["test set"], second["rank-10"], second["gallery"]) == ("a longer name", "-", "9")


def test_single_shot_shows_mean_and_deviation():
    curves = np.array([[0.80, 0.9, 0.9, 0.9, 1.0], [0.84, 0.9, 0.9, 0.9, 1.0]])
    table = format_single_shot(SingleShotResult(curves, 1316, "cosine"), "VIPeR, single shot")
    lines = table.splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [re.split("  +", line) for line in lines]
    # 0.02 * sqrt(2) is the sample deviation of two figures 0.04 apart.
    for row in (["", "mean", "std over trials"], ["rank-1", "82.00 %", "2.83 %"],
                ["rank-5", "100.00 %", "0.00 %"], ["protocol", "VIPeR, single shot"],
                ["identities in a trial", "1,316"], ["trials", "2"], ["ranked by", "cosine"]):
        assert row in cells
    assert "rank-10" not in table


def test_single_shot_of_one_trial_has_no_deviation():
    rows = rows_of(format_single_shot(SingleShotResult(np.array([[0.5]]), 9, "cosine")))
    assert rows == {"rank-1": "50.00 %", "identities in a trial": "9", "trials": "1",
                    "ranked by": "cosine"}


def test_average_over_splits_has_a_row_for_each():
    average = SplitAverage(np.array([[0.80] * 5, [0.84] * 5]), "viper", ("0", "3"),
                           (Path("a"), Path("b")), (99, 100), 20, "cosine")
    lines = format_split_average(average).splitlines()
    assert len({len(line) for line in lines}) == 1
    cells = [re.split("  +", line) for line in lines]
    for row in (["split", "rank-1", "rank-5"], ["0", "80.00 %", "80.00 %"],
                ["3", "84.00 %", "84.00 %"], ["mean", "82.00 %", "82.00 %"],
                ["std over splits", "2.83 %", "2.83 %"], ["trials in each split", "20"],
                ["identities in a trial", "99 to 100"], ["ranked by", "cosine"]):
        assert row in cells


def test_json_of_single_shot_results(tmp_path):
    path = tmp_path / "results.json"
    result = SingleShotResult(np.array([[0.5], [1.0]]), 2, "cosine")
    write_results_json(path, {"viper": result})
    assert json.loads(path.read_text()) == {"viper": result.as_dict()}


def test_json_of_a_result(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_results_json(path, make_result())
    assert json.loads(path.read_text()) == make_result().as_dict()


def test_json_of_a_mapping_replaces_the_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old and longer than the new content" * 100)
    results = {
        "market1501": make_result(),
        "seconds": np.float32(1.5),
        "queries": np.arange(3),
        "checkpoint": Path("runs") / "a",
    }
    write_results_json(path, results)
    content = json.loads(path.read_text())
    assert content["market1501"]["rank_1"] == 0.91478
    assert content["seconds"] == 1.5
    assert content["queries"] == [0, 1, 2]
    assert content["checkpoint"] == str(Path("runs") / "a")


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), (object(), TypeError)]
)
def test_failure_keeps_the_old_file(tmp_path, value, error):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(error):
        write_results_json(path, {"value": value})
    assert path.read_text() == "{}"
    assert list(tmp_path.iterdir()) == [path]
