"""Weight files: keys, round trip, and refusals."""

from __future__ import annotations

import os

import h5py
import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.layers.pooling import GeneralizedMeanPooling
from tfreid.weights.files import load_weights, read_shapes, save_weights, weight_keys


def tiny_model(channels=4, classes=3, nested=False):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(channels, 3, name="stem_conv")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = GeneralizedMeanPooling(name="pool")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    if nested:
        head = keras.Sequential(
            [keras.Input((channels,)), keras.layers.Dense(classes, name="classifier")], name="head"
        )
        return keras.Model(inputs, head(x), name="tiny")
    return keras.Model(inputs, keras.layers.Dense(classes, name="classifier")(x), name="tiny")


SHAPES = {
    "stem_conv/kernel": (3, 3, 3, 4),
    "stem_conv/bias": (4,),
    "stem_bn/gamma": (4,),
    "stem_bn/beta": (4,),
    "stem_bn/moving_mean": (4,),
    "stem_bn/moving_variance": (4,),
    "pool/p": (),
    "classifier/kernel": (4, 3),
    "classifier/bias": (3,),
}


def randomise(model, seed=0):
    generator = np.random.default_rng(seed)
    for variable in weight_keys(model).values():
        variable.assign(generator.normal(size=variable.shape))
    return model


def values(model):
    return {key: np.asarray(variable.numpy()) for key, variable in weight_keys(model).items()}


@pytest.fixture
def saved(tmp_path):
    model = randomise(tiny_model())
    path = tmp_path / "new" / "tiny.weights.h5"
    save_weights(model, path)
    return model, path


@pytest.mark.parametrize("nested", [False, True])
def test_keys_are_the_same_on_every_stack(nested):
    keys = weight_keys(tiny_model(nested=nested))
    assert {key: tuple(variable.shape) for key, variable in keys.items()} == SHAPES


def test_keys_of_a_subclassed_model_around_the_network():
    class System(keras.Model):
        def __init__(self):
            super().__init__()
            self.network = tiny_model()

        def call(self, images):
            return self.network(images)

    system = System()
    system(np.zeros((1, 8, 8, 3), np.float32))
    assert set(weight_keys(system)) == set(SHAPES)


def test_two_weights_with_one_key():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="fc")], name="inner")
    model = keras.Model(inputs, keras.layers.Dense(4, name="fc")(inner(inputs)))
    with pytest.raises(ValueError, match="fc/kernel"):
        weight_keys(model)


def test_round_trip(saved):
    model, path = saved
    other = randomise(tiny_model(), seed=1)
    report = load_weights(other, path)
    assert set(report.loaded) == set(SHAPES)
    assert report.skipped == report.missing == ()
    for key, value in values(model).items():
        np.testing.assert_array_equal(values(other)[key], value)
    assert os.listdir(path.parent) == ["tiny.weights.h5"]


def test_read_shapes(saved):
    assert read_shapes(saved[1]) == SHAPES


def test_skip_leaves_keys_alone_whatever_their_shape(saved):
    model, path = saved
    other = randomise(tiny_model(classes=7), seed=1)
    before = values(other)
    report = load_weights(other, path, skip=["classifier/"])
    assert set(report.skipped) == {"classifier/kernel", "classifier/bias"}
    np.testing.assert_array_equal(values(other)["classifier/kernel"], before["classifier/kernel"])
    np.testing.assert_array_equal(values(other)["stem_conv/bias"], values(model)["stem_conv/bias"])


def test_allow_missing(saved):
    _, path = saved
    other = tiny_model()
    inputs = keras.Input((8, 8, 3))
    larger = keras.Model(inputs, keras.layers.Dense(2, name="extra")(other(inputs)))
    report = load_weights(larger, path, allow_missing=["extra"])
    assert report.missing == ("extra/bias", "extra/kernel")
    with pytest.raises(UserError, match=r"2 missing \(extra/bias, extra/kernel\)"):
        load_weights(larger, path)


def test_nothing_is_assigned_unless_all_fits(saved):
    _, path = saved
    other = randomise(tiny_model(classes=7), seed=1)
    before = values(other)
    with pytest.raises(UserError, match=r"2 of another shape .* another architecture"):
        load_weights(other, path)
    for key, value in values(other).items():
        np.testing.assert_array_equal(value, before[key])


def test_weights_of_another_model(saved):
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(4, name="fc")(inputs))
    with pytest.raises(UserError) as error:
        load_weights(other, saved[1])
    message = str(error.value)
    assert "2 missing (fc/bias, fc/kernel)" in message
    assert "9 unexpected (classifier/bias, classifier/kernel, pool/p, ...)" in message


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="absent.weights.h5 does not exist"):
        load_weights(tiny_model(), tmp_path / "absent.weights.h5")


def test_not_a_weight_file(tmp_path, saved):
    text = tmp_path / "text.weights.h5"
    text.write_text("hello")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        read_shapes(text)
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(saved[1].read_bytes()[:5000])
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        load_weights(tiny_model(), cut)
    foreign = tmp_path / "foreign.weights.h5"
    with h5py.File(foreign, "w") as file:
        file["a/b"] = np.zeros(3)
    with pytest.raises(UserError, match="did not write"):
        load_weights(tiny_model(), foreign)


def test_newer_format(saved):
    with h5py.File(saved[1], "a") as file:
        file.attrs["tfreid_weights_version"] = 99
    with pytest.raises(UserError, match="version 99"):
        load_weights(tiny_model(), saved[1])


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the weight file"):
        save_weights(tiny_model(), tmp_path / "file" / "tiny.weights.h5")


def test_disk_full_leaves_no_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(tiny_model(), tmp_path / "tiny.weights.h5")
    assert os.listdir(tmp_path) == []
