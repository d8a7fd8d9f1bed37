"""The objective: its weighted losses on one replica and on two, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid import addons
from tfreid.config import (
    AddonsLossConfig,
    CenterLossConfig,
    CircleLossConfig,
    IdLossConfig,
    LinLossConfig,
    LossConfig,
    MultiSimilarityLossConfig,
    SupervisedContrastiveLossConfig,
    TripletLossConfig,
)
from tfreid.losses import (
    LOSSES,
    LabelSmoothedSoftmax,
    LinLoss,
    TripletLoss,
)
from tfreid.losses.statistics import batch_statistics
from tfreid.systems.embedding import objective as objective_module
from tfreid.systems.embedding.objective import EmbeddingObjective
from tfreid.training.strategy import make_strategy

LABELS = np.array([[0, 0, 1, 1], [2, 2, 0, 0]], np.int32)  # of the two replicas
IDENTITIES, SIZE = 3, 5
NO_LOSS = {"id": IdLossConfig(0.0), "triplet": TripletLossConfig(0.0),
           "center": CenterLossConfig(0.0)}
# The sections of the losses of cosines, with settings that are not the defaults.
COSINE_LOSSES = {
    "circle": (CircleLossConfig, {"scale": 3.0, "margin": 0.4}),
    "multi_similarity": (MultiSimilarityLossConfig, {
        "positive_scale": 3.0, "negative_scale": 9.0, "threshold": 0.2, "mining_margin": 0.15}),
    "supervised_contrastive": (SupervisedContrastiveLossConfig, {"temperature": 0.7}),
}
requires_addons = pytest.mark.skipif(not addons.available(),
                                     reason="TensorFlow Addons is not installed")


def some_outputs():
    """Outputs of a model for both replicas, [2, 4, ...]."""
    random = np.random.default_rng(24)  # near and far pairs, every loss above zero
    sizes = {"embedding": SIZE, "neck": SIZE, "logits": IDENTITIES}
    return {name: random.normal(size=(2, 4, size)).astype(np.float32) + 1.0
            for name, size in sizes.items()}


def run(config, devices=1):
    """Returns each replica's total, scalars and gradient with respect to the features."""
    strategy = make_strategy([f"CPU:{i}" for i in range(devices)])
    with strategy.scope():
        objective = EmbeddingObjective(config, IDENTITIES, SIZE)

    def step(outputs, labels):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            total, scalars = objective(outputs, labels)
        gradient = tape.gradient(total, outputs[config.metric_feature],
                                 unconnected_gradients="zero")
        return total, scalars, tf.convert_to_tensor(gradient)

    def per_replica(values):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[context.replica_id_in_sync_group]))

    outputs = {name: per_replica(value) for name, value in some_outputs().items()}
    results = tf.function(strategy.run)(step, args=(outputs, per_replica(LABELS)))
    local = [strategy.experimental_local_results(value) for value in tf.nest.flatten(results)]
    return [tf.nest.pack_sequence_as(results, [value[replica].numpy() for value in local])
            for replica in range(devices)]


@pytest.mark.parametrize("feature", ["embedding", "neck"])
@pytest.mark.parametrize("devices", [1, 2])
def test_lin_and_triplet_see_the_chosen_feature(feature, devices):
    config = LossConfig(metric_feature=feature,
                        lin=LinLossConfig(weight=0.4),
                        triplet=TripletLossConfig(weight=2.0),
                        center=CenterLossConfig(weight=0.0))
    outputs = some_outputs()
    for replica, (total, scalars, _) in enumerate(run(config, devices)):
        features, labels = outputs[feature][replica], LABELS[replica]
        expected = {
            "id": np.mean(LabelSmoothedSoftmax()(labels, outputs["logits"][replica])),
            "triplet": 2.0 * np.mean(TripletLoss()(labels, features)),
            "lin": 0.4 * np.mean(LinLoss(reduction="none")(labels, features)),
        }
        for name, loss in expected.items():
            assert loss > 0.1
            assert scalars[f"loss/{name}"] == pytest.approx(loss, rel=1e-5)
        assert total == pytest.approx(sum(expected.values()), rel=1e-5)
        assert scalars["loss/total"] == total


