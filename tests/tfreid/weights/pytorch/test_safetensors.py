"""Files of safetensors: their values, and headers that are damaged or hostile."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tfreid.weights.checkpoints import read_state_dict

VALUES = np.arange(24, dtype=np.float32).reshape(4, 6) - 5.5


def test_safetensors(files, tmp_path):
    upper_halves = (VALUES.view(np.uint32) >> 16).astype(np.uint16)
    entries = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [4, 6], "data_offsets": [0, 96]},
        "b": {"dtype": "BF16", "shape": [2, 12], "data_offsets": [96, 144]},
        "n": {"dtype": "I64", "shape": [], "data_offsets": [144, 152]},
    }
    data = VALUES.tobytes() + upper_halves.tobytes() + struct.pack("<q", 7)
    found = read_state_dict(files.write_safetensors(tmp_path / "x.safetensors", entries, data))
    np.testing.assert_array_equal(found["a"], VALUES)
    np.testing.assert_array_equal(found["b"], VALUES.reshape(2, 12))
    assert found["n"] == 7 and found["n"].shape == ()


@pytest.mark.parametrize(
    "entry, reason",
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 80]}, "invalid shape"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, "invalid value: integer `-8`"),
        ({"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}, "invalid shape"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}, "invalid shape"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 7]}, "invalid shape"),
        ({"dtype": "F32", "shape": [], "data_offsets": [0, 7]}, "invalid shape"),
        ({"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 8]}, "invalid shape"),
        ({"dtype": "F32", "shape": [0, 10**25], "data_offsets": [0, 0]}, "invalid type"),
        ({"dtype": "F32", "shape": [0, 2**60, 2**60], "data_offsets": [0, 0]}, "damaged"),
        ({"dtype": "F32", "shape": [10**9] * 400, "data_offsets": [0, 8]}, "overflow"),
        ({"dtype": "F32", "shape": [1] * 400, "data_offsets": [0, 4]}, "damaged"),
        ({"dtype": "F32", "shape": [2] + [1] * 400, "data_offsets": [0, 8]}, "maximum"),
        ({"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}, "type F8_E4M3"),
        ({"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]}, "expected a sequence"),
        ({"dtype": "F32", "data_offsets": [0, 8]}, "missing field `shape`"),
        (7, "invalid type: integer `7`"),
    ],
)
def test_bad_safetensors(entry, reason, files, sentence, tmp_path):
    path = files.write_safetensors(tmp_path / "x.safetensors", {"a": entry}, bytes(8))
    assert reason in sentence(path)


def test_empty_tensors(files, sentence, tmp_path):
    path = tmp_path / "x.safetensors"
    last = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    empty = {"dtype": "BF16", "shape": [0, 3], "data_offsets": [0, 0]}
    files.write_safetensors(path, {"a": empty, "b": last}, bytes(8))
    found = read_state_dict(path)
    assert list(found) == ["a", "b"]
    assert found["a"].shape == (0, 3) and found["a"].dtype == np.float32
    empty["shape"] = [0, 2**40, 2**40]
    assert "damaged" in sentence(files.write_safetensors(path, {"a": empty, "b": last}, bytes(8)))


def test_safetensors_headers(files, sentence, tmp_path):
    for length, reason in ((999, "invalid header length"), (2**60, "header too large")):
        path = files.write_safetensors(tmp_path / "long", {}, length=length)
        assert reason in sentence(path)
    deep = tmp_path / "deep"
    deep.write_bytes(struct.pack("<Q", 200_004) + b'{"a"' + b":[" * 100_000)
    assert "invalid JSON in header" in sentence(deep)
