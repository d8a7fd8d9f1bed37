"""The average over splits, from the results of runs to its table, JSON and plot."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest

from tfreid.commands import average_folds as average_folds_command
from tfreid.config import Config, DataConfig, ScheduleConfig, TrainingConfig, save_config
from tfreid.evaluation.results import read_curves, write_results_json
from tfreid.evaluation.single_shot import single_shot_result

RANKS = {
    0: [[1, 1, 2, 6], [1, 1, 1, 3]],
    1: [[1, 2, 2, 7], [1, 1, 3, 3]],
    2: [[1, 1, 1, 1], [1, 1, 1, 9]],
}


@pytest.fixture(scope="module")
def average():
    return average_folds_command.main


def write_run(folder, split, ranks=None, config=None, max_rank=12, **more):
    """A run's folder with a single-shot result; `config=False` leaves its settings out."""
    folder.mkdir(exist_ok=True)
    result = single_shot_result([np.array(trial) for trial in ranks or RANKS[split]],
                                "cosine", max_rank)
    write_results_json(folder / "results.json", {**result.as_dict(), **more})
    if config is not False:
        config = config or Config(name="viper", training=TrainingConfig(seed=split))
        data = dataclasses.replace(config.data, fold=split, records=f"{split}/records/viper",
                                   workers=split)
        save_config(dataclasses.replace(config, data=data), folder / "config.yaml")
    return str(folder)


@pytest.fixture
def runs(tmp_path):
    return [write_run(tmp_path / f"run-{split}", split) for split in RANKS]


