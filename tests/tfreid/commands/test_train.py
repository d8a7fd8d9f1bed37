"""Training from the command line: resuming, stopping, refusing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
import yaml

import train_net
from tfreid.config import load_config
from tfreid.systems.registry import make_system
from tfreid.training.run_folder import RunFolder
from tfreid.weights.choice import find_chosen_on

ROOT = Path(__file__).resolve().parents[3]
TINY = [
    "model.backbone=tiny", "model.height=64", "model.width=32",
    "data.identities_per_batch=4", "data.images_per_identity=2",
    "training.steps_per_epoch=4", "training.epochs=3", "training.evaluate_every=1",
    "training.log_every=2", "training.projector_images=9",
    "schedule.warmup_epochs=2", "optimizer.average_momentum=0.9",
    "data.augmentation.color_probability=0.5",
]


# Two of the eight people choose the best weights.
HELD_OUT = "data.subset.validation=2"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, records, tiny_backbone):
    """A recipe file whose settings are tiny."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    tree = {"name": "tiny", "data": {"records": str(records)}}
    path.write_text(yaml.safe_dump(tree))
    return path


def _start(recipe, output, *more) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "tests/tiny_backbone.py"), str(ROOT / "train_net.py"),
               "--config", str(recipe), "--output", str(output), *TINY,
               "training.deterministic=true", *more]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def _train(recipe, output, *more, expect=0) -> str:
    process = _start(recipe, output, *more)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == expect, text
    return text


def _train_here(capfd, recipe, output, *more, expect=0) -> str:
    """As `_train`, in this process: quicker, where no signal or exact repetition is asked for."""
    command = ["--config", str(recipe), "--output", str(output), *TINY, *more]
    status = train_net.main(command)
    captured = capfd.readouterr()
    assert status == expect, captured.err
    return captured.out + captured.err


def _weights(path) -> dict[str, np.ndarray]:
    values = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda key, item: values.update({key: np.array(item)})
            if isinstance(item, h5py.Dataset) else None
        )
    return values


