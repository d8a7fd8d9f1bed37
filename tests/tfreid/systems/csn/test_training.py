"""Training the CSN from the command line, on one device and on two."""

from __future__ import annotations

import json
import shutil

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import test_net
import train_net
from tfreid.config import Config, ModelConfig, OptimizerConfig, load_config
from tfreid.evaluation.scoring import SingleShotEvaluator
from tfreid.records import Records
from tfreid.systems.csn.network import build_csn
from tfreid.systems.csn.objective import CsnObjective
from tfreid.systems.csn.settings import Settings as CsnSettings
from tfreid.systems.registry import make_system
from tfreid.training.optimizers import GradientApplier
from tfreid.training.step import TrainStep
from tfreid.training.strategy import make_strategy

pytestmark = pytest.mark.slow

SETTINGS = [
    "csn.width=24", "csn.levels=[3]", "model.height=64", "model.width=24",
    "data.pairs.batch_size=6", "training.max_steps=2", "training.log_every=1",
    "training.checkpoint_every_steps=1",
    "training.keep_checkpoints=9",
    "evaluation.single_shot.identities=4", "evaluation.single_shot.training_trials=2",
    "training.devices=[CPU:0]",
]
SMALL = Config(system="csn", model=ModelConfig(height=64, width=24),
               csn=CsnSettings(width=24, levels=[3]))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("recipe") / "csn.yaml"
    tree = {"name": "tiny CSN", "system": "csn", "data": {"records": str(records)},
            "evaluation": {"protocol": "single_shot"}}
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def train(recipe, capfd):
    """Returns a function that trains in this process and returns what was printed."""

    def run(output, *more, expect=0):
        status = train_net.main(_command(recipe, output, *more))
        captured = capfd.readouterr()
        assert status == expect, captured.err
        assert "Traceback" not in captured.err
        return captured.out + captured.err

    return run


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train_net.main(_command(recipe, folder)) == 0
    return folder


def _command(recipe, output, *more):
    return ["--config", str(recipe), "--output", str(output), *SETTINGS, *more]


def _weights(path):
    values = {}
    with h5py.File(path) as file:
        file.visititems(lambda key, item: values.update({key: np.array(item)})
                        if isinstance(item, h5py.Dataset) else None)
    return values


def test_a_run_leaves_everything(whole):
    for name in ("config.yaml", "command.txt", "results.json",
                 "checkpoints/last.weights.h5", "checkpoints/step-1.index",
                 "checkpoints/step-2.index"):
        assert (whole / name).exists(), name
    results = json.loads((whole / "results.json").read_text())
    assert results["protocol"] == "single_shot" and results["metric"] == "SimiScore"
    assert (results["trials"], results["identities"], results["step"]) == (2, 4, 2)
    assert 0 <= results["rank_1"] <= results["cmc"][3] == 1.0
    progress = json.loads((whole / "checkpoints/progress.json").read_text())
    assert progress["best"] is None and progress["evaluated_step"] == 2
    assert "conv3_extension/kernel" not in _weights(whole / "checkpoints/last.weights.h5")


