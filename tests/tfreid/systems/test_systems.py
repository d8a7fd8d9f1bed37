"""A system of pairs plugged into the training loop, and what the loop keeps of its figures."""

from __future__ import annotations

import json
import operator

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfrecords.errors import UserError
from tfreid.config import Config, DataConfig
from tfreid.evaluation.evaluator import Evaluation
from tfreid.systems.base import System
from tfreid.systems.registry import SYSTEMS, make_system
from tfreid.systems.stages import train
from tfreid.training.interfaces import Objective
from tfreid.training.run_folder import RunFolder
from tfreid.weights.choice import find_chosen_on

FIGURES = [0.25, 0.75, 0.5]  # rank-1 after the first, second and third epoch
PAIRS, IMAGES = 6, 4
SETTINGS = [
    "system=csn", "training.epochs=3", "schedule.warmup_epochs=0",
    "training.evaluate_every=1", "training.log_every=1",
    "training.checkpoint_every_steps=1", "training.frozen_backbone_epochs=1",
    "optimizer.name=sgd", "training.devices=[CPU:0,CPU:1]",
]


class _Batches:
    batch_size, error, state, batches_per_preparation = PAIRS, None, None, None

    def prepare(self, epoch, batches, first, model):
        return {"prepared/epoch": epoch, "prepared/first": first}

    def epoch(self, epoch, batches, first=0, part=slice(None)):
        random = np.random.default_rng(epoch)
        images = random.integers(0, 256, (batches, IMAGES, 8, 4, 3)).astype(np.uint8)
        pairs = random.integers(0, IMAGES, (2, batches, PAIRS)).astype(np.int32)
        match = np.ones((batches, PAIRS), np.int32)
        columns = (images, *pairs, match)
        return tf.data.Dataset.from_tensor_slices(tuple(column[first:][part] for column in columns))


class _Objective(Objective):
    def forward(self, model, batch):
        images, first, second, match = batch
        features = model(tf.cast(images, tf.float32), training=True)
        difference = tf.gather(features, first) - tf.gather(features, second)
        loss = tf.reduce_mean(tf.cast(match, tf.float32)[:, None] * difference**2)
        return loss, {"loss/total": loss}, (features, difference)

    def watched(self, outputs, batch):
        return batch[0], outputs[1]

    def summarize(self, summaries, watched, step):
        images, difference = watched
        assert images.shape == (IMAGES, 8, 4, 3) and difference.shape == (PAIRS, 3)
        summaries.images("pairs", images, step, columns=2)


class _Evaluation(Evaluation):
    def __init__(self, rank_1):
        self.main_figure = rank_1

    def scalars(self):
        return {"evaluation/single_shot_rank_1": self.main_figure}

    def progress(self):
        return {"rank_1": self.main_figure}

    def headline(self):
        return f"single-shot rank-1 {self.main_figure:.2%}"

    def as_dict(self):
        return {"trials": 2}


class _Evaluator:
    evaluated_on = "validation"

    def __init__(self):
        self.evaluations = iter(FIGURES)

    def try_out(self):
        pass

    def evaluate(self, progress=True, max_queries=None):
        return _Evaluation(next(self.evaluations))


class PairSystem(System):
    unit = "pairs"
    trainable = []

    def check(self, replicas):
        assert replicas == 2

    def make_batches(self, table):
        batches = _Batches()
        batches.description = f"{len(table.index)} images in pairs"
        return batches

    def steps_per_epoch(self, batches, replicas):
        return 4 // replicas

    def build_model(self):
        images = keras.Input((8, 4, 3))
        features = keras.layers.Dense(3, name="fc")(keras.layers.Flatten()(images / 255.0))
        return keras.Model(images, features)

    def load_initial_weights(self, model):
        PairSystem.initial = model.get_layer("fc").kernel.numpy()

    def set_backbone_trainable(self, model, trainable):
        self.trainable.append(trainable)

    def make_objective(self, model):
        return _Objective()

    def make_evaluator(self, model, records):
        return _Evaluator()


