"""Both stages of the ranking system on rendered people: whole, interrupted, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import test_net
import train_net
from tfrecords.errors import Stopped, UserError
from tfreid.commands import export as export_model
from tfreid.commands import query as query_export
from tfreid.config import load_config
from tfreid.data.batches import IdentityBatches
from tfreid.records import Records
from tfreid.systems.stages import train
from tfreid.weights.files import read_shapes

# 3 epochs of 2 updates of 2 steps, in 2 mining rounds; an epoch of the classifier has 6 steps.
SETTINGS = {
    "name": "tiny",
    "system": "triplet",
    "model": {"longest_side": 48, "embedding_size": 6, "pooling": "max",
              "normalize_embedding": True, "neck": False, "classifier": False},
    "data": {"augmentation": {"pad": 0, "erasing_probability": 0.0, "cutout_probability": 1.0,
                              "cutout_area_start": 0.1, "cutout_epochs": 3}},
    "pretraining": {"base": "classification", "model": {"height": 32, "width": 16},
                    "data": {"images_per_batch": 8}, "training": {"epochs": 2}},
    "triplet": {"batch_size": 4, "triplets_at_once": 2, "updates_per_mining": 3,
                "updates_per_epoch": 2, "mining_images": 20, "hardest": 5},
    "optimizer": {"name": "sgd"},
    "schedule": {"learning_rate": 0.05, "warmup_epochs": 0, "decay": "exponential",
                 "half_life": 2},
    "training": {"epochs": 3, "evaluate_every": 0, "log_every": 1, "projector_images": 4},
}


@pytest.fixture(scope="module")
def recipe(records, tiny_backbone, tmp_path_factory):
    """A recipe on records that hold nothing to test on, which would take most of the time."""
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copytree(records, folder / "records")
    manifest = json.loads((records / "manifest.json").read_text())
    manifest["splits"] = {"train": manifest["splits"]["train"]}
    (folder / "records" / "manifest.json").write_text(json.dumps(manifest))
    path = folder / "tiny.yaml"
    model = {**SETTINGS["model"], "backbone": tiny_backbone}
    data = {**SETTINGS["data"], "records": str(folder / "records")}
    path.write_text(yaml.safe_dump({**SETTINGS, "model": model, "data": data}))
    return path


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(recipe, folder, [])
    return folder


def weights(path):
    reader = tf.train.load_checkpoint(str(path))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH" and "save_counter" not in name}


def assert_same_end(run, other):
    mine, theirs = (weights(folder / "checkpoints" / "step-12") for folder in (run, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_run_has_two_stages(whole):
    """The classifier's backbone is what ranking starts from; its head is not."""
    before = read_shapes(whole / "pretraining" / "checkpoints" / "last.weights.h5")
    after = read_shapes(whole / "checkpoints" / "last.weights.h5")
    assert before["classifier/kernel"] == (8, 8) and "fc/kernel" not in before
    assert after["fc/kernel"] == (8, 6) and "classifier/kernel" not in after
    first = load_config(whole / "pretraining" / "config.yaml")
    assert (first.system, first.name) == ("embedding", "tiny (pretraining)")
    assert (first.data.sampling, first.data.images_per_batch) == ("images", 8)
    assert (first.optimizer.name, first.training.steps_per_epoch) == ("sgd", 6)
    second = load_config(whole / "config.yaml")
    assert (second.training.accumulate_steps, second.training.steps_per_epoch) == (2, 4)
    for folder in (whole, whole / "pretraining"):
        assert len((folder / "command.txt").read_text().splitlines()) == 1