def _assert_same_end(run, other):
    for name in ("last.weights.h5", "best.weights.h5"):
        mine, theirs = (_weights(r / "checkpoints" / name) for r in (run, other))
        assert mine.keys() == theirs.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], theirs[key], err_msg=f"{name} {key}")


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory):
    """A whole run of three epochs, and what it printed."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    return output, _train(recipe, output, HELD_OUT, "training.evaluate_untrained=true")


def _wait_for(path: Path, process) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_whole_run_leaves_everything(uninterrupted):
    run, printed = uninterrupted
    for name in ("config.yaml", "command.txt", "results.json", "checkpoints/best.weights.h5",
                 "checkpoints/last.weights.h5", "checkpoints/checkpoint",
                 "tensorboard/projector_config.pbtxt", "tensorboard/gallery.png"):
        assert (run / name).exists(), name
    assert "evaluations are on validation images and choose the best weights" in printed
    assert "validation images (untrained)" in printed and "step 12: rank-1" in printed
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["num_identities"] == 6
    assert "train_net.py" in (run / "command.txt").read_text()
    progress = json.loads((run / "checkpoints/progress.json").read_text())
    assert progress["evaluated_step"] == 12 and progress["untrained"]["step"] == 0
    results = json.loads((run / "results.json").read_text())
    assert results["mean_ap"] == progress["best"]["mean_ap"]
    assert results["evaluated_on"] == results["weights_chosen_on"] == progress["chosen_on"]
    assert progress["chosen_on"] == "validation" and results["num_gallery"] == 2 * 3 * 2
    assert find_chosen_on(RunFolder(run).weights()) == "validation"
    assert len((run / "tensorboard/gallery.tsv").read_text().splitlines()) == 9


def test_tensorboard_gets_losses_rates_images_and_figures(uninterrupted):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(uninterrupted[0] / "tensorboard"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    wanted = {"loss/total", "loss/id", "loss/triplet", "loss/center", "learning_rate",
              "images_per_second", "distance/positive", "distance/negative", "training images",
              "distance/positive_mean", "embedding/norm", "triplet/active_share",
              "evaluation/validation/rank_1", "evaluation/validation/mAP"}
    assert wanted <= tags, wanted - tags
    assert [event.step for event in events.Tensors("evaluation/validation/mAP")] == [0, 4, 8, 12]
    (said,) = events.Tensors("evaluation")[0].tensor_proto.string_val
    assert b"on validation images and choose the best weights" in said


@pytest.mark.slow
def test_stopped_and_killed_and_resumed_ends_with_the_same_weights(
    recipe, uninterrupted, tmp_path
):
    run = tmp_path / "run"
    more = [HELD_OUT, "training.evaluate_untrained=true", "training.keep_checkpoints=9"]
    # SIGTERM in the middle of the first epoch saves and exits as shells have it.
    process = _start(recipe, run, "training.checkpoint_every_steps=1", *more)
    _wait_for(run / "checkpoints" / "step-1.index", process)
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 128 + signal.SIGTERM, text
    assert "SIGTERM" in text and "--resume" in text
    # From there on a checkpoint at every other step, and a kill in the middle of the second epoch.
    more.append("training.checkpoint_every_steps=2")
    process = _start(recipe, run, "--resume", *more)
    _wait_for(run / "checkpoints" / "step-6.index", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "checkpoints" / "last.weights.h5").exists()
    printed = _train(recipe, run, "--resume", *more)
    assert "resuming after step" in printed
    _assert_same_end(run, uninterrupted[0])
    commands = (run / "command.txt").read_text().splitlines()
    assert len(commands) == 3 and all("--resume" in command for command in commands[1:])


def test_frozen_backbone_trains_the_head_alone(capfd, recipe, tmp_path):
    more = ["training.frozen_backbone_epochs=1", "training.evaluate_every=0",
            "optimizer.average_momentum=null", "training.checkpoint_every_steps=1",
            "training.keep_checkpoints=9"]
    run = tmp_path / "frozen"
    printed = _train_here(capfd, recipe, run, *more, "training.max_steps=6")
    # Nobody is held out, so nothing is chosen.
    assert "on test images and choose nothing: the last weights are the result" in printed
    assert RunFolder(run).weights().name == "last.weights.h5"
    assert not (run / "checkpoints" / "best.weights.h5").exists()
    results = json.loads((run / "results.json").read_text())
    assert (results["step"], results["evaluated_on"], results["weights_chosen_on"]) == (
        6, "test", None)
    first, last_frozen, freed = (
        tf.train.load_checkpoint(str(run / "checkpoints" / f"step-{step}")) for step in (1, 4, 6)
    )
    moved = {}
    for name, shape in first.get_variable_to_shape_map().items():
        values = [c.get_tensor(name) for c in (first, last_frozen, freed)
                  if c.has_tensor(name)]
        # Moments of weights that have not been trained are zero; weights never are.
        if len(shape) in (2, 4) and len(values) == 3 and np.any(values[0]):
            moved[name] = (len(shape), *(not np.array_equal(a, b)
                                         for a, b in zip(values, values[1:])))
    kernels = [m for m in moved.values() if m[0] == 4]
    assert kernels and not any(frozen for _, frozen, _ in kernels)
    assert all(freed for _, _, freed in kernels)
    assert any(frozen for rank, frozen, _ in moved.values() if rank == 2)


@pytest.mark.parametrize("classifier, precision, more", [
    ("arcface", "mixed_float16", ["loss.circle.weight=0.01", "loss.multi_similarity.weight=1"]),
    ("circle", "mixed_bfloat16", ["loss.supervised_contrastive.weight=1",
                                  "loss.classifier_scale=40"]),
])
def test_a_classifier_with_a_margin_beside_losses_of_cosines(
    capfd, recipe, tmp_path, classifier, precision, more
):
    run = tmp_path / "run"
    _train_here(capfd, recipe, run, f"loss.classifier={classifier}", "loss.triplet.weight=0",
                "training.evaluate_every=0", f"training.precision={precision}",
                "training.max_steps=6", *more)
    weights = _weights(run / "checkpoints" / "last.weights.h5")
    (kernel,) = [x for key, x in weights.items() if key.startswith("classifier/")]
    assert kernel.shape == (8, 8) and np.isfinite(kernel).all()
    system = make_system(load_config(run / "config.yaml"))
    outputs = system.load(run / "checkpoints" / "last.weights.h5")(
        np.random.default_rng(0).uniform(0, 255, (2, 64, 32, 3)).astype(np.float32))
    neck = np.asarray(outputs["neck"])
    unit = neck / np.linalg.norm(neck, axis=1, keepdims=True)
    np.testing.assert_allclose(outputs["logits"], unit @ (kernel / np.linalg.norm(kernel, axis=0)),
                               atol=1e-5)


def test_nan_loss_stops_with_the_step_and_keeps_the_checkpoint(capfd, recipe, tmp_path):
    run = tmp_path / "nan"
    printed = _train_here(
        capfd, recipe, run, "training.evaluate_every=0", "training.steps_per_epoch=6",
        "training.epochs=2", "optimizer.name=sgd", "optimizer.weight_decay=1",
        "schedule.learning_rate=1e6", "schedule.warmup_start=1e-4", expect=2,
    )
    assert "error: the loss became nan at step" in printed
    assert "Traceback" not in printed
    # The first epoch, at a sound rate, ended at step 6; the second one was not saved.
    assert (run / "checkpoints" / "step-6.index").exists()
    assert not (run / "checkpoints" / "step-12.index").exists()


@pytest.mark.parametrize("more, words", [
    (["training.epoch=3"], "the nearest is `training.epochs`"),
    (["data.identities_per_batch=9"], "only 8 training identities"),
    (["data.records=nowhere"], "nowhere"),
    (["model.num_identities=5"], "holds 8 training identities"),
    (["model.backbone=resnet"], "the nearest is resnet50"),
    (["training.devices=[GPU:7]"], "this machine has CPU:0"),
    (["model.weights=nothing.weights.h5"], "nothing.weights.h5 does not exist"),
    (["loss.classifier=arcface", "model.classifier_bias=true"], "has neither bias nor sigmoid"),
    (["loss.classifier=arcface", "loss.classifier_margin=2"], "`loss.classifier_margin` is 2: "),
    (["loss.classifier_scale=30"], "loss.classifier_scale is for loss.classifier arcface"),
    (["loss.circle.weight=1", "loss.triplet.weight=0", "data.sampling=images"],
     "data.sampling=images draws no pairs of an identity"),
])
def test_mistakes_get_one_sentence(capfd, recipe, tmp_path, more, words):
    printed = _train_here(capfd, recipe, tmp_path / "run", *more, expect=2)
    assert words in printed and "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(capfd, recipe, uninterrupted):
    run, _ = uninterrupted
    written = [run / "config.yaml", run / "command.txt"]
    before = [path.read_text() for path in written]
    assert "add --resume" in _train_here(capfd, recipe, run, HELD_OUT, expect=2)
    printed = _train_here(capfd, recipe, run, "--resume", HELD_OUT, "model.height=32", expect=2)
    assert "started with model.height=64" in printed
    printed = _train_here(capfd, recipe, run, "--resume", expect=2)
    assert "has 8 training identities, but" in printed and "is a run on 6" in printed
    identities = run / "checkpoints" / "identities.json"
    mine = identities.read_text()
    identities.write_text(json.dumps({"count": 6, "fingerprint": "of other people"}))
    printed = _train_here(capfd, recipe, run, "--resume", HELD_OUT, expect=2)
    identities.write_text(mine)
    assert "has 6 training identities as" in printed and "other people" in printed
    assert [path.read_text() for path in written] == before


def test_a_damaged_run_is_refused_and_told_how_to_go_on(capfd, recipe, tmp_path):
    run = tmp_path / "damaged"
    more = ["training.max_steps=2", "training.evaluate_every=0", "training.profile_steps=1"]
    _train_here(capfd, recipe, run, *more)
    # A second start goes on from step 2 with clipping, which a run may take up.
    _train_here(capfd, recipe, run, "--resume", "training.max_steps=3", *more[1:],
                "optimizer.clip_norm=1.0")
    assert list((run / "tensorboard").rglob("*.xplane.pb")) == []
    progress = run / "checkpoints" / "progress.json"
    progress.write_text("{")
    printed = _train_here(capfd, recipe, run, "--resume", *more, expect=2)
    assert "progress.json is broken" in printed and "delete it" in printed
    progress.unlink()
    (run / "checkpoints" / "step-3.index").write_bytes(b"")
    with pytest.warns(UserWarning, match="step-3.index is damaged .*, so an earlier checkpoint"):
        printed = _train_here(capfd, recipe, run, "--resume", "training.max_steps=3", *more[1:],
                              "training.choose_best_on=test")
    assert "resuming after step 2" in printed and "CHOSEN ON TEST IMAGES" in printed
    weights = RunFolder(run)
    assert weights.weights() == weights.last_weights != weights.weights("best")
    assert find_chosen_on(weights.best_weights) == "test"
    assert json.loads(weights.results.read_text())["weights_chosen_on"] == "test"
