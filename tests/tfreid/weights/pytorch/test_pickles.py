"""The pickles in checkpoints: their values, and pickles that are damaged or hostile."""

from __future__ import annotations

import collections
import os
import pickle
import struct
import sys

import numpy as np
import pytest

from tfreid.weights.checkpoints import read_state_dict
from tfreid.weights.pytorch import pickles

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6) - 5.5


@pytest.mark.parametrize("protocol", [2, 4])
def test_every_kind_of_tensor(write, protocol, files, tmp_path):
    shared = files.Storage(VALUES, key="shared")
    upper_halves = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    state = collections.OrderedDict(
        whole=files.Tensor(shared, (4, 6), (6, 1)),
        part=files.Tensor(shared, (2, 4), (6, 1), 8),
        transposed=files.Tensor(shared, (6, 4), (1, 6)),
        scalar=files.Tensor(shared, (), (), 3),
        empty=files.Tensor(shared, (0, 3), (3, 1)),
        empty_and_wide=files.Tensor(shared, (0, 2**59), (1, 1)),
        one=files.Tensor(shared, (1, 2), (2**59, 1), 3),
        half=files.tensor(VALUES.astype(np.float16), "Half", "1"),
        brain=files.tensor(upper_halves, "BFloat16", "2"),
        double=files.tensor(VALUES.astype(np.float64), "Double", "3"),
        counter=files.Tensor(files.Storage(np.array([2**40]), "Long", "4"), (), ()),
        flags=files.tensor(np.array([True, False]), "Bool", "5"),
    )
    state._metadata = collections.OrderedDict(version=1)
    found = read_state_dict(write(tmp_path / "all.pth", state, protocol))
    expected = {
        "whole": VALUES,
        "part": VALUES[1:3, 2:],
        "transposed": VALUES.T,
        "scalar": VALUES[0, 3],
        "empty": np.zeros((0, 3), np.float32),
        "empty_and_wide": np.zeros((0, 2**59), np.float32),
        "one": VALUES[:1, 3:5],
        "half": VALUES,
        "brain": VALUES,
        "double": VALUES,
        "counter": np.array(2**40),
        "flags": np.array([True, False]),
    }
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype and found[key].shape == value.shape
        np.testing.assert_array_equal(found[key], value)


def test_weights_among_what_toolboxes_save(write, files, tmp_path):
    parameter = sys.modules["torch._utils"]._rebuild_parameter

    class Parameter:
        def __reduce__(self):
            return parameter, (files.tensor(VALUES, key="1"), True, collections.OrderedDict())

    checkpoint = {
        "state_dict": {"w": Parameter(), "array": np.asfortranarray(VALUES.astype(np.float64))},
        "epoch": 60,
        "rank1": np.float64(0.915),
        "small": np.float32(0.5),
        "milestones": collections.Counter([20, 40]),
        "optimizer": {"state": {0: {"mean": files.tensor(VALUES, key="2")}}, "groups": [{"lr": 1}]},
        "names": ("a", None, True, b"bytes", -3, 2**70),
    }
    found = read_state_dict(write(tmp_path / "model.pth.tar", checkpoint))
    assert list(found) == ["w", "array"]
    np.testing.assert_array_equal(found["w"], VALUES)
    np.testing.assert_array_equal(found["array"], VALUES)
    assert found["array"].dtype == np.float32
    wrapped = {"model": {"state_dict": {"w": files.tensor(VALUES)}}, "epoch": 1}
    assert list(read_state_dict(write(tmp_path / "twice.pth", wrapped))) == ["w"]


class Command:
    """Pickles as a call of the shell."""

    def __init__(self, marker):
        self.text = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.text,)