@pytest.mark.parametrize("feature", ["embedding", "neck"])
def test_center_loss_and_centers_see_the_chosen_feature(feature):
    config = LossConfig(center_feature=feature, id=IdLossConfig(0.0),
                        triplet=TripletLossConfig(0.0), center=CenterLossConfig(0.1))
    objective = EmbeddingObjective(config, IDENTITIES, SIZE)
    before = objective.centers.numpy()
    outputs = {name: value[0] for name, value in some_outputs().items()}
    total, _ = objective(outputs, LABELS[0])
    apart = before[LABELS[0]] - outputs[feature]
    assert float(total) == pytest.approx(0.1 * np.mean(np.sum(apart ** 2, axis=1)), rel=1e-5)
    objective.after_step(outputs, (None, LABELS[0]))
    # Half of the gradient of the mean, which each identity's two of the four images share.
    np.testing.assert_allclose(objective.centers.numpy()[:2],
                               before[:2] - apart.reshape(2, 2, SIZE).sum(1) / 4, atol=1e-6)


def test_every_setting_reaches_the_lin_loss():
    settings = {"positive_boundary": 0.3, "negative_boundary": 1.1, "temperature": 3.0,
                "decay": False, "pairs": "active"}
    config = LossConfig(**NO_LOSS, lin=LinLossConfig(weight=0.5, **settings))
    features = some_outputs()["embedding"][0]
    ((_, scalars, _),) = run(config)
    expected = LinLoss(**settings)(LABELS[0], features).numpy()
    assert scalars["loss/lin"] == pytest.approx(0.5 * expected, rel=1e-5)
    for name, value in settings.items():
        others = {other: v for other, v in settings.items() if other != name}
        assert LinLoss(**others)(LABELS[0], features).numpy() != pytest.approx(expected), value
    added = dataclasses.replace(config.lin, reduction="sum")
    ((_, scalars, _),) = run(dataclasses.replace(config, lin=added))
    assert scalars["loss/lin"] == pytest.approx(len(LABELS[0]) * 0.5 * expected, rel=1e-5)
    # What changes no value changes the gradient.
    constant, through = (
        run(LossConfig(**NO_LOSS, lin=LinLossConfig(1.0, weight_gradient=on)))[0][2]
        for on in (False, True))
    assert not np.allclose(constant, through, atol=1e-3)


@pytest.mark.parametrize("name", COSINE_LOSSES)
def test_every_setting_reaches_the_losses_of_cosines(name):
    kind, settings = COSINE_LOSSES[name]
    config = LossConfig(**NO_LOSS, metric_feature="neck", **{name: kind(0.5, **settings)})
    for replica, (total, scalars, gradient) in enumerate(run(config, devices=2)):
        labels, features = LABELS[replica], some_outputs()["neck"][replica]
        expected = LOSSES[name](**settings)(labels, features).numpy()
        assert total == scalars[f"loss/{name}"] == pytest.approx(0.5 * expected, rel=1e-5)
        assert np.abs(gradient).max() > 1e-3
        for without in settings if replica == 0 else ():
            others = {key: value for key, value in settings.items() if key != without}
            assert LOSSES[name](**others)(labels, features).numpy() != pytest.approx(expected)


@pytest.mark.parametrize(("classifier", "name", "scale", "margin"), [
    ("arcface", "arcface", 16.0, 0.5), ("cosface", "cosface", 16.0, 0.35),
    ("circle", "circle_classifier", 128.0, 0.25)])
def test_the_classifier_decides_the_id_loss(classifier, name, scale, margin):
    no_loss = {**NO_LOSS, "id": IdLossConfig(2.0, smoothing=0.2)}
    cosines = some_outputs()["logits"][0] / 10  # what the model gives then
    for given in ({}, {"scale": 7.0}, {"margin": 0.1}):
        config = LossConfig(**no_loss, classifier=classifier,
                            **{f"classifier_{key}": value for key, value in given.items()})
        objective = EmbeddingObjective(config, IDENTITIES, SIZE)
        outputs = {key: value[0] for key, value in some_outputs().items()}
        total, scalars = objective({**outputs, "logits": cosines}, LABELS[0])
        settings = {"scale": scale, "margin": margin, **given}
        expected = LOSSES[name](**settings, smoothing=0.2)(LABELS[0], cosines).numpy()
        assert float(total) == pytest.approx(2.0 * expected, rel=1e-5)
        assert scalars["accuracy/id"] == np.mean(cosines.argmax(axis=1) == LABELS[0])


