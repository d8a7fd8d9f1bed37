"""The device formats by name; to add one, write its file and its line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tfrecords.errors import UserError
from tfreid.serving.formats import litert, onnx, openvino

# Value of `--format` -> the module that writes and opens it.
FORMATS = {"litert": litert, "onnx": onnx, "openvino": openvino}
SAVED_MODEL = "saved_model"
PRECISIONS = ("float32", "float16", "int8", "int16x8")
# Runtime that is measured -> the format that it reads; PyTorch by way of onnx2torch.
RUNTIMES = {"tensorflow": SAVED_MODEL, "litert": "litert", "onnxruntime": "onnx",
            "openvino": "openvino", "pytorch": "onnx"}


def convert(name: str, frozen: Any, file: Path, precision: str, samples: Iterable[Any]) -> None:
    """Writes a `FrozenGraph` in a format; `samples` are inputs of one row for the quantised ones.

    Raises:
        UserError: If the converter is missing, or cannot convert the graph.
    """
    with foreign_errors(f"{name} in {precision} cannot hold {file.stem} of this model",
                        "choose another format or precision"):
        FORMATS[name].write(frozen, file, precision, samples)


@contextlib.contextmanager
def foreign_errors(what: str, fix: str) -> Iterator[None]:
    """Makes a sentence of whatever a converter or runtime stumbles over in the body.

    Args:
        what: The beginning of the sentence.
        fix: What the user can do.

    Raises:
        UserError: Instead of the body's error. Its own `UserError` or `OSError` stays.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{what} ({type(error).__name__}: {reason}); {fix}.") from error


def precision_of(name: str) -> str:
    """Returns the precision that a value of `--quantize` means: of `none`, float32."""
    return PRECISIONS[0] if name == "none" else name