def payloads(marker):
    """Pickles that run a command, or try to, where Python's own unpickler reads them."""
    command = Command(marker).text
    text = b"X" + struct.pack("<I", len(command)) + command.encode()
    system = os.system.__module__.encode()
    called = b"c" + system + b"\nsystem\n"
    return {
        "reduce": pickle.dumps(Command(marker), 2),
        "stack global": pickle.dumps(Command(marker), 4),
        "inst": b"(" + text + b"i" + system + b"\nsystem\n.",
        "obj": b"(" + called + text + b"o.",
        "getattr": b"c__builtin__\ngetattr\n" + b"cposix\n" + b"error\n" + text + b"\x86R.",
        "eval": b"c__builtin__\neval\n" + b"U\x0dopen('x','w')" + b"\x85R.",
        "build on a class": b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.",
        "build on a dictionary": b"}}X\x01\x00\x00\x00aK\x01sb.",
        "build by setstate": b"ccollections\nOrderedDict\n)R}U\x0c__setstate__" + called + b"sb"
        + text + b"b.",
        "new object": b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        "new object with names": b"\x80\x04ccollections\nOrderedDict\n)}\x92.",
        "call a string": b"U\x06system" + text + b"\x85R.",
        "call a result": b"ccollections\nOrderedDict\n)R" + text + b"\x85R.",
        "storage type called": b"ctorch\nFloatStorage\n" + text + b"\x85R.",
        "nested name": b"\x80\x04\x8c\x0ctorch._utils\x8c\x09os.system\x93" + text + b"\x85R.",
        "extension": b"\x80\x02\x82\x01.",
        "reduced name": b"ctorch._utils\n_rebuild_tensor_v2\n" + called + text + b"\x86R.",
        "persistent code": called + text + b"\x85RQ.",
        "network": b"(U\x06moduleU\x01xtQ.",
    }


PAYLOADS = list(payloads(""))


@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_in_a_pickle_runs(name, write, sentence, tmp_path):
    marker = tmp_path / "marker"
    path = write(tmp_path / "bad.pth", payloads(marker)[name])
    message = sentence(path)
    assert not marker.exists()
    assert "nothing in it was run" in message or "is cut short or damaged" in message


def test_nothing_runs_beside_weights(write, files, sentence, tmp_path):
    checkpoint = {"state_dict": {"w": files.tensor(VALUES)}, "x": Command(tmp_path / "marker")}
    assert "nothing in it was run" in sentence(write(tmp_path / "bad.pth", checkpoint))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["reduce", "stack global", "inst", "obj"])
def test_the_payloads_are_live(name, tmp_path):
    pickle.loads(payloads(tmp_path / "marker")[name])
    assert (tmp_path / "marker").exists()


def test_the_refused_name_is_told(files, sentence, tmp_path):
    pickled = payloads(tmp_path / "marker")["reduce"]
    message = sentence(files.write_zip(tmp_path / "bad.pth", pickled))
    assert message.startswith(f"holds {os.system.__module__}.system, which is more than plain ")
    assert "torch.save(model.state_dict(), FILE)" in message
    network = b"ctorchvision.models.resnet\nResNet\n)\x81."
    message = sentence(files.write_legacy(tmp_path / "network.pth", network))
    assert "holds torchvision.models.resnet.ResNet" in message


@pytest.mark.parametrize(
    "shape, strides, offset",
    [
        ((4, 6), (6, 1), 1),
        ((25,), (1,), 0),
        ((2,), (24,), 0),
        ((1,), (1,), 24),
        ((10**9, 10**9), (0, 0), 0),
        ((25,), (0,), 0),
        ((2, 2), (-1, 1), 5),
        ((2,), (1,), -1),
        ((True,), (1,), 0),
        ((2.0,), (1,), 0),
        ((2, 2), (1,), 0),
        ((1,) * 33, (1,) * 33, 0),
        ((2**62, 2**62), (1, 1), 0),
        ((0, 10**25), (1, 1), 0),
        ((0, 2**40, 2**40, 2**40), (1, 1, 1, 1), 0),
        ((0, 2**59, 2), (1, 1, 1), 0),
        ((1,), (2**70,), 0),
    ],
)
def test_tensors_beyond_their_storage(write, shape, strides, offset, files, sentence, tmp_path):
    bad = files.Tensor(files.Storage(VALUES), shape, strides, offset)
    assert "damaged" in sentence(write(tmp_path / "bad.pth", {"w": bad}))