def test_end_to_end(average, runs, tmp_path, capsys):
    output = tmp_path / "new" / "average"
    assert average([*runs, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    results = json.loads((output / "results.json").read_text())
    # Rank-1 of the trials: 2/4 and 3/4, 1/4 and 2/4, 4/4 and 3/4; of the splits 5/8, 3/8 and 7/8.
    assert results["rank_1"] == pytest.approx(0.625)
    assert results["rank_1_std"] == pytest.approx(0.25)
    # Rank-5: 3/4 and 1, 3/4 and 1, 1 and 3/4.
    assert results["rank_5"] == pytest.approx(0.875)
    assert results["rank_5_std"] == pytest.approx(0)
    assert results["rank_10"] == 1.0 and "rank_20" not in results
    assert (results["name"], results["trials"], results["metric"]) == ("viper", 2, "cosine")
    assert [split["split"] for split in results["splits"]] == ["0", "1", "2"]
    assert [split["rank_1"] for split in results["splits"]] == [0.625, 0.375, 0.875]
    assert len(results["cmc"]) == len(results["cmc_std"]) == 12
    for words in ("mean", "std over splits", "62.50 %", "25.00 %", "37.50 %",
                  f"wrote {output}/results.json"):
        assert words in printed
    assert cv2.imread(str(output / "cmc.png")) is not None
    # The average is a curve for the plot of several runs.
    (curve,) = read_curves([output])
    assert curve.name == "viper" and curve.cmc[0] == 0.625 and curve.std[0] == 0.25


def test_default_output_has_the_recipes_name(average, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert average(runs[:2]) == 0
    assert (tmp_path / "runs" / "viper-splits" / "results.json").is_file()


def test_files_without_settings_are_taken_too(average, tmp_path, capsys):
    files = [write_run(tmp_path / name, split, config=False, dataset="viper") + "/results.json"
             for split, name in enumerate(("one", "two"))]
    assert average([*files, "--output", str(tmp_path / "average")]) == 0
    printed = capsys.readouterr().out
    assert "\none " in printed and "\ntwo " in printed and "50.00 %" in printed


def test_splits_may_have_epochs_of_different_lengths(average, tmp_path):
    runs = [write_run(tmp_path / f"run-{split}", split, config=Config(
        name="viper", training=TrainingConfig(steps_per_epoch=700 + split))) for split in RANKS]
    assert average([*runs, "--output", str(tmp_path / "average")]) == 0


def test_evaluations_made_while_training_are_refused(average, runs, tmp_path, capsys):
    write_run(tmp_path / "run-1", 1, step=300)
    assert average([*runs, "--output", str(tmp_path / "average")]) == 2
    assert "run tfreid test --run" in capsys.readouterr().err


def test_a_split_may_lack_an_identity(average, runs, tmp_path, capsys):
    write_run(tmp_path / "run-1", 1, ranks=[[1, 2, 3], [1, 1, 1]])
    assert average([*runs, "--output", str(tmp_path / "average")]) == 0
    assert "3 to 4" in capsys.readouterr().out
    # Without settings nothing says that it is the same protocol.
    for folder in ("run-0", "run-1"):
        (tmp_path / folder / "config.yaml").unlink()
    assert average([*runs[:2], "--output", str(tmp_path / "other")]) == 2
    assert "has identities 3 and" in capsys.readouterr().err


def test_refuses_other_protocols_and_recipes(average, runs, tmp_path, capsys):
    deeper = Config(name="viper", schedule=ScheduleConfig(learning_rate=0.1))
    others = {
        "rate": (dict(split=1, config=deeper), "schedule.learning_rate 0.1 and"),
        "trials": (dict(split=1, ranks=RANKS[1][:1]), "has trials 1 and"),
        "ranks": (dict(split=1, max_rank=9), "has max_rank 9 and"),
        "feature": (dict(split=1, feature="neck"), "has feature neck and"),
        "metric": (dict(split=1, metric="euclidean"), "has metric euclidean and"),
        "split": (dict(split=0), "are both of split 0; give one run for each split"),
        "full": (dict(split=1, protocol="full"), "not a single-shot result"),
        "averaged": (dict(split=1, splits=[]), "already an average over splits"),
        "sets": (dict(split=1, test_sets={}), "contains several test sets"),
        "broken": (dict(split=1, cmc=[2.0]), "has no CMC curve"),
        "trialless": (dict(split=1, trials=None), "lacks the trials"),
    }
    for name, (changes, words) in others.items():
        other = write_run(tmp_path / name, **changes)
        assert average([runs[0], other, "--output", str(tmp_path / "average")]) == 2, name
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert not (tmp_path / "average").exists()


def test_refuses_other_records(average, runs, tmp_path, capsys):
    other = write_run(tmp_path / "other", 1)
    config = Config(name="viper", data=DataConfig(fold=1, records="records/cuhk01"))
    save_config(config, tmp_path / "other" / "config.yaml")
    assert average([runs[0], other, "--output", str(tmp_path / "average")]) == 2
    assert "has data.records cuhk01 and" in capsys.readouterr().err


def test_mistakes_are_one_sentence(average, runs, tmp_path, capsys):
    for arguments, words in (
        (runs[:1], "two results or more"),
        ([runs[0], runs[0] + "/results.json"], "is given twice"),
        ([runs[0], str(tmp_path / "nowhere")], "no results there"),
        ([*runs, "--output", runs[1]], "holds one of the results to average"),
    ):
        assert average([*arguments]) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1
    assert json.loads((tmp_path / "run-1" / "results.json").read_text())["trials"] == 2


def test_help_says_why(average, capsys):
    with pytest.raises(SystemExit) as caught:
        average(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in ("VIPeR, CUHK01 and CUHK03", "at random", "standard deviation"):
        assert words in text


def test_a_fold_that_test_images_chose_marks_the_average(average, runs, tmp_path, capsys):
    chosen = tmp_path / "run-1" / "results.json"
    content = json.loads(chosen.read_text())
    write_results_json(chosen, {**content, "weights_chosen_on": "test"})
    assert average([*runs, "--output", str(tmp_path / "average")]) == 0
    assert "CHOSEN ON TEST IMAGES" in capsys.readouterr().out
    (curve,) = read_curves([tmp_path / "average"])
    assert curve.name.endswith(", CHOSEN ON TEST IMAGES")
    write_results_json(chosen, {**content, "evaluated_on": "validation"})
    assert average([*runs, "--output", str(tmp_path / "mixed")]) == 2
    assert "has evaluated_on validation and" in capsys.readouterr().err
