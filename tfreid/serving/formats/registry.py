"""The device formats by name; to add one, write its file and its line."""

from __future__ import annotations

from tfreid.serving.formats import litert, onnx, openvino

# Value of `--format` -> the module that writes and opens it.
FORMATS = {"litert": litert, "onnx": onnx, "openvino": openvino}
SAVED_MODEL = "saved_model"
PRECISIONS = ("float32", "float16", "int8", "int16x8")