@pytest.mark.parametrize(("settings", "message"), [
    ({"classifier_scale": 30.0}, "loss.classifier_scale is for loss.classifier arcface, cosface, "
                                 "circle; set it to null"),
    ({"classifier_margin": 0.3}, "loss.classifier_margin is for"),
    ({"classifier": "cosface", "id": IdLossConfig(0.0)}, "loss.classifier=cosface is an ID loss"),
])
def test_settings_of_the_classifier_that_nothing_reads_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        objective_module.check_losses(LossConfig(**settings))


def test_shares_of_active_pairs_are_reported():
    ((_, scalars, _),) = run(LossConfig(**NO_LOSS, lin=LinLossConfig(1.0, negative_boundary=0.9)))
    rows = some_outputs()["embedding"][0]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    same = LABELS[0][:, None] == LABELS[0]
    positives = distances[same & ~np.eye(4, dtype=bool)] > 0.7
    negatives = distances[~same] < 0.9
    assert scalars["lin/active_positives"] == pytest.approx(positives.mean())
    assert scalars["lin/active_negatives"] == pytest.approx(negatives.mean())
    assert 0 < positives.mean() < 1 and 0 < negatives.mean() < 1


@pytest.mark.parametrize("name", ["lin", *COSINE_LOSSES])
def test_across_replicas_equals_one_large_batch(name):
    kind = {"lin": LinLossConfig}.get(name) or COSINE_LOSSES[name][0]
    config = LossConfig(**NO_LOSS, **{name: kind(1.0, across_replicas=True)})
    features = tf.Variable(some_outputs()["embedding"].reshape(8, SIZE))
    with tf.GradientTape() as tape:
        large = LOSSES[name]()(LABELS.reshape(-1), features)
    gradients = tape.gradient(large, features).numpy().reshape(2, 4, SIZE)
    replicas = run(config, devices=2)
    assert np.mean([total for total, *_ in replicas]) == pytest.approx(float(large), rel=1e-5)
    for replica, (_, _, gradient) in enumerate(replicas):
        # What the step averages over replicas.
        np.testing.assert_allclose(gradient / 2, gradients[replica], rtol=1e-4, atol=1e-6)
    apart = run(LossConfig(**NO_LOSS, **{name: kind(1.0)}), devices=2)
    assert np.mean([total for total, *_ in apart]) != pytest.approx(float(large), rel=1e-3)


def test_statistics_see_the_metric_feature_but_the_collapse_the_embedding():
    config = LossConfig(metric_feature="neck")
    ((_, scalars, _),) = run(config)
    outputs = some_outputs()
    neck = batch_statistics(outputs["neck"][0], LABELS[0])
    embedding = batch_statistics(outputs["embedding"][0], LABELS[0])
    for name, value in neck.items():
        expected = embedding[name] if name.startswith("embedding/") else value
        assert scalars[name] == pytest.approx(float(expected), rel=1e-5)
        assert float(value) != pytest.approx(float(embedding[name])) or "share" in name


def test_lin_alone_reports_distances_of_unit_vectors():
    ((_, scalars, _),) = run(LossConfig(**NO_LOSS, lin=LinLossConfig(1.0)))
    expected = batch_statistics(some_outputs()["embedding"][0], LABELS[0], normalize=True)
    assert scalars["distance/negative_mean"] == pytest.approx(
        float(expected["distance/negative_mean"]), rel=1e-5)