def test_tensorboard_gets_losses_accuracies_and_regions(whole):
    events = EventAccumulator(str(whole / "tensorboard"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    wanted = {"loss/total", "loss/match", "loss/contrastive", "loss/regions", "accuracy/pairs",
              "accuracy/matching", "accuracy/non_matching", "distance/matching",
              "distance/non_matching", "attended_regions", "training images", "pairs_per_second",
              "evaluation/rank_1"}
    assert wanted <= tags, wanted - tags
    assert [event.step for event in events.Tensors("attended_regions")] == [1, 2]


def test_the_run_is_tested_single_shot_and_by_a_shortlist(whole, recipe, records, tmp_path, capsys):
    plain, both, full = (tmp_path / name for name in ("plain", "both", "full"))
    test_net.main(["--run", str(whole), "--output", str(plain), "evaluation.single_shot.trials=3"])
    found = json.loads((plain / "results.json").read_text())
    assert (found["protocol"], found["trials"], found["identities"]) == ("single_shot", 3, 4)
    assert found["dataset"] == "synthetic" and found["split"] == 0
    table = capsys.readouterr().out
    assert "SimiScore" in table and f"{100 * found['rank_1']:.2f} %" in table
    assert (plain / "cmc.png").stat().st_size > 5000
    test_net.main(["--run", str(whole), "--output", str(full), "evaluation.protocol=full",
                   "csn.score.shortlist=5"])
    assert json.loads((full / "results.json").read_text())["metric"] == "SimiScore, shortlist of 5"
    test_net.main(["--run", str(whole), "--output", str(both), "--records", str(records),
                   str(_copied(records, tmp_path / "other")), "evaluation.single_shot.trials=3"])
    summary = json.loads((both / "summary.json").read_text())["test_sets"]
    assert [sets["rank_1"] for sets in summary.values()] == [found["rank_1"]] * 2
    assert (both / "cmc.png").exists() and (both / "other" / "results.json").exists()


def _copied(records, folder):
    shutil.copytree(records, folder)
    return folder


def test_embeddings_are_tried_single_shot_too(recipe, records):
    config = load_config(recipe, ["system=embedding", "evaluation.single_shot.training_trials=2"])
    model = keras.Sequential([keras.layers.Input((4,))])
    evaluator = make_system(config).make_evaluator(model, Records(records))
    assert isinstance(evaluator, SingleShotEvaluator)


@pytest.mark.parametrize("more, words", [
    (["training.frozen_backbone_epochs=1"], "training.frozen_backbone_epochs is for backbones"),
    (["model.pooling=gem"], "model.pooling is gem, which system: csn does not read"),
    (["loss.match.weight=0", "loss.contrastive.weight=0"], "no loss has a weight"),
    (["evaluation.single_shot.identities=5"], "only 4 identities have a query image"),
    (["evaluation.protocol=full", "csn.ranking_net=false"], "csn.ranking_net"),
    (["evaluation.reranking=true"], "evaluation.reranking needs features"),
    (["evaluation.multi_query=true"], "evaluation.multi_query needs features"),
    (["evaluation.expansion=true"], "evaluation.expansion needs features"),
    (["training.evaluate_queries=2"], "training.evaluate_queries is for evaluation.protocol=full"),
    (["training.jit_compile=true"], "training.jit_compile is not available"),
    (["csn.levels=[3,2]"], "levels must be ascending"),
    (["model.weights=nothing.weights.h5"], "nothing.weights.h5 does not exist"),
    (["data.fold=1"], "data.fold is 1"),
])
def test_mistakes_get_one_sentence(train, tmp_path, more, words):
    # A network that is quick to build, since some mistakes show only beside it.
    printed = train(tmp_path / "run", "csn.attention=center", *more, expect=2)
    assert words in printed
    assert not (tmp_path / "run").exists()


def test_half_precision_on_two_devices_trains_and_ranks(train, tmp_path):
    run = tmp_path / "mixed"
    try:
        printed = train(run, "training.precision=mixed_bfloat16", "training.max_steps=1",
                        "triplet.margin=0.2", "siamese.hidden_size=9",
                        "training.devices=[CPU:0,CPU:1]",
                        "evaluation.protocol=full", "csn.score.shortlist=5")
        assert test_net.main(["--run", str(run), "--output", str(tmp_path / "trials"),
                              "evaluation.protocol=single_shot",
                              "evaluation.single_shot.trials=1"]) == 0
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert "2 device(s)" in printed
    # Nor does a mistaken section pass in silence.
    assert ("note: triplet.margin, siamese.hidden_size: not read, because system is csn"
            in printed.splitlines())
    results = json.loads((run / "results.json").read_text())
    assert results["metric"] == "SimiScore, shortlist of 5"
    assert results["num_valid_queries"] == 12
    assert 0 < results["mean_ap"] <= 1
    trials = json.loads((tmp_path / "trials/results.json").read_text())
    assert trials["protocol"] == "single_shot" and 0 <= trials["rank_1"] <= 1
    for value in _weights(run / "checkpoints/last.weights.h5").values():
        assert np.isfinite(value).all()


def _build():
    keras.utils.set_random_seed(3)
    return build_csn(SMALL)


def _batches():
    """A batch of three images and three pairs for each of two replicas."""
    random = np.random.default_rng(4)
    images = random.integers(0, 256, (2, 3, 64, 24, 3)).astype(np.uint8)
    first = np.int32([[0, 1, 2], [2, 1, 0]])
    second = np.int32([[1, 2, 0], [0, 2, 1]])
    return images, first, second, np.int32([[1, 0, 0], [0, 1, 0]])


def test_two_replicas_equal_the_average_of_both_by_hand():
    rate, batches = 0.01, _batches()
    strategy = make_strategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = _build()
        objective = CsnObjective(SMALL.loss, SMALL.csn.levels)
        applier = GradientApplier(OptimizerConfig(name="sgd", momentum=0.0, weight_decay=0.0),
                                  list(model.trainable_variables), loss_scaling=False)
    applier.set_learning_rate(rate)
    before = [weight.numpy() for weight in model.trainable_variables]

    def spread(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group]))

    step = TrainStep(strategy, model, objective, applier)
    scalars, watched = step(tuple(spread(column) for column in batches))
    np.testing.assert_array_equal(watched[0].numpy(), batches[0][0])

    losses, gradients, alone = [], [], _build()
    for replica in range(2):
        with tf.GradientTape() as tape:
            loss, *_ = CsnObjective(SMALL.loss, SMALL.csn.levels).forward(
                alone, tuple(tf.constant(column[replica]) for column in batches))
        losses.append(float(loss))
        gradients.append([tf.convert_to_tensor(gradient).numpy() for gradient in
                          tape.gradient(loss, alone.trainable_variables)])
    assert float(scalars["loss/total"]) == pytest.approx(np.mean(losses), rel=1e-4)
    for old, one, other, new in zip(before, *gradients, model.trainable_variables):
        moved = rate * (one + other) / 2
        np.testing.assert_allclose(old - new.numpy(), moved, rtol=0.02,
                                   atol=2e-7 + 2e-3 * np.abs(moved).max())
