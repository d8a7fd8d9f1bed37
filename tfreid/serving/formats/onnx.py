"""ONNX files, for ONNX Runtime and what else reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError

SUFFIX = ".onnx"
PRECISIONS = ("float32", "float16", "int8", "int16x8")
_OPSET = 17


def write(frozen: Any, file: Path, precision: str, samples: Iterable[Any]) -> None:
    """Converts a `FrozenGraph`; `samples` are inputs, one row each, for the quantised ones.

    Raises:
        UserError: If tf2onnx is not installed or, for a precision, ONNX Runtime.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise _missing("writing ONNX", error) from None
    inputs, outputs = frozen.nodes
    model, _ = tf2onnx.convert.from_graph_def(
        frozen.function.graph.as_graph_def(), input_names=inputs, output_names=outputs,
        opset=_OPSET, tensors_to_rename=frozen.renamed)
    if precision == "float16":
        try:
            from onnxruntime.transformers.float16 import convert_float_to_float16
        except ImportError as error:
            raise _missing("float16 in ONNX", error) from None
        model = convert_float_to_float16(model, keep_io_types=True)
    if precision.startswith("int"):
        _quantize(model, file, precision, samples)
    else:
        onnx.save(model, str(file))


def _quantize(model, file, precision, samples) -> None:
    import onnx

    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise _missing("quantising ONNX", error) from None
    rows = iter(samples)

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            return next(rows, None)

    prepared, wide = file.with_suffix(".prepared.onnx"), precision == "int16x8"
    onnx.save(model, str(prepared))
    try:
        quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared), str(file), Reader(), per_channel=True,
            activation_type=quantization.QuantType.QUInt16 if wide else
            quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            # Without it the sums of processors before AVX512-VNNI overflow.
            reduce_range=not wide)
    finally:
        prepared.unlink()


def open_graph(file: Path, threads: int) -> Callable[[dict], dict]:
    """Opens a file; the function takes and returns arrays by name.

    Raises:
        UserError: If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("an ONNX file", error) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(file), options, providers=onnxruntime.get_available_providers())
    names = [output.name for output in session.get_outputs()]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, inputs)))

    return run


def _missing(what: str, error: ImportError) -> UserError:
    return UserError(f"{what} needs more ({error}); run `pip install 'tfreid[onnx]'`.")