@requires_addons
@pytest.mark.parametrize("name", addons.METRIC_LOSSES)
@pytest.mark.parametrize("devices", [1, 2])
def test_losses_of_addons_run_on_every_replica(name, devices):
    config = LossConfig(**NO_LOSS, metric_feature="neck", addons=AddonsLossConfig(name, 0.5, 0.7))
    for replica, (total, scalars, gradient) in enumerate(run(config, devices)):
        features = some_outputs()["neck"][replica]
        expected = 0.5 * float(addons.metric_loss(name, features, LABELS[replica], 0.7))
        assert expected > 0
        assert total == scalars[f"loss/{name}"] == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_losses_of_addons_are_refused_where_they_are_not_installed(monkeypatch):
    monkeypatch.setattr(addons, "_module", lambda: None)
    config = LossConfig(addons=AddonsLossConfig(name="lifted_structure"))
    for refused in (lambda: objective_module.check_losses(config),
                    lambda: EmbeddingObjective(config, IDENTITIES, SIZE)):
        with pytest.raises(UserError, match="loss.addons.name=lifted_structure needs TensorFlow"):
            refused()
    objective_module.check_losses(LossConfig(addons=AddonsLossConfig(name="npairs", weight=0.0)))
    objective_module.check_losses(LossConfig())


def test_boundaries_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="positive_boundary is above negative_boundary"):
        LossConfig(lin=LinLossConfig(positive_boundary=1.3, negative_boundary=1.2))
    LossConfig(lin=LinLossConfig(positive_boundary=1.2, negative_boundary=1.2))


@pytest.mark.parametrize(
    "settings, replicas, blocker",
    [
        ({"triplet": TripletLossConfig(across_replicas=True)}, 2, "loss.triplet.across_replicas"),
        ({"lin": LinLossConfig(1.0, across_replicas=True)}, 2, "loss.lin.across_replicas"),
        ({"circle": CircleLossConfig(1.0, across_replicas=True)}, 2, "loss.circle.across_replicas"),
        pytest.param({"addons": AddonsLossConfig("npairs")}, 1, "loss.addons.name=npairs",
                     marks=requires_addons),
    ],
)
def test_losses_that_cannot_be_compiled(settings, replicas, blocker):
    config = LossConfig(**settings)
    with pytest.raises(UserError, match=f"jit_compile cannot be combined with {blocker} here"):
        objective_module.check_losses(config, jit_compile=True, replicas=replicas)
    objective_module.check_losses(config, jit_compile=False, replicas=replicas)


def test_losses_that_can_be_compiled():
    across = LossConfig(triplet=TripletLossConfig(across_replicas=True))
    objective_module.check_losses(across, jit_compile=True, replicas=1)
    unweighted = LossConfig(triplet=TripletLossConfig(across_replicas=True, weight=0.0))
    objective_module.check_losses(unweighted, jit_compile=True, replicas=2)


def test_an_objective_without_losses_is_refused():
    with pytest.raises(UserError, match="no loss has a weight"):
        EmbeddingObjective(LossConfig(**NO_LOSS, addons=AddonsLossConfig("npairs", 0.0)), 2, 2)


class _Histograms:
    """Notes what an objective wants to be shown."""

    def distances(self, *shown):
        self.shown = shown


@pytest.mark.parametrize("settings, unit_vectors", [
    ({}, False),
    ({"triplet": TripletLossConfig(normalize=True)}, True),
    ({"lin": LinLossConfig(1.0), "triplet": TripletLossConfig(0.0)}, True),
    ({"lin": LinLossConfig(1.0)}, False),
    ({"circle": CircleLossConfig(1.0), "triplet": TripletLossConfig(0.0)}, True),
])
def test_the_metric_feature_is_shown_as_the_losses_see_it(settings, unit_vectors):
    objective = EmbeddingObjective(LossConfig(metric_feature="neck", **settings), IDENTITIES, SIZE)
    outputs = {name: value[0] for name, value in some_outputs().items()}
    watched = objective.watched(outputs, (np.zeros((4, 8, 4, 3)), LABELS[0]))
    summaries = _Histograms()
    objective.summarize(summaries, watched, 5)
    features, labels, normalize, step = summaries.shown
    np.testing.assert_array_equal(features, outputs["neck"])
    np.testing.assert_array_equal(labels, LABELS[0])
    assert (normalize, step) == (unit_vectors, 5)


def test_a_collapse_is_told():
    objective = EmbeddingObjective(LossConfig(), IDENTITIES, SIZE)
    spread = batch_statistics(some_outputs()["embedding"][0], LABELS[0])["embedding/spread"]
    assert objective.warning({"embedding/spread": float(spread)}) is None
    assert "training has collapsed" in objective.warning({"embedding/spread": 0.0})