def test_tensorboard_shows_mining_and_the_cut_out(whole):
    events = EventAccumulator(str(whole / "tensorboard"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    wanted = {"mining/mean_loss", "mining/active_share", "mining/largest_loss", "mining/seconds",
              "mining/possible_queries", "augmentation/cutout_limit", "loss/total",
              "triplet/active_share", "similarity/positive", "similarity/negative",
              "triplets_per_second", "training triplets", "learning_rate"}
    assert wanted <= tags, wanted - tags
    limits = events.Tensors("augmentation/cutout_limit")
    assert [event.step for event in limits] == [0, 4, 6, 8]
    values = [tf.make_ndarray(event.tensor_proto) for event in limits]
    np.testing.assert_allclose(values, [0.1, 0.3, 0.3, 0.5], rtol=1e-6)
    assert [event.step for event in events.Tensors("mining/seconds")] == [0, 6]
    assert sorted(path.name for path in whole.glob("checkpoints/step-*.index")) == [
        "step-12.index", "step-8.index"]


def test_resumed_in_a_round_and_in_an_accumulation(whole, recipe, tmp_path):
    """Step 5 is the first of two that make the round's last update, in the second epoch."""
    run = tmp_path / "run"
    train(recipe, run, ["training.max_steps=5"])
    train(recipe, run, [], resume=True)
    assert_same_end(run, whole)


def test_stopped_in_the_first_stage_and_resumed(whole, recipe, tmp_path, monkeypatch):
    epoch = IdentityBatches.epoch

    def stopped(self, number, *arguments):
        if number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return epoch(self, number, *arguments)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(IdentityBatches, "epoch", stopped)
        with pytest.raises(Stopped, match="SIGTERM after step") as stop:
            train(recipe, run, [])
    assert stop.value.number == signal.SIGTERM
    assert not (run / "pretraining" / "checkpoints" / "last.weights.h5").exists()
    assert (run / "config.yaml").exists() and not any(run.glob("checkpoints/step-*"))
    with pytest.raises(UserError, match="add --resume"):
        train(recipe, run, [])
    train(None, run, [], resume=True)
    assert_same_end(run, whole)


def test_without_the_first_stage_on_two_devices_with_statistics_of_batches(recipe, tmp_path,
                                                                           capsys):
    """One step of two triplets on each device makes an update of four."""
    run = tmp_path / "run"
    train(recipe, run, ["training.devices=[CPU:0,CPU:1]", "pretraining=null",
                        "triplet.batch_norm=batch", "training.epochs=1"])
    assert not (run / "pretraining").exists()
    assert "global batch" not in capsys.readouterr().out
    config = load_config(run / "config.yaml")
    assert (config.training.accumulate_steps, config.training.steps_per_epoch) == (1, 2)
    means = [value for name, value in weights(run / "checkpoints/step-2").items()
             if "moving_mean" in name]
    assert means and all(np.all(mean != 0) for mean in means)


def test_a_run_is_evaluated_exported_and_queried(recipe, records, tmp_path, capsys):
    run = tmp_path / "run"
    with_tests = f"data.records={records}"
    assert train_net.main(["--config", str(recipe), "--output", str(run), with_tests,
                           "pretraining=null", "training.max_steps=2"]) == 0
    trained = json.loads((run / "results.json").read_text())
    assert test_net.main(["--run", str(run), "--output", str(tmp_path / "again"),
                          "--ranked-queries", "1"]) == 0
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["mean_ap"] == trained["mean_ap"] and again["num_gallery"] == 15
    assert export_model.main(["--run", str(run)]) == 0
    images = []
    for number, crop in enumerate(list(Records(records)["query"].encoded)[:3]):
        images.append(tmp_path / f"{number}.jpg")
        images[-1].write_bytes(crop)
    capsys.readouterr()
    assert query_export.main(["--model", str(run / "export"), *map(str, images)]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert all(float(row.split()[number + 1]) < 1e-3 for number, row in enumerate(rows))


@pytest.mark.parametrize("overrides, words", [
    (["model.classifier=true"], "set model.normalize_embedding to true"),
    (["model.normalize_embedding=false"], "set model.normalize_embedding to true"),
    (["training.jit_compile=true"], "jit_compile is not available"),
    (["data.augmentation.crop_aspect_min=0.5"], "crop_aspect_min distorts"),
    (["triplet.triplets_at_once=3"], "choose a multiple"),
    (["training.accumulate_steps=3"], "require 2; leave it out"),
    (["training.steps_per_epoch=5"], "require 4; leave it out"),
    (["training.steps_per_epoch=8"], "require 4; leave it out"),
    (["triplet.mining_image=5"], "the nearest is `triplet.mining_images`"),
    (["pretraining.data.augmentation.crop_area=1"],
     "the nearest is `pretraining.data.augmentation.crop_area_m"),
    (["system=embedding"], "model.classifier=false is for system: triplet"),
    (["system=embedding", "model.classifier=true"], "model.longest_side makes images of many"),
    (["system=embedding", "model.classifier=true", "model.longest_side=null",
      "data.sampling=images"], "draws no pairs of an identity"),
])
def test_mistakes_get_one_sentence(recipe, tmp_path, overrides, words):
    with pytest.raises(UserError, match=words):
        train(recipe, tmp_path / "run", overrides)
    assert not (tmp_path / "run").exists()
