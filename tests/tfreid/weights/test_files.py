"""Weight files: keys, round trip, and refusals."""

from __future__ import annotations

import os
import zlib

import h5py
import keras
import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.layers.pooling import GeneralizedMeanPooling
from tfreid.weights.files import (
    check_finite,
    load_weights,
    read_shapes,
    save_weights,
    weight_keys,
)


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
    with pytest.raises(UserError, match="not a readable weight file"):
        read_shapes(text)
    cut = tmp_path / "cut.weights.h5"
    cut.write_bytes(saved[1].read_bytes()[:5000])
    with pytest.raises(UserError, match="not a readable weight file"):
        load_weights(tiny_model(), cut)
    foreign = tmp_path / "foreign.weights.h5"
    with h5py.File(foreign, "w") as file:
        file["a/b"] = np.zeros(3)
    with pytest.raises(UserError, match="did not write"):
        load_weights(tiny_model(), foreign)


def test_newer_format(saved):
    without_checksum(saved[1])
    with h5py.File(saved[1], "a") as file:
        file.attrs["tfreid_weights_version"] = 99
    with pytest.raises(UserError, match="version 99"):
        load_weights(tiny_model(), saved[1])


def refusal(path, read=None):
    """The reason why a file cannot be read, which must be one printable sentence."""
    with pytest.raises(UserError) as error:
        (read or (lambda path: load_weights(tiny_model(), path)))(path)
    message = str(error.value)
    assert str(path) in message and message.endswith(".") and message.isprintable()
    return message


def test_flipped_bits_are_found_or_harmless(saved, tmp_path):
    """Every kind of place: superblock, names, attributes, tables, numbers, and unused bytes."""
    model, path = saved
    content, bad = path.read_bytes(), tmp_path / "bad.weights.h5"
    other, found, generator = tiny_model(), 0, np.random.default_rng(0)
    for place in [*range(0, len(content), 199), *generator.integers(0, len(content), 50)]:
        changed = bytearray(content)
        changed[place] ^= 1 << generator.integers(8)
        bad.write_bytes(changed)
        try:
            load_weights(other, bad)
        except UserError as error:
            assert str(error).isprintable()
            found += 1
        else:
            for key, value in values(model).items():
                np.testing.assert_array_equal(values(other)[key], value)
    assert found > 20


def test_flipped_bits_of_a_number(saved):
    model, path = saved
    kernel = values(model)["stem_conv/kernel"].tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(kernel) + 7] ^= 1
    path.write_bytes(content)
    assert "its checksum is not the one with which it was saved" in refusal(path)


@pytest.mark.parametrize("end", [2000, 5000, 9000])
def test_zeroed_tail(end, saved):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[:end] + bytes(len(content) - end))
    assert "is not a readable weight file" in refusal(path)


def without_checksum(path):
    """Makes a file as those from before there were checksums."""
    mark = b"tfreid weights, CRC-32 "
    path.write_bytes(path.read_bytes().replace(mark, bytes(len(mark))))


def test_checksum_is_that_of_zlib(saved):
    content = saved[1].read_bytes()
    with h5py.File(saved[1]) as file:
        text = bytes(file.attrs["checksum"])
    assert text.startswith(b"tfreid weights, CRC-32 ") and content.count(text) == 1
    zeroed = content.replace(text, text[:-8] + b"0" * 8)
    assert text[-8:] == f"{zlib.crc32(zeroed):08x}".encode()


def test_files_without_a_checksum_load(saved):
    model, path = saved
    without_checksum(path)
    other = tiny_model()
    load_weights(other, path)
    np.testing.assert_array_equal(values(other)["pool/p"], values(model)["pool/p"])


@pytest.mark.parametrize(
    "content, reason",
    [
        ("text", "classifier/bias holds no numbers"),
        (h5py.Empty("f4"), "classifier/bias holds no numbers"),
        (3.0, r"1 of another shape \(classifier/bias\)"),
        (np.zeros((0, 3), np.float32), r"1 of another shape \(classifier/bias\)"),
        (None, r"1 missing \(classifier/bias\)"),
    ],
)
def test_datasets_of_other_kinds(content, reason, saved):
    without_checksum(saved[1])
    with h5py.File(saved[1], "a") as file:
        del file["classifier/bias"]
        if content is not None:
            file["classifier/bias"] = content
    with pytest.raises(UserError, match=reason):
        load_weights(tiny_model(), saved[1])


def test_a_dataset_more(saved):
    with h5py.File(saved[1], "a") as file:
        file["more/kernel"] = np.zeros(3)
    assert "its checksum" in refusal(saved[1])
    without_checksum(saved[1])
    assert "1 unexpected (more/kernel)" in refusal(saved[1])


@pytest.mark.parametrize("read", [read_shapes, None])
def test_a_small_file_that_declares_many_numbers(read, saved):
    """HDF5 reads what was never written as zeros: these would be 12 GB."""
    without_checksum(saved[1])
    with h5py.File(saved[1], "a") as file:
        del file["pool/p"]
        file.create_dataset("pool/p", (3_000_000_000,), np.float32)
    assert "declares 12,000,000," in refusal(saved[1], read)


def test_weights_in_other_files_are_not_followed(saved, tmp_path):
    other = tmp_path / "numbers"
    other.write_bytes(bytes(12))
    without_checksum(saved[1])
    with h5py.File(saved[1], "a") as file:
        del file["classifier/bias"]
        file.create_dataset("classifier/bias", (3,), np.float32, external=[(str(other), 0, 12)])
    assert "classifier/bias holds no numbers" in refusal(saved[1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(value, tmp_path):
    model = tiny_model()
    before = values(model)
    model.get_layer("stem_bn").moving_mean.assign([0, 0, value, 0])
    save_weights(model, tmp_path / "x.weights.h5")
    other = tiny_model()
    other.set_weights(model.get_weights())
    message = refusal(tmp_path / "x.weights.h5", lambda path: load_weights(model, path))
    assert "1 of 9 weights hold NaN or infinity (first: stem_bn/moving_mean)" in message
    check_finite(before, "x")


def test_what_users_take_for_weight_files(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    assert "is a folder, not a file; give a weight file, such as" in refusal(tmp_path)
    for name in ("step-100.index", "step-100.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("step-100", "step-100.index"):
        assert "only the TensorFlow that wrote it reads" in refusal(tmp_path / name)
    for name, start in (("a.pth", b"PK\x03\x04"), ("b.pth", b"\x80\x02"),
                        ("c.safetensors", b"12345678{")):
        (tmp_path / name).write_bytes(start + bytes(99))
        assert "convert PyTorch's by `tfreid convert`" in refusal(tmp_path / name)


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