@pytest.fixture(scope="module")
def run(records, tmp_path_factory):
    """A whole run of such a system: its folder, the system, what was printed, and on resuming."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "pairs.yaml").write_text(f"data: {{records: {records}}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "csn", f"{__name__}:PairSystem")
        lines = []
        patch.setattr("builtins.print", lambda *parts, **_: lines.append(" ".join(parts)))
        train(str(folder / "pairs.yaml"), folder / "run", SETTINGS)
        first = "\n".join(lines)
        lines.clear()
        train(None, folder / "run", [], resume=True)
    return folder / "run", PairSystem, first, "\n".join(lines)


def test_another_system_trains(run):
    folder, system, printed, resumed = run
    last = tf.train.load_checkpoint(str(folder / "checkpoints"))
    kernels = [last.get_tensor(name) for name, shape in last.get_variable_to_shape_map().items()
               if shape == list(system.initial.shape)]
    assert any(np.abs(kernel).max() > 0.01 and not np.allclose(kernel, system.initial)
               for kernel in kernels)
    assert system.trainable == [False, True]
    first, note = printed.splitlines()[:2]
    assert ("48 images in pairs in memory (0 MB), 2 device(s), from random weights; evaluations "
            "are on validation") in first
    assert note == (
        "note: global batch 12 = 2 devices x 6 pairs; 2 steps an epoch instead of 4 on one; the "
        "learning rate stays 0.00035 (schedule.scale_rate=none); data.global_batch=keep trains "
        "with the batch of the recipe")
    assert note in resumed.splitlines()
    assert "step 6: single-shot rank-1 50.00%, validation images" in printed


def test_the_best_is_that_of_the_systems_main_figure(run):
    folder = run[0]
    progress = json.loads((folder / "checkpoints" / "progress.json").read_text())
    assert progress["best"] == {"step": 4, "rank_1": 0.75}
    assert progress["best_figure"] == 0.75
    assert json.loads((folder / "results.json").read_text()) == {
        "trials": 2, "step": 4, "rank_1": 0.75, "evaluated_on": "validation",
        "weights_chosen_on": "validation"}
    assert find_chosen_on(folder / "checkpoints" / "best.weights.h5") == "validation"
    assert RunFolder(folder).weights().name == "best.weights.h5"
    assert (folder / "checkpoints" / "best.weights.h5").exists()
    assert not (folder / "tensorboard" / "gallery.tsv").exists()


def test_tensorboard_counts_pairs_and_shows_the_systems_pictures(run):
    events = EventAccumulator(str(run[0] / "tensorboard"), {"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    assert {"pairs_per_second", "training images", "pairs", "loss/total",
            "evaluation/validation/single_shot_rank_1", "evaluation"} <= tags
    assert "images_per_second" not in tags
    assert [event.step for event in events.Tensors("pairs")] == [1, 2, 3, 4, 5, 6]
    width, height, png = events.Tensors("pairs")[0].tensor_proto.string_val
    assert (width, height) == (b"8", b"16")  # two columns and rows of 4 x 8 images
    images = next(iter(_Batches().epoch(0, 4)))[0].numpy()
    picture = tf.io.decode_png(png).numpy()
    np.testing.assert_array_equal(picture[8:, :4], images[2])


@pytest.mark.parametrize("system", ["csn", "siamese", "triplet"])
def test_balanced_cameras_are_for_batches_of_p_identities_with_k_images(system):
    config = Config(system=system, data=DataConfig(balance_cameras=True))
    with pytest.raises(UserError, match=f"balance_cameras .* false with system: {system}"):
        make_system(config)


@pytest.mark.parametrize("system, setting, value", [
    ("csn", "data.source_balance", "equal"), ("siamese", "data.source_balance", [3.0, 1.0]),
    ("triplet", "loss.classifier", "arcface"), ("csn", "loss.classifier", "circle"),
    ("siamese", "loss.classifier_scale", 30.0), ("triplet", "loss.lin.weight", 0.4),
    ("csn", "loss.circle.weight", 1.0), ("triplet", "loss.supervised_contrastive.weight", 1.0)])
def test_settings_that_a_system_does_not_read_are_refused(system, setting, value):
    config = Config(system=system)
    section, _, name = setting.rpartition(".")
    setattr(operator.attrgetter(section)(config), name, value)
    with pytest.raises(UserError, match=f"{setting} .* (with|which) system: {system}"):
        make_system(config)
