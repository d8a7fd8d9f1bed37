"""Training on two folders of records: as one, apart in every figure, one of them left out."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import test_net
import tfreid
import train_net
from tfrecords.errors import UserError
from tfreid.commands import calibrate, plot_cmc, visualize_augmentation
from tfreid.commands import export as export_model
from tfreid.config import load_config
from tfreid.evaluation.evaluator import Evaluation
from tfreid.evaluation.sources import SourcesEvaluation
from tfreid.records import Records
from tfreid.systems.stages import train
from tfreid.weights.choice import find_chosen_on
from tfreid.weights.files import read_arrays, read_shapes

NAMES = ["records", "two, three"]
TINY = {
    "name": "joint",
    "model": {"height": 32, "width": 16},
    "data": {"identities_per_batch": 4, "images_per_identity": 2},
    "schedule": {"warmup_epochs": 1},
    "training": {"steps_per_epoch": 2, "epochs": 2, "evaluate_every": 1, "log_every": 1,
                 "projector_images": 3},
}


@pytest.fixture(scope="module")
def folders(records, other_records, tmp_path_factory) -> list[str]:
    """Two folders of records, of which the second has a space and a comma in its name."""
    second = tmp_path_factory.mktemp("sources") / NAMES[1]
    shutil.copytree(other_records, second)
    return [str(records), str(second)]


@pytest.fixture(scope="module")
def recipe(tiny_backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "model": {**TINY["model"], "backbone": tiny_backbone}}))
    return str(path)


def training(recipe, output, folders, *more) -> list[str]:
    return ["--config", recipe, "--output", str(output), f"data.records={json.dumps(folders)}",
            *more]


@pytest.fixture(scope="module")
def joint(recipe, folders, tmp_path_factory):
    """The folder of a run on both, equally often."""
    run = tmp_path_factory.mktemp("runs") / "joint"
    train(recipe, run, [f"data.records={json.dumps(folders)}", "data.source_balance=equal"])
    return run


def tags(run) -> set[str]:
    events = EventAccumulator(str(run / "tensorboard"), {"tensors": 0})
    events.Reload()
    return {tag for tag in events.Tags()["tensors"] if tag.startswith("evaluation")}


def test_figures_of_several_sources_by_hand():
    class One(Evaluation):
        def __init__(self, rank_1, mean_ap):
            self.figures, self.main_figure = {"rank_1": rank_1, "mean_ap": mean_ap}, mean_ap

        def progress(self):
            return self.figures

        def scalars(self):
            return {"evaluation/rank_1": self.figures["rank_1"],
                    "evaluation/mAP": self.figures["mean_ap"]}

        def as_dict(self):
            return {**self.figures, "cmc": [self.figures["rank_1"]]}

    both = SourcesEvaluation({"a": One(0.5, 0.25), "b": One(0.125, 0.75)})
    assert both.main_figure == 0.5
    assert both.headline() == "mean of 2 sources rank-1 31.25%, mAP 50.00%"
    assert both.scalars() == {"evaluation/a/rank_1": 0.5, "evaluation/a/mAP": 0.25,
                              "evaluation/b/rank_1": 0.125, "evaluation/b/mAP": 0.75}
    assert both.progress() == {"rank_1": 0.3125, "mean_ap": 0.5, "sources": {
        "a": {"rank_1": 0.5, "mean_ap": 0.25}, "b": {"rank_1": 0.125, "mean_ap": 0.75}}}
    assert [line.split() for line in both.table().splitlines() if "-" not in line[:1]] == [
        ["source", "rank-1", "mAP"], ["a", "50.00", "%", "25.00", "%"],
        ["b", "12.50", "%", "75.00", "%"]]
    assert both.as_dict()["test_sets"]["b"]["cmc"] == [0.125]
    one = SourcesEvaluation({"a": both.sources["a"]})
    assert (one.headline(), one.table()) == ("a: rank-1 50.00%, mAP 25.00%", "")


@pytest.mark.slow
def test_a_run_keeps_the_sources_apart(joint, folders):
    assert load_config(joint / "config.yaml").data.records == folders
    assert read_shapes(joint / "checkpoints/last.weights.h5")["classifier/kernel"][-1] == 8 + 5
    assert tags(joint) == {"evaluation"} | {
        f"evaluation/{name}/{figure}" for name in NAMES for figure in ("rank_1", "mAP", "mINP")}
    results = json.loads((joint / "results.json").read_text())
    assert list(results["test_sets"]) == NAMES and results["step"] == 4
    means = [np.mean([one[key] for one in results["test_sets"].values()])
             for key in ("rank_1", "mean_ap")]
    assert [results["rank_1"], results["mean_ap"]] == pytest.approx(means)
    assert (joint / "tensorboard" / "gallery.png").exists()


@pytest.mark.slow
def test_each_source_is_tested_as_it_is_alone(joint, folders, tmp_path, capsys):
    assert test_net.main(["--run", str(joint), "--ranked-queries", "2"]) == 0
    printed = capsys.readouterr().out
    summary = json.loads((joint / "evaluation" / "summary.json").read_text())["test_sets"]
    trained = json.loads((joint / "results.json").read_text())["test_sets"]
    for name, folder in zip(NAMES, folders):
        assert name in printed
        assert test_net.main(["--run", str(joint), "--records", folder, "--output",
                              str(tmp_path / name), "--ranked-queries", "0"]) == 0
        alone = json.loads((tmp_path / name / "results.json").read_text())
        assert summary[name]["mean_ap"] == alone["mean_ap"] == trained[name]["mean_ap"]
        assert summary[name]["num_gallery"] == len(Records(folder)["gallery"])
        assert (joint / "evaluation" / name / "ranked_lists.png").exists()
    assert plot_cmc.main([str(joint), str(joint / "evaluation"), "--output",
                          str(tmp_path / "cmc.png")]) == 0


@pytest.mark.slow
def test_resuming_needs_the_same_order(joint, recipe, folders, tmp_path, capsys):
    run = shutil.copytree(joint, tmp_path / "run")
    more = ["--resume", "training.epochs=3"]
    balance = "data.source_balance=equal"
    assert train_net.main(training(recipe, run, folders[::-1], balance, *more)) == 2
    message = capsys.readouterr().err
    assert "other people or have other images, or another order" in message
    assert " and ".join(folders[::-1]) in message
    assert train_net.main(training(recipe, run, folders[:1], *more)) == 2
    assert f"{folders[0]} has 8 training identities, but" in capsys.readouterr().err
    assert train_net.main(training(recipe, run, folders, *more)) == 2
    assert "data.source_balance=equal, which cannot become None" in capsys.readouterr().err
    assert train_net.main(training(recipe, run, folders, balance, *more)) == 0
    printed = capsys.readouterr().out
    assert "resuming after step 4" in printed and "step 6: mean of 2 sources" in printed


@pytest.mark.slow
def test_what_follows_a_training(joint, folders, tmp_path, capsys):
    images = list(Records(folders[1])["query"].encoded)[:2]
    assert tfreid.load(joint).embed(images).shape == (2, 8)
    assert export_model.main(["--run", str(joint)]) == 0
    assert calibrate.main(["--run", str(joint)]) == 2
    assert "names 2 folders, but this takes the images of one" in capsys.readouterr().err
    assert calibrate.main(["--run", str(joint), "--records", folders[1], "--output",
                           str(tmp_path)]) == 0
    assert json.loads((tmp_path / "thresholds.json").read_text())["cosine"]["dataset"] == "others"
    picture = tmp_path / "augmented.png"
    assert visualize_augmentation.main(["--config", str(joint / "config.yaml"), "--output",
                                        str(picture)]) == 0
    assert picture.exists()


@pytest.mark.slow
def test_held_out_people_of_each_source_choose(recipe, folders, tmp_path, capsys):
    """On two devices, which share a batch."""
    run = tmp_path / "run"
    assert train_net.main(training(recipe, run, folders, "data.subset.validation=2",
                                   "data.source_balance=equal", "data.global_batch=keep",
                                   "training.devices=[CPU:0,CPU:1]")) == 0
    printed = capsys.readouterr().out
    assert "of 9 identities (records: 36 images of 6 identities; two, three: 12 images" in printed
    assert "validation images" in printed
    assert tags(run) == {"evaluation"} | {
        f"evaluation/validation/{name}/{figure}" for name in NAMES
        for figure in ("rank_1", "mAP", "mINP")}
    assert find_chosen_on(run / "checkpoints/best.weights.h5") == "validation"


@pytest.mark.slow
def test_leaving_one_out_trains_as_on_the_other_alone(recipe, folders, tmp_path, capsys):
    """And tests on the one that was left out, unless other records are named."""
    run, alone = tmp_path / "run", tmp_path / "alone"
    out = 'data.leave_out="two, three"'
    assert train_net.main(training(recipe, run, folders, out)) == 0
    assert tags(run) == {"evaluation"} | {
        f"evaluation/two, three/{figure}" for figure in ("rank_1", "mAP", "mINP")}
    assert train_net.main(training(recipe, alone, folders[:1])) == 0
    assert tags(alone) == {"evaluation", *(
        f"evaluation/{figure}" for figure in ("rank_1", "mAP", "mINP"))}
    known = [(folder / "checkpoints" / "identities.json").read_text() for folder in (run, alone)]
    assert known[0] == known[1]
    mine, theirs = (read_arrays(folder / "checkpoints/last.weights.h5") for folder in (run, alone))
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        np.testing.assert_allclose(value, theirs[key], rtol=1e-4, atol=1e-6, err_msg=key)
    capsys.readouterr()
    test = ["--run", str(run), "--ranked-queries", "0"]
    assert test_net.main(test) == 0
    assert "others, single query" in capsys.readouterr().out
    assert json.loads((run / "results.json").read_text())["protocol"] == "others, single query"
    assert test_net.main([*test, "evaluation.metric=euclidean"]) == 0
    assert (run / "evaluation-two, three" / "results.json").exists()
    assert test_net.main([*test, "--records", folders[0]]) == 0
    assert (run / "evaluation-records" / "results.json").exists()


@pytest.mark.slow
def test_triplets_of_both_stages(folders, tiny_backbone, tmp_path, capsys):
    path = tmp_path / "triplet.yaml"
    path.write_text(yaml.safe_dump({
        "name": "triplets", "system": "triplet",
        "model": {"backbone": tiny_backbone, "longest_side": 48, "embedding_size": 6,
                  "normalize_embedding": True, "neck": False, "classifier": False},
        "data": {"source_balance": [1, 1], "eval_batch_size": 8},
        "pretraining": {"base": "classification", "model": {"height": 32, "width": 16},
                        "data": {"images_per_batch": 8}, "training": {"epochs": 1}},
        "triplet": {"batch_size": 4, "triplets_at_once": 2, "updates_per_mining": 2,
                    "updates_per_epoch": 2, "mining_images": 30},
        "schedule": {"warmup_epochs": 0}, "training": {"epochs": 1, "steps_per_epoch": None},
    }))
    run = tmp_path / "run"
    assert train_net.main(training(str(path), run, folders)) == 0
    assert "68 images of 13 identities (records: 48 images" in capsys.readouterr().out
    weights = read_shapes(run / "pretraining" / "checkpoints" / "last.weights.h5")
    assert weights["classifier/kernel"][-1] == 13
    for folder in (run, run / "pretraining"):
        assert {f"evaluation/{name}/mAP" for name in NAMES} <= tags(folder)


def test_a_stage_before_on_other_records(recipe, folders, tmp_path, capsys):
    """Its last weights, but for the classifier's, are what the training begins with."""
    path, run, first = tmp_path / "stages.yaml", tmp_path / "run", tmp_path / "run" / "pretraining"
    path.write_text(yaml.safe_dump({
        "base": recipe, "schedule": {"learning_rate": 1e-9, "warmup_epochs": 0},
        "data": {"subset": {"validation": 2}},
        "training": {"epochs": 1, "evaluate_every": 0}, "pretraining": {
            "data": {"records": folders[1], "subset": {"validation": 0}},
            "model": {"height": 48}, "schedule": {"learning_rate": 0.01}}}))
    assert train_net.main(["--config", str(path), "--output", str(run), "training.max_steps=1",
                           f"data.records={folders[0]}"]) == 0
    stages = capsys.readouterr().out
    assert "joint (pretraining): 20 images of 5 identities" in stages
    assert "joint: 36 images of 6 identities" in stages
    assert stages.count("evaluate_every=0 ranks the people who are held out at the end alone") == 1
    assert "training.max_steps=1 ended the stage before, which has 2 steps" in stages
    # As if it had been stopped in the stage before.
    shutil.rmtree(run / "checkpoints")
    (first / "checkpoints" / "last.weights.h5").unlink()
    assert train_net.main(["--output", str(run), "--resume", "training.max_steps=null"]) == 0
    stages = capsys.readouterr().out
    assert "joint (pretraining): 20 images of 5 identities" in stages
    assert "ended the stage before" not in stages
    weights = [read_arrays(folder / "checkpoints" / "last.weights.h5") for folder in (first, run)]
    assert [one["classifier/kernel"].shape[-1] for one in weights] == [5, 6]
    kernels = [key for key in weights[0] if key.endswith("/kernel") and "classifier" not in key]
    assert kernels
    for key in kernels:
        np.testing.assert_allclose(weights[0][key], weights[1][key], atol=1e-6, err_msg=key)
    assert load_config(first / "config.yaml").data.folders == [folders[1]]


