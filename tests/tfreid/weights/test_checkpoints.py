"""Checkpoint files, zip and legacy: those of PyTorch, damaged ones and other kinds."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.weights.checkpoints import read_state_dict

GOLDEN = Path(__file__).parents[2] / "golden"
MAGIC = 0x1950A86A20F9469CFC6C
VALUES = np.arange(24, dtype=np.float32).reshape(4, 6) - 5.5


@pytest.mark.parametrize("name", ["checkpoint_zip.pth", "checkpoint_legacy.pth"])
def test_files_that_torch_wrote(name):
    found = read_state_dict(GOLDEN / name)
    assert list(found) == ["a", "b", "c", "n"]
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(found["a"], whole.T)
    np.testing.assert_array_equal(found["b"], whole[1:, 1:3])
    np.testing.assert_array_equal(found["c"], whole / 8)
    assert found["n"] == 7 and found["n"].dtype == np.int64


@pytest.mark.parametrize("name", ["zip", "legacy", "safetensors"])
def test_cut_anywhere(name, files, sentence, tmp_path):
    path = tmp_path / "whole"
    if name == "safetensors":
        entry = {"a": {"dtype": "F32", "shape": [4, 6], "data_offsets": [0, 96]}}
        files.write_safetensors(path, entry, VALUES.tobytes())
    else:
        files.WRITERS[name](path, {"w": files.tensor(VALUES), "epoch": 3})
    content = path.read_bytes()
    assert read_state_dict(path)
    cut = tmp_path / "cut"
    for end in range(0, len(content), 7):
        cut.write_bytes(content[:end])
        sentence(cut)


def test_flipped_bytes_end_in_a_sentence_or_values(files, tmp_path):
    generator = np.random.default_rng(0)
    bad = tmp_path / "bad"
    for write in files.WRITERS.values():
        content = write(tmp_path / "whole", {"w": files.tensor(VALUES), "epoch": 3}).read_bytes()
        for place in generator.integers(0, len(content), 100):
            changed = bytearray(content)
            changed[place] ^= generator.integers(1, 256)
            bad.write_bytes(changed)
            try:
                assert all(value.size <= 100 for value in read_state_dict(bad).values())
            except UserError as error:
                assert "\n" not in str(error)


def test_damaged_zip_data_fails_its_checksum(files, sentence, tmp_path):
    path = files.write_zip(tmp_path / "x.pth", {"w": files.tensor(VALUES)})
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
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is HDF5 instead of"),
        (bytes(257) + b"ustar" + bytes(99), "is a tar archive"),
        (b"hello world", "is not a readable checkpoint"),
        (pickle.dumps({"a": 1}), "is a pickle that torch.save did not write"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1002, 2), "unknown version"),
        (pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2), "is cut short or damaged"),
        (b"PK\x03\x04 and no more", "is cut short or damaged"),
    ],
)
def test_files_of_other_kinds(content, reason, sentence, tmp_path):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert reason in sentence(path)


def test_zip_archives_of_other_kinds(files, sentence, tmp_path):
    def archive(*names):
        path = tmp_path / "file.zip"
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.writestr(name, b"}.")
        return path

    assert "torch.save did not write" in sentence(archive("a.txt"))
    assert "torch.save did not write" in sentence(archive("a/data.pkl", "b/data.pkl"))
    assert "TorchScript" in sentence(archive("net/data.pkl", "net/constants.pkl"))
    assert "no weights (found: nothing with a name)" in sentence(archive("net/data.pkl"))
    state = {"w": files.tensor(VALUES)}
    path = tmp_path / "packed.pth"
    assert "compressed" in sentence(files.write_zip(path, state, compression=zipfile.ZIP_DEFLATED))
    assert "big-endian" in sentence(files.write_zip(path, state, order=b"big"))
    assert "big-endian" in sentence(files.write_legacy(path, state, order=False))
    pickled, _ = files.dump(state)
    assert "archive/data/0 is missing" in sentence(files.write_zip(path, pickled))


def test_content_without_weights(write, files, sentence, tmp_path):
    path = tmp_path / "x.pth"
    assert "holds a list" in sentence(write(path, [files.tensor(VALUES)]))
    assert "no weights (found: epoch, best)" in sentence(write(path, {"epoch": 3, "best": 0.5}))
    assert "no weights" in sentence(write(path, {"state_dict": {}, "epoch": 3}))
    assert "(found: nothing with a name)" in sentence(write(path, {10**5000: 3}))
    assert f"(found: {'x' * 60}...)" in sentence(write(path, {2: 1, "x" * 10**6: 3}))
    endless = {"w": 1}
    endless["model"] = endless
    assert "no weights" in sentence(write(path, endless))
    other = {"w": files.tensor(VALUES, "ComplexFloat")}
    assert "ComplexFloatStorage" in sentence(write(path, other))


def test_what_unpacking_a_checkpoint_leaves(files, sentence, tmp_path):
    path = files.write_zip(tmp_path / "x.pth", {"w": files.tensor(VALUES)})
    with zipfile.ZipFile(path) as file:
        file.extractall(tmp_path / "folder")
    for folder in (tmp_path / "folder", tmp_path / "folder" / "archive"):
        assert "unpacked checkpoint; pack it without compression, zip -0 -r" in sentence(folder)
    found = sentence(tmp_path / "folder" / "archive" / "data.pkl")
    assert found.startswith("is the data.pkl of an unpacked checkpoint")
    # What the message advises.
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(packed, "w") as file:
        for entry in sorted((tmp_path / "folder").rglob("*")):
            file.write(entry, entry.relative_to(tmp_path))
    np.testing.assert_array_equal(read_state_dict(packed)["w"], VALUES)
    compressed = files.write_zip(
        tmp_path / "y.pth", {"w": files.tensor(VALUES)}, compression=zipfile.ZIP_DEFLATED)
    assert "unpack it and pack it without compression, zip -0 -r" in sentence(compressed)


@pytest.mark.parametrize("name", ["state_dict_ema", "params", "student", "model_ema", "net_g", "G"])
def test_wrappers(name, write, files, tmp_path):
    weights = {"layer.w": files.tensor(VALUES)}
    other = {"step.w": files.tensor(VALUES + 1, key="1")}
    content = {name: weights, "optimizer": {"state": {0: {"mean": other["step.w"]}}}, "epoch": 3}
    found = read_state_dict(write(tmp_path / "x.pth", content))
    assert list(found) == ["layer.w"]
    found = read_state_dict(write(tmp_path / "y.pth", {"model_ema": other, "model": weights}))
    assert list(found) == ["layer.w"]


def test_two_unknown_wrappers_are_refused(write, files, sentence, tmp_path):
    content = {"G": {"a.w": files.tensor(VALUES)}, "D": {"a.w": files.tensor(VALUES, key="1")}}
    assert "no weights (found: G, D)" in sentence(write(tmp_path / "x.pth", content))


def test_each_storage_is_read_once(write, files, monkeypatch, tmp_path):
    """Thousands of tensors that alternate between two storages took a minute."""
    from tfreid.weights.pytorch import archive, legacy

    storages = [files.Storage(VALUES.ravel() + key, key=str(key)) for key in range(2)]
    content = {f"{n}.w": files.Tensor(storages[n % 2], (1,), (1,), n) for n in range(24)}
    reads = []
    for module, name in ((archive, "_read_entry"), (legacy, "_read_storage")):
        read = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, read=read: reads.append(args) or read(*args))
    found = read_state_dict(write(tmp_path / "x.pth", content))
    assert list(found) == list(content)
    assert [float(value[0]) for value in found.values()] == [
        VALUES.flat[n] + n % 2 for n in range(24)]
    assert len([args for args in reads if str(args[-1]).endswith(("0", "1"))]) == 2


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="absent.pth does not exist"):
        read_state_dict(tmp_path / "absent.pth")


@pytest.mark.parametrize("name", ["conv1\x1b[2J.weight", "conv1\r.weight", "conv1\u202e.weight"])
def test_names_that_a_terminal_would_obey(name, write, files, sentence, tmp_path):
    message = sentence(write(tmp_path / "x.pth", {name: files.tensor(VALUES)}))
    assert "names a weight conv1" in message and message.isprintable()
    fine = {"kopf.größe 1": files.tensor(VALUES)}
    assert list(read_state_dict(write(tmp_path / "y.pth", fine))) == list(fine)
