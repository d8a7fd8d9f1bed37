"""The inputs that ONNX files declare."""

from __future__ import annotations

import pytest

from tests.onnx_files import write_model
from tfrecords.errors import UserError
from tfreid.footage.onnx_header import Declared, read_inputs


def test_inputs(tmp_path):
    path = write_model(tmp_path / "a.onnx", {"out": ([[1.0]], 0)}, (0, 3, 416, 300), inputs=2)
    assert read_inputs(path) == [Declared("image", (0, 3, 416, 300), False),
                                 Declared("second", (0, 3, 416, 300), False)]
    path = write_model(tmp_path / "b.onnx", {"out": ([[1.0]], 0)}, (1, 8, 8, 3), is_bytes=True)
    assert read_inputs(path) == [Declared("image", (1, 8, 8, 3), True)]


@pytest.mark.parametrize("data", [
    b"", b"version https://git-lfs", b"\x89PNG\r\n\x1a\n", bytes(100), b"\xff" * 100,
    b"\x3a\x05abcde", b"\x38\x07", b"\x3a\x04\x5a\x02\x0a\x00"])
def test_other_files_get_one_sentence(tmp_path, data):
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(UserError, match="a.onnx is not an ONNX model, or is cut short"):
        read_inputs(tmp_path / "a.onnx")


def test_missing_files_get_one_sentence(tmp_path):
    with pytest.raises(UserError, match="none.onnx cannot be read"):
        read_inputs(tmp_path / "none.onnx")


def test_no_length_of_a_file_gives_a_traceback(tmp_path):
    data = write_model(tmp_path / "a.onnx", {"out": ([[1.0]], 0)}, (1, 3, 8, 8)).read_bytes()
    for length in range(len(data)):
        (tmp_path / "a.onnx").write_bytes(data[:length])
        with pytest.raises(UserError):
            read_inputs(tmp_path / "a.onnx")