@pytest.mark.parametrize("count", [23, 25, 2**60, pytest.param(10**5000, id="huge"), -1])
def test_storages_of_another_size_than_told(write, count, files, sentence, tmp_path):
    bad = files.Tensor(files.Storage(VALUES, count=count), (2,), (1,))
    assert "damaged" in sentence(write(tmp_path / "bad.pth", {"w": bad}))


def test_small_files_stay_small(write, files, sentence, tmp_path):
    """Each would fill the memory, or Python's stack, if the file's word were taken."""
    one = files.tensor(np.zeros(1000, np.float32))
    many = {str(index): one for index in range(1000)}
    assert "more numbers" in sentence(write(tmp_path / "many.pth", many))
    assert "no weights" in sentence(write(tmp_path / "memo.pth", b"}r\xff\xff\xff\xff."))
    huge = b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x."
    assert "damaged" in sentence(write(tmp_path / "bytes.pth", huge))
    deep = b"})" + b"\x85" * 100_000 + b"K\x01s."
    assert "dictionary key is a tuple" in sentence(write(tmp_path / "key.pth", deep))
    text = b"X" + struct.pack("<I", 10**6) + b"x" * 10**6
    copies = b"](" + text + b"q\x01" + (
        b"c_codecs\nencode\nh\x01U\x06latin1\x86R" * 200) + b"e."
    assert "copy more" in sentence(write(tmp_path / "copies.pth", copies))


def test_calls_with_long_lists_of_arguments(write, sentence, monkeypatch, tmp_path):
    monkeypatch.setattr(pickles, "_MOST_COPIES", 100_000)
    arguments = b"](" + b"K\x01" * 1000 + b"eq\x01"
    call = b"cnumpy.core.multiarray\n_reconstruct\nh\x01R"
    calls = b"](" + arguments + call * 101 + b"e."
    assert "copy more" in sentence(write(tmp_path / "calls.pth", calls))


# Objects whose text fills the memory, or Python's stack.
UNPRINTABLE = {
    "nested often": b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(40)),
    "nested deep": b"]" * 20_000 + b"a" * 19_999,
}


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_objects_in_place_of_names_are_not_printed(name, write, sentence, tmp_path):
    text = b"U\x01x"
    storage = b"(" + UNPRINTABLE[name] + text * 3 + b"K\x01tQ."
    assert " that is not a plain storage" in sentence(write(tmp_path / "storage.pth", storage))
    module = b"\x80\x04" + UNPRINTABLE[name] + text + b"\x93."
    assert ".x, which is more than plain" in sentence(write(tmp_path / "module.pth", module))
    name = b"\x80\x04" + text + UNPRINTABLE[name] + b"\x93."
    assert "holds x." in sentence(write(tmp_path / "name.pth", name))


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_exhaustion_is_damage(error, write, sentence, monkeypatch, tmp_path):
    def exhaust(*_):
        raise error

    monkeypatch.setitem(pickles._OPERATIONS, "EMPTY_LIST", exhaust)
    assert error.__name__ in sentence(write(tmp_path / "x.pth", b"}]."))


@pytest.mark.parametrize(
    "name, array", [("object", np.array([{}], object)), ("text", np.array(["a"]))]
)
def test_numpy_values_that_are_no_numbers(write, name, array, sentence, tmp_path):
    assert "NumPy values" in sentence(write(tmp_path / f"{name}.pth", {"w": array}))


def test_numpy_array_of_another_size_than_told(files, sentence, tmp_path):
    pickled = pickle.dumps({"w": np.arange(4.0)}, 2).replace(b"K\x04\x85", b"K\x05\x85")
    assert "damaged" in sentence(files.write_zip(tmp_path / "bad.pth", pickled))
    big = pickle.dumps({"w": np.arange(4, dtype=">i8")}, 2)
    assert "big-endian" in sentence(files.write_zip(tmp_path / "big.pth", big))
