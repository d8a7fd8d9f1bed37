"""What is taken from TensorFlow Addons, where it is installed and where it is not."""

from __future__ import annotations

import importlib
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid import addons

requires_addons = pytest.mark.skipif(not addons.available(),
                                     reason="TensorFlow Addons is not installed")


@pytest.fixture
def replaced_addons(tmp_path, monkeypatch):
    """Puts a package of the given source in the place of Addons."""

    def replace(source):
        (tmp_path / "tensorflow_addons").mkdir()
        (tmp_path / "tensorflow_addons" / "__init__.py").write_text(source)
        loaded = [n for n in sys.modules if n.split(".")[0] == "tensorflow_addons"]
        for name in loaded:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "tensorflow_addons"}
    yield replace
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorflow_addons"]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("source", [
    "raise ModuleNotFoundError('No module named keras.src.engine')",
    "import tensorflow as tf; tf.no_such_attribute",
])
def test_absent_or_unusable_addons(replaced_addons, source):
    replaced_addons(source)
    assert not addons.available()
    with pytest.raises(UserError) as caught:
        addons.require("loss.miner=addons")
    message = str(caught.value)
    for part in ("loss.miner=addons needs TensorFlow Addons", "Python 3.9-3.11",
                 "TensorFlow 2.15;", "requirements.txt"):
        assert part in message
    assert "\n" not in message


def test_only_the_end_of_life_notice_is_silenced(replaced_addons):
    notice = "\\n\\nTensorFlow Addons (TFA) has ended development and introduction of new features."
    replaced_addons(f"import warnings\nwarnings.warn('{notice}', UserWarning)\n"
                    "warnings.warn('TensorFlow Addons (TFA) wants attention', UserWarning)\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert addons.available()
    messages = [str(warning.message) for warning in caught]
    assert messages == ["TensorFlow Addons (TFA) wants attention"]


@requires_addons
def test_the_installed_notice_is_the_one_silenced():
    notice = importlib.import_module("tensorflow_addons.utils.tfa_eol_msg")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=addons._END_OF_LIFE, category=UserWarning)
        notice._print_eol_warning()
    assert caught == []


@requires_addons
def test_require_returns_the_module():
    assert hasattr(addons.require("the test").losses, "TripletHardLoss")


LABELS = np.array([4, 0, 4, 7, 0, 4, 7, 0, 7], np.int32)  # three of each: one has no partner


def some_embeddings():
    return np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)


def distances_between(rows):
    return np.linalg.norm(rows[:, None] - rows[None], axis=2)


def pairs_of_one_identity():
    return [(a, p) for a in range(9) for p in range(9) if a != p and LABELS[a] == LABELS[p]]


def others(image):
    return [i for i in range(9) if LABELS[i] != LABELS[image]]


def semi_hard(rows, margin):
    d = distances_between(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    losses = []
    for a, p in pairs_of_one_identity():
        negatives = d[a][others(a)]
        farther = negatives[negatives > d[a, p]]
        nearest = farther.min() if farther.size else negatives.max()
        losses.append(max(0.0, d[a, p] - nearest + margin))
    return np.mean(losses)


def lifted_structure(rows, margin):
    d = distances_between(rows)
    losses = []
    for a, p in pairs_of_one_identity():
        negatives = [np.exp(margin - d[i][others(i)]).sum() for i in (a, p)]
        losses.append(max(0.0, np.log(sum(negatives)) + d[a, p]) ** 2 / 2)
    return np.mean(losses)


def npairs(rows, margin):
    anchors, positives = rows[[1, 0, 3]], rows[[4, 2, 6]]  # the first two of 0, 4 and 7
    products = anchors @ positives.T
    return np.mean(np.log(np.exp(products).sum(axis=1)) - np.diag(products))


@requires_addons
@pytest.mark.parametrize("expected", [semi_hard, lifted_structure, npairs])
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_metric_losses_match_loops(expected, margin):
    name = {semi_hard: "triplet_semi_hard"}.get(expected, expected.__name__)
    loss = addons.metric_loss(name, some_embeddings(), LABELS, margin)
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, expected(np.float64(some_embeddings()), margin), rtol=1e-5)


@requires_addons
def test_pairs_of_one_identity_share_the_target_of_npairs():
    rows = some_embeddings()[:4]
    products = rows[[0, 2]] @ rows[[1, 3]].T  # all four of one identity: two pairs
    logs = products - np.log(np.exp(products).sum(axis=1, keepdims=True))
    loss = addons.metric_loss("npairs", rows, np.array([3, 3, 3, 3], np.int32))
    np.testing.assert_allclose(loss, -logs.mean(), rtol=1e-5)


@requires_addons
@pytest.mark.parametrize("name", addons.METRIC_LOSSES)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_metric_losses_of_identical_features_have_finite_gradients(name, value):
    variable = tf.Variable(np.full((9, 5), value, np.float32))
    with tf.GradientTape() as tape:
        loss = addons.metric_loss(name, variable, LABELS)
    gradient = tf.convert_to_tensor(tape.gradient(loss, variable))
    assert np.isfinite(loss) and np.isfinite(gradient).all()


def test_metric_losses_without_addons_name_the_setting(replaced_addons):
    replaced_addons("raise ModuleNotFoundError('none')")
    with pytest.raises(UserError, match="loss.addons.name=npairs needs TensorFlow Addons"):
        addons.metric_loss("npairs", some_embeddings(), LABELS)
    with pytest.raises(ValueError, match="name='hardest'"):
        addons.metric_loss("hardest", some_embeddings(), LABELS)
