"""The device formats by name; to add one, write its file and its line."""

from __future__ import annotations

from tfreid.serving.formats import litert, onnx, openvino

# Value of `--format` -> the module that writes and opens it.
FORMATS = {"litert": litert, "onnx": onnx, "openvino": openvino}
SAVED_MODEL = "saved_model"
PRECISIONS = ("float32", "float16", "int8", "int16x8")
# Runtime that is measured -> the format that it reads; PyTorch by way of onnx2torch.
RUNTIMES = {"tensorflow": SAVED_MODEL, "litert": "litert", "onnxruntime": "onnx",
            "openvino": "openvino", "pytorch": "onnx"}


def precision_of(name: str) -> str:
    """Returns the precision that a value of `--quantize` means: of `none`, float32."""
    return PRECISIONS[0] if name == "none" else name