@pytest.mark.parametrize(("settings", "words"), [
    (["--config", "csn_l23"], "names 2 folders, but system: csn trains on one"),
    (["system=siamese", "siamese.loss=contrastive"], "but system: siamese trains on one"),
    (["data.source_balance=[1,2,3]"], "data.source_balance has 3 numbers, but 2 sources"),
    (["pretraining={model: {embedding_size: 4}}"],
     "pretraining: the weights of this stage do not fit the model: "),
    (["pretraining={data: {source_balance: [1,2,3]}}"],
     "error: pretraining: data.source_balance has 3 numbers, but 2 sources"),
    (["data.leave_out=three"], r"has the sources records (0), two, three (1)"),
    (["data.source_balance=[1,99]", "data.identities_per_batch=8"],
     "gives two, three up to 8 of the 8 identities"),
])
def test_mistakes_get_one_sentence(recipe, folders, tmp_path, capsys, settings, words):
    assert train_net.main(training(recipe, tmp_path / "run", folders, *settings)) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and words in message and message.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_several_folders_need_several():
    with pytest.raises(UserError, match="records is an empty list"):
        load_config("quickstart", ["data.records=[]"])
    with pytest.raises(UserError, match=r"`data\.records` is 3: input should be a valid string\.$"):
        load_config("quickstart", ["data.records=[a,3]"])
    with pytest.raises(UserError, match=r"`data\.source_balance` is 0: .* greater than 0"):
        load_config("quickstart", ["data.source_balance=[1,0]"])
