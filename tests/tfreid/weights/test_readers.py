"""Checkpoints of PyTorch and safetensors: their values, and files that are damaged or hostile."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.weights.checkpoints import read_state_dict

MAGIC = 0x1950A86A20F9469CFC6C
GOLDEN = Path(__file__).parents[2] / "golden"


class Storage:
    """What a tensor of PyTorch views, with the name of its type."""

    def __init__(self, array, name="Float", key="0", count=None):
        self.bytes = np.ascontiguousarray(array).tobytes()
        self.name, self.key = name, key
        self.size = array.size
        self.count = array.size if count is None else count


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, storage, shape, strides, offset=0):
        self.arguments = (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


@pytest.fixture(autouse=True)
def torch_names(monkeypatch):
    """Modules whose names the pickles refer to; the readers never see them."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Bool", "ComplexFloat"):
        setattr(torch, f"{name}Storage", type(f"{name}Storage", (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(inner, name, function)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)


def dump(content, protocol=2, legacy=False):
    """Pickles with the identifiers that PyTorch gives storages, and returns these too."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            storages[item.key] = item
            kind = getattr(sys.modules["torch"], f"{item.name}Storage")
            identifier = ("storage", kind, item.key, "cpu", item.count)
            return (*identifier, None) if legacy else identifier

    buffer = io.BytesIO()
    Pickler(buffer, protocol).dump(content)
    return buffer.getvalue(), storages


def write_zip(path, content, protocol=2, order=b"little", compression=zipfile.ZIP_STORED):
    pickled, storages = (content, {}) if isinstance(content, bytes) else dump(content, protocol)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", order)
        for storage in storages.values():
            file.writestr(f"archive/data/{storage.key}", storage.bytes)
    return path


def write_legacy(path, content, protocol=2, order=True):
    is_pickled = isinstance(content, bytes)
    pickled, storages = (content, {}) if is_pickled else dump(content, protocol, legacy=True)
    parts = [pickle.dumps(x, 2) for x in (MAGIC, 1001, {"little_endian": order})]
    parts += [pickled, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        parts += [struct.pack("<q", storages[key].size), storages[key].bytes]
    path.write_bytes(b"".join(parts))
    return path


def write_safetensors(path, entries, data=b"", length=None):
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", length or len(header)) + header + data)
    return path


WRITERS = {"zip": write_zip, "legacy": write_legacy}
both_formats = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
VALUES = np.arange(24, dtype=np.float32).reshape(4, 6) - 5.5


def tensor(array, name="Float", key="0", **settings):
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return Tensor(Storage(array, name, key), array.shape, strides, **settings)


def sentence(path):
    """Reads a bad file and returns the sentence, which must be one."""
    with pytest.raises(UserError) as error:
        read_state_dict(path)
    message = str(error.value)
    assert message.startswith(str(path)) and message.endswith(".") and "\n" not in message
    return message[len(str(path)) + 1 :]


@both_formats
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_kind_of_tensor(write, protocol, tmp_path):
    shared = Storage(VALUES, key="shared")
    upper_halves = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    state = collections.OrderedDict(
        whole=Tensor(shared, (4, 6), (6, 1)),
        part=Tensor(shared, (2, 4), (6, 1), 8),
        transposed=Tensor(shared, (6, 4), (1, 6)),
        scalar=Tensor(shared, (), (), 3),
        empty=Tensor(shared, (0, 3), (3, 1)),
        half=tensor(VALUES.astype(np.float16), "Half", "1"),
        brain=tensor(upper_halves, "BFloat16", "2"),
        double=tensor(VALUES.astype(np.float64), "Double", "3"),
        counter=Tensor(Storage(np.array([2**40]), "Long", "4"), (), ()),
        flags=tensor(np.array([True, False]), "Bool", "5"),
    )
    state._metadata = collections.OrderedDict(version=1)
    found = read_state_dict(write(tmp_path / "all.pth", state, protocol))
    expected = {
        "whole": VALUES,
        "part": VALUES[1:3, 2:],
        "transposed": VALUES.T,
        "scalar": VALUES[0, 3],
        "empty": np.zeros((0, 3), np.float32),
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


@both_formats
def test_weights_among_what_toolboxes_save(write, tmp_path):
    parameter = sys.modules["torch._utils"]._rebuild_parameter

    class Parameter:
        def __reduce__(self):
            return parameter, (tensor(VALUES, key="1"), True, collections.OrderedDict())

    checkpoint = {
        "state_dict": {"w": Parameter(), "array": np.asfortranarray(VALUES.astype(np.float64))},
        "epoch": 60,
        "rank1": np.float64(0.915),
        "small": np.float32(0.5),
        "milestones": collections.Counter([20, 40]),
        "optimizer": {"state": {0: {"mean": tensor(VALUES, key="2")}}, "groups": [{"lr": 1e-3}]},
        "names": ("a", None, True, b"bytes", -3, 2**70),
    }
    found = read_state_dict(write(tmp_path / "model.pth.tar", checkpoint))
    assert list(found) == ["w", "array"]
    np.testing.assert_array_equal(found["w"], VALUES)
    np.testing.assert_array_equal(found["array"], VALUES)
    assert found["array"].dtype == np.float32
    wrapped = {"model": {"state_dict": {"w": tensor(VALUES)}}, "epoch": 1}
    assert list(read_state_dict(write(tmp_path / "twice.pth", wrapped))) == ["w"]


@pytest.mark.parametrize("name", ["checkpoint_zip.pth", "checkpoint_legacy.pth"])
def test_files_that_torch_wrote(name):
    found = read_state_dict(GOLDEN / name)
    assert list(found) == ["a", "b", "c", "n"]
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found["a"], whole.T)
    np.testing.assert_array_equal(found["b"], whole[1:, 1:3])
    np.testing.assert_array_equal(found["c"], whole / 8)
    assert found["n"] == 7 and found["n"].dtype == np.int64


def test_safetensors(tmp_path):
    upper_halves = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    entries = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [4, 6], "data_offsets": [0, 96]},
        "b": {"dtype": "BF16", "shape": [2, 12], "data_offsets": [96, 144]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [144, 152]},
    }
    data = VALUES.tobytes() + upper_halves.tobytes() + struct.pack("<q", 7)
    found = read_state_dict(write_safetensors(tmp_path / "x.safetensors", entries, data))
    np.testing.assert_array_equal(found["a"], VALUES)
    np.testing.assert_array_equal(found["b"], VALUES.reshape(2, 12))
    assert found["n"] == 7 and found["n"].shape == ()


@pytest.mark.parametrize(
    "entry, reason",
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}, "outside the file"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, "outside the file"),
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "reaches beyond"),
        ({"dtype": "F32", "shape": [10**9] * 400, "data_offsets": [0, 8]}, "axes"),
        ({"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}, "type F8_E4M3"),
        ({"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]}, "no count"),
        ({"dtype": "F32", "data_offsets": [0, 8]}, "header cannot be read"),
        (7, "header cannot be read"),
    ],
)
def test_bad_safetensors(entry, reason, tmp_path):
    assert reason in sentence(write_safetensors(tmp_path / "x.safetensors", {"a": entry}, bytes(8)))


def test_safetensors_headers(tmp_path):
    assert "longer than the file" in sentence(write_safetensors(tmp_path / "a", {}, length=2**60))
    assert "longer than the file" in sentence(write_safetensors(tmp_path / "b", {}, length=999))
    deep = tmp_path / "deep"
    deep.write_bytes(struct.pack("<Q", 200_004) + b'{"a"' + b":[" * 100_000)
    assert "header cannot be read" in sentence(deep)


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


@both_formats
@pytest.mark.parametrize("name", PAYLOADS)
def test_nothing_in_a_pickle_runs(name, write, tmp_path):
    marker = tmp_path / "marker"
    path = write(tmp_path / "bad.pth", payloads(marker)[name])
    message = sentence(path)
    assert not marker.exists()
    assert "nothing in it was run" in message or "is cut short or damaged" in message


@both_formats
def test_nothing_runs_beside_weights(write, tmp_path):
    checkpoint = {"state_dict": {"w": tensor(VALUES)}, "x": Command(tmp_path / "marker")}
    assert "nothing in it was run" in sentence(write(tmp_path / "bad.pth", checkpoint))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["reduce", "stack global", "inst", "obj"])
def test_the_payloads_are_live(name, tmp_path):
    pickle.loads(payloads(tmp_path / "marker")[name])
    assert (tmp_path / "marker").exists()


def test_the_refused_name_is_told(tmp_path):
    message = sentence(write_zip(tmp_path / "bad.pth", payloads(tmp_path / "marker")["reduce"]))
    assert message.startswith(f"holds {os.system.__module__}.system, which is more than plain ")
    assert "torch.save(model.state_dict(), FILE)" in message
    network = b"ctorchvision.models.resnet\nResNet\n)\x81."
    message = sentence(write_legacy(tmp_path / "network.pth", network))
    assert "holds torchvision.models.resnet.ResNet" in message


@both_formats
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
    ],
)
def test_tensors_beyond_their_storage(write, shape, strides, offset, tmp_path):
    bad = Tensor(Storage(VALUES), shape, strides, offset)
    assert "damaged" in sentence(write(tmp_path / "bad.pth", {"w": bad}))


@both_formats
@pytest.mark.parametrize("count", [23, 25, 2**60, -1])
def test_storages_of_another_size_than_told(write, count, tmp_path):
    bad = Tensor(Storage(VALUES, count=count), (2,), (1,))
    assert "damaged" in sentence(write(tmp_path / "bad.pth", {"w": bad}))


@both_formats
def test_small_files_stay_small(write, tmp_path):
    """Each would fill the memory, or Python's stack, if the file's word were taken."""
    one = tensor(np.zeros(1000, np.float32))
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


@both_formats
@pytest.mark.parametrize(
    "name, array", [("object", np.array([{}], object)), ("text", np.array(["a"]))]
)
def test_numpy_values_that_are_no_numbers(write, name, array, tmp_path):
    assert "NumPy values" in sentence(write(tmp_path / f"{name}.pth", {"w": array}))


def test_numpy_array_of_another_size_than_told(tmp_path):
    pickled = pickle.dumps({"w": np.arange(4.0)}, 2).replace(b"K\x04\x85", b"K\x05\x85")
    assert "damaged" in sentence(write_zip(tmp_path / "bad.pth", pickled))
    big = pickle.dumps({"w": np.arange(4, dtype=">i8")}, 2)
    assert "big-endian" in sentence(write_zip(tmp_path / "big.pth", big))


@pytest.mark.parametrize("name", ["zip", "legacy", "safetensors"])
def test_cut_anywhere(name, tmp_path):
    path = tmp_path / "whole"
    if name == "safetensors":
        entry = {"a": {"dtype": "F32", "shape": [4, 6], "data_offsets": [0, 96]}}
        write_safetensors(path, entry, VALUES.tobytes())
    else:
        WRITERS[name](path, {"w": tensor(VALUES), "epoch": 3})
    content = path.read_bytes()
    assert read_state_dict(path)
    cut = tmp_path / "cut"
    for end in range(0, len(content), 7):
        cut.write_bytes(content[:end])
        sentence(cut)


def test_flipped_bytes_end_in_a_sentence_or_values(tmp_path):
    generator = np.random.default_rng(0)
    bad = tmp_path / "bad"
    for write in WRITERS.values():
        content = write(tmp_path / "whole", {"w": tensor(VALUES), "epoch": 3}).read_bytes()
        for place in generator.integers(0, len(content), 100):
            changed = bytearray(content)
            changed[place] ^= generator.integers(1, 256)
            bad.write_bytes(changed)
            try:
                assert all(value.size <= 100 for value in read_state_dict(bad).values())
            except UserError as error:
                assert "\n" not in str(error)


def test_damaged_zip_data_fails_its_checksum(tmp_path):
    path = write_zip(tmp_path / "x.pth", {"w": tensor(VALUES)})
    content = bytearray(path.read_bytes())
    content[content.index(VALUES.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert "Bad CRC-32" in sentence(path)


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file"),
        (bytes(257) + b"ustar" + bytes(99), "is a tar archive"),
        (b"hello world", "is no checkpoint that can be read"),
        (pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1002, 2), "unknown version"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2), "is cut short or damaged"),
        (b"PK\x03\x04 and no more", "is cut short or damaged"),
    ],
)
def test_files_of_other_kinds(content, reason, tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert reason in sentence(path)


def test_zip_archives_of_other_kinds(tmp_path):
    def archive(*names):
        path = tmp_path / "file.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"}.")
        return path

    assert "torch.save did not write" in sentence(archive("a.txt"))
    assert "torch.save did not write" in sentence(archive("a/data.pkl", "b/data.pkl"))
    assert "TorchScript" in sentence(archive("net/data.pkl", "net/constants.pkl"))
    assert "no weights (found: nothing)" in sentence(archive("net/data.pkl"))
    state = {"w": tensor(VALUES)}
    path = tmp_path / "packed.pth"
    assert "compressed" in sentence(write_zip(path, state, compression=zipfile.ZIP_DEFLATED))
    assert "big-endian" in sentence(write_zip(path, state, order=b"big"))
    assert "big-endian" in sentence(write_legacy(path, state, order=False))
    pickled, _ = dump(state)
    assert "archive/data/0 is missing" in sentence(write_zip(path, pickled))


@both_formats
def test_content_without_weights(write, tmp_path):
    path = tmp_path / "x.pth"
    assert "holds a list" in sentence(write(path, [tensor(VALUES)]))
    assert "no weights (found: epoch, best)" in sentence(write(path, {"epoch": 3, "best": 0.5}))
    assert "no weights" in sentence(write(path, {"state_dict": {}, "epoch": 3}))
    endless = {"w": 1}
    endless["model"] = endless
    assert "no weights" in sentence(write(path, endless))
    assert "ComplexFloatStorage" in sentence(write(path, {"w": tensor(VALUES, "ComplexFloat")}))


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="absent.pth does not exist"):
        read_state_dict(tmp_path / "absent.pth")
