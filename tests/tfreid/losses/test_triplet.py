"""Triplet losses against loops over every triplet, closed forms and TensorFlow Addons."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfreid import addons
from tfreid.losses import TripletLoss
from tfreid.losses.triplet import triplet_terms

LABELS = np.repeat([4, 0, 7], 4)
MARGINS = [0.3, 2, "soft"]
requires_addons = pytest.mark.skipif(not addons.available(),
                                     reason="TensorFlow Addons is not installed")


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    keras.mixed_precision.set_global_policy("float32")


def some_embeddings(dtype=np.float32, count=12):
    return np.random.default_rng(0).normal(size=(count, 6)).astype(dtype)


def batch_hard_triplet(embeddings, labels, margin=0.3, **options):
    return triplet_terms(embeddings, labels, margin, **options)[0]


def batch_all_triplet(embeddings, labels, margin=0.3, **options):
    sums, counts = triplet_terms(embeddings, labels, margin, mining="batch_all", **options)
    return tf.math.divide_no_nan(tf.reduce_sum(sums), tf.reduce_sum(counts))


def valid_anchors(*batch, **options):
    return triplet_terms(*batch, **options)[1].numpy() > 0


def triplets(embeddings, labels, normalize=False):
    """Lists (anchor, d_ap, d_an) of every triplet, by loops."""
    rows = np.float64(embeddings)
    if normalize:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = []
    for a, label in enumerate(labels):
        for p, positive in enumerate(labels):
            for n, negative in enumerate(labels):
                if p != a and positive == label and negative != label:
                    found.append((a, np.linalg.norm(rows[a] - rows[p]),
                                  np.linalg.norm(rows[a] - rows[n])))
    return found


def loss_of(difference, margin):
    return np.log1p(np.exp(difference)) if margin == "soft" else max(0.0, difference + margin)


def expected_hard(embeddings, labels, margin, normalize=False):
    losses = np.zeros(len(labels))
    all_of_them = triplets(embeddings, labels, normalize)
    for anchor in {t[0] for t in all_of_them}:
        own = [t for t in all_of_them if t[0] == anchor]
        losses[anchor] = loss_of(max(t[1] for t in own) - min(t[2] for t in own), margin)
    return losses


def expected_all(embeddings, labels, margin, average="active", normalize=False):
    losses = [loss_of(p - n, margin) for _, p, n in triplets(embeddings, labels, normalize)]
    counted = losses if average == "valid" else [loss for loss in losses if loss > 0]
    return sum(losses) / len(counted) if counted else 0.0


def gradient(function, embeddings):
    variable = tf.Variable(embeddings)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(variable))
    return tf.convert_to_tensor(tape.gradient(total, variable)).numpy()


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("compiled", [False, True])
def test_batch_hard_matches_loops(margin, normalize, dtype, compiled):
    function = tf.function(batch_hard_triplet) if compiled else batch_hard_triplet
    embeddings = some_embeddings(dtype)
    losses = function(embeddings, LABELS, margin, normalize=normalize)
    assert losses.dtype == tf.float32
    np.testing.assert_allclose(
        losses, expected_hard(embeddings, LABELS, margin, normalize), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("average", ["active", "valid"])
@pytest.mark.parametrize("compiled", [False, True])
def test_batch_all_matches_loops(margin, normalize, average, compiled):
    function = tf.function(batch_all_triplet) if compiled else batch_all_triplet
    loss = function(some_embeddings(), LABELS, margin, normalize=normalize, average=average)
    expected = expected_all(some_embeddings(), LABELS, margin, average, normalize)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_by_hand():
    # Points on a line: identity 0 at 0 and 3, identity 1 at 4 and 6; margin 2.
    # Anchor 0: 3 - 4 + 2 = 1.   Anchor 3: 3 - 1 + 2 = 4.
    # Anchor 4: 2 - 1 + 2 = 3.   Anchor 6: 2 - 3 + 2 = 1.
    points, labels = np.float32([[0], [3], [4], [6]]), [0, 0, 1, 1]
    np.testing.assert_allclose(batch_hard_triplet(points, labels, 2.0), [1, 4, 3, 1], rtol=1e-6)
    # The second negatives: 3-6+2 < 0, 3-3+2 = 2, 2-4+2 = 0, 2-6+2 < 0: five of eight are active.
    np.testing.assert_allclose(batch_all_triplet(points, labels, 2.0), 11 / 5, rtol=1e-6)
    np.testing.assert_allclose(batch_all_triplet(points, labels, 2.0, average="valid"), 11 / 8,
                               rtol=1e-6)


def test_perfect_batch_with_the_soft_margin():
    points, labels = np.float32([[0, 0], [0, 0], [3, 4], [3, 4]]), [0, 0, 1, 1]
    np.testing.assert_allclose(batch_hard_triplet(points, labels, "soft"),
                               np.full(4, np.log1p(np.exp(-5))), rtol=1e-5)
    np.testing.assert_array_equal(batch_hard_triplet(points, labels, 0.3), np.zeros(4))


def test_mismatched_batch_with_the_soft_margin():
    corners, labels = np.eye(4, dtype=np.float32), [0, 0, 1, 1]  # all pairs equally far apart
    np.testing.assert_allclose(batch_hard_triplet(corners, labels, "soft"),
                               np.full(4, np.log(2)), rtol=1e-6)
    np.testing.assert_allclose(batch_all_triplet(corners, labels, "soft"), np.log(2), rtol=1e-6)


def test_collapsed_batch_is_stuck_at_the_margin():
    same = np.full((12, 6), 0.7, np.float32)
    np.testing.assert_allclose(batch_hard_triplet(same, LABELS, 0.3), np.full(12, 0.3))
    np.testing.assert_array_equal(gradient(lambda x: batch_hard_triplet(x, LABELS, 0.3), same), 0)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("function", [batch_hard_triplet, batch_all_triplet])
@pytest.mark.parametrize("labels", [[0, 0, 1, 2], [0, 0, 0, 0], [0, 1, 2, 3]],
                         ids=["some", "no negatives", "no positives"])
def test_anchors_without_a_triplet(margin, function, labels):
    embeddings = some_embeddings(count=4)
    expected = expected_hard if function is batch_hard_triplet else expected_all
    np.testing.assert_allclose(function(embeddings, labels, margin),
                               expected(embeddings, labels, margin), rtol=1e-5)
    alone = np.array([labels.count(label) in (1, 4) for label in labels])
    np.testing.assert_array_equal(valid_anchors(embeddings, labels), ~alone)
    found = gradient(lambda x: function(x, labels, margin), embeddings)
    assert np.isfinite(found).all()
    if alone.all():
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("mining, expected", [("batch_hard", expected_hard),
                                              ("batch_all", expected_all)])
def test_mean_leaves_out_anchors_without_a_triplet(mining, expected):
    labels = [0, 0, 1, 1, 2]
    embeddings = some_embeddings(count=5)
    value = expected(embeddings, labels, 2.0)
    value = value.sum() / 4 if mining == "batch_hard" else value
    np.testing.assert_allclose(TripletLoss(mining, 2.0)(np.array(labels), embeddings), value,
                               rtol=1e-5)


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
def test_mean_over_no_triplet_is_zero(mining):
    loss = TripletLoss(mining)
    labels = np.arange(4)
    assert loss(labels, some_embeddings(count=4)) == 0
    found = gradient(lambda x: loss(labels, x), some_embeddings(count=4))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("function", [batch_hard_triplet, batch_all_triplet])
def test_gradient_matches_finite_differences(margin, normalize, function):
    labels, embeddings = [0, 0, 1, 1, 0], some_embeddings(count=5)
    expected = expected_hard if function is batch_hard_triplet else expected_all
    numeric = np.zeros(embeddings.shape)
    for index in np.ndindex(*embeddings.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = np.float64(embeddings)
            moved[index] += step
            ends.append(np.sum(expected(moved, labels, margin, normalize=normalize)))
        numeric[index] = (ends[0] - ends[1]) / 2e-6
    found = gradient(lambda x: function(x, labels, margin, normalize=normalize), embeddings)
    np.testing.assert_allclose(found, numeric, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("function", [batch_hard_triplet, batch_all_triplet])
def test_images_drawn_twice_leave_finite_gradients(margin, normalize, function):
    """P x K sampling draws with replacement from identities with fewer than K images."""
    embeddings = some_embeddings()[[0, 0, 0, 0, 4, 4, 6, 7, 8, 8, 8, 11]]
    losses = function(embeddings, LABELS, margin, normalize=normalize)
    expected = expected_hard if function is batch_hard_triplet else expected_all
    np.testing.assert_allclose(losses, expected(embeddings, LABELS, margin, normalize=normalize),
                               rtol=1e-3, atol=1e-3)
    found = gradient(lambda x: function(x, LABELS, margin, normalize=normalize), embeddings)
    assert np.isfinite(found).all() and np.abs(found).max() < 20


def test_not_a_number_stays_visible():
    embeddings = some_embeddings()
    embeddings[3, 2] = np.nan
    for mining in ("batch_hard", "batch_all"):
        assert np.isnan(TripletLoss(mining)(LABELS, embeddings))


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("normalize", [False, True])
def test_two_replicas_equal_one_large_batch(mining, margin, normalize):
    embeddings, labels = some_embeddings(), LABELS[[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
    settings = {"margin": margin, "mining": mining, "normalize": normalize}

    def over_replicas(x):
        terms = [triplet_terms(x[start:start + 6], labels[start:start + 6], candidates=x,
                               candidate_labels=labels, anchor_offset=tf.constant(start),
                               **settings)
                 for start in (0, 6)]
        return [tf.concat(parts, axis=0) for parts in zip(*terms)]

    def whole(x):
        return triplet_terms(x, labels, **settings)

    for split, single in zip(over_replicas(embeddings), whole(embeddings)):
        np.testing.assert_allclose(split, single, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient(lambda x: over_replicas(x)[0], embeddings),
                               gradient(lambda x: whole(x)[0], embeddings), rtol=1e-3, atol=1e-4)


def test_batch_hard_finds_candidates_that_are_not_anchors():
    # The anchor at 0 is candidate 1; its positive at 5 and its negative at 1 are elsewhere.
    candidates, labels = np.float32([[5], [0], [1]]), [3, 3, 8]
    losses = batch_hard_triplet(candidates[1:2], labels[1:2], 0.5, candidates=candidates,
                                candidate_labels=labels, anchor_offset=1)
    np.testing.assert_allclose(losses, [5 - 1 + 0.5], rtol=1e-6)
    np.testing.assert_array_equal(
        valid_anchors(candidates[1:2], labels[1:2], candidates=candidates,
                      candidate_labels=labels, anchor_offset=1), [True])


@requires_addons
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("margin", [0.3, 1.0, "soft"])
def test_batch_hard_agrees_with_addons(normalize, margin):
    losses = addons.require("the test").losses
    embeddings = np.random.default_rng(5).normal(size=(32, 16)).astype(np.float32)
    labels = np.repeat(np.arange(8), 4)
    given = tf.math.l2_normalize(embeddings, axis=1) if normalize else embeddings
    theirs = {"soft": True} if margin == "soft" else {"margin": margin}
    ours = TripletLoss(margin=margin, normalize=normalize)(labels, embeddings)
    np.testing.assert_allclose(ours, losses.triplet_hard_loss(labels, given, **theirs), rtol=1e-5)
    np.testing.assert_allclose(ours, losses.TripletHardLoss(**theirs)(labels, given), rtol=1e-5)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None]])
def test_class_is_the_mean_of_the_function(labels):
    embeddings = some_embeddings()
    for margin in MARGINS:
        hard = expected_hard(embeddings, LABELS, margin)
        np.testing.assert_allclose(TripletLoss(margin=margin)(labels, embeddings), hard.mean(),
                                   rtol=1e-5)
        np.testing.assert_allclose(TripletLoss(margin=margin, reduction="none")(
            labels, embeddings), hard, rtol=1e-5, atol=1e-6)
        for average in ("active", "valid"):
            np.testing.assert_allclose(
                TripletLoss("batch_all", margin, average=average)(labels, embeddings),
                expected_all(embeddings, LABELS, margin, average), rtol=1e-5)


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
def test_class_computes_in_float32_under_mixed_precision(mining, mixed_precision):
    embeddings = some_embeddings(np.float16)
    expected = {"batch_hard": expected_hard(embeddings, LABELS, 0.3).mean(),
                "batch_all": expected_all(embeddings, LABELS, 0.3)}[mining]
    loss = TripletLoss(mining)(LABELS, tf.constant(embeddings))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("mining", ["batch_hard", "batch_all"])
def test_class_in_a_compiled_model(mining):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Activation("linear")])
    model.compile(optimizer="sgd", loss=TripletLoss(mining))
    embeddings = some_embeddings()
    expected = {"batch_hard": expected_hard(embeddings, LABELS, 0.3).mean(),
                "batch_all": expected_all(embeddings, LABELS, 0.3)}[mining]
    np.testing.assert_allclose(
        model.evaluate(embeddings, LABELS, batch_size=12, verbose=0), expected, rtol=1e-5)


def test_config_rebuilds_the_class():
    config = TripletLoss("batch_all", "soft", True, "valid", "sum", "metric").get_config()
    assert config == {"mining": "batch_all", "margin": "soft", "normalize": True,
                      "average": "valid", "reduction": "sum", "name": "metric"}
    assert TripletLoss.from_config(config).get_config() == config


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf"), None, True, "hard"])
def test_refuses_unknown_margins(margin):
    for function in (lambda: TripletLoss(margin=margin),
                     lambda: batch_hard_triplet(some_embeddings(), LABELS, margin),
                     lambda: batch_all_triplet(some_embeddings(), LABELS, margin)):
        with pytest.raises(ValueError, match=f"margin={margin!r}"):
            function()


def test_refuses_unknown_settings():
    with pytest.raises(ValueError, match="mining='semi'"):
        TripletLoss("semi")
    with pytest.raises(ValueError, match="average='all'"):
        batch_all_triplet(some_embeddings(), LABELS, average="all")
    with pytest.raises(ValueError, match="candidate_labels=None"):
        batch_hard_triplet(some_embeddings(), LABELS, candidates=some_embeddings())
    with pytest.raises(ValueError, match="candidates=None"):
        batch_hard_triplet(some_embeddings(), LABELS, candidate_labels=LABELS)
