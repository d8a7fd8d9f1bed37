"""LiteRT, formerly TensorFlow Lite: files `.tflite` for phones, boards and CPUs."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError

SUFFIX = ".tflite"
PRECISIONS = ("float32", "float16", "int8", "int16x8")
# Runtimes, newest first; TensorFlow brings the last one.
_RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter",
             "tensorflow.lite.python.interpreter")


def write(frozen: Any, file: Path, precision: str, samples: Iterable[Any]) -> None:
    """Converts a `FrozenGraph`; `samples` are inputs, one row each, for the quantised ones.

    Operations that LiteRT has no integers for stay in float32.
    """
    import tensorflow as tf

    module = tf.Module()
    names, nodes = [card.name for card in frozen.inputs], frozen.nodes[0]
    module.call = tf.function(lambda **inputs: dict(zip(
        [card.name for card in frozen.outputs],
        frozen.function(*(inputs[node.partition(":")[0]] for node in nodes)))))
    traced = module.call.get_concrete_function(**{
        card.name: tf.TensorSpec(card.shape, card.dtype, name=card.name)
        for card in frozen.inputs})
    with tempfile.TemporaryDirectory() as folder:
        # From a SavedModel, since only that keeps the names; a gradient would not be converted.
        tf.saved_model.save(module, folder, signatures=traced, options=tf.saved_model.SaveOptions(
            experimental_custom_gradients=False))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        _set_precision(converter, precision, names, samples)
        file.write_bytes(converter.convert())


def _set_precision(converter, precision, names, samples) -> None:
    import tensorflow as tf

    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif precision != "float32":
        kinds = tf.lite.OpsSet
        integers = (kinds.TFLITE_BUILTINS_INT8 if precision == "int8" else kinds.
                    EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8)
        converter.target_spec.supported_ops = [integers, kinds.TFLITE_BUILTINS]
        converter.representative_dataset = lambda: (
            {name: row[name] for name in names} for row in samples)


def open_graph(file: Path, threads: int) -> Callable[[dict], dict]:
    """Opens a file; the function takes and returns arrays by name.

    Raises:
        UserError: If no runtime is installed.
    """
    interpreter = _prepared(str(file), threads)
    signature = interpreter.get_signature_runner()
    places, results = ({name: detail["index"] for name, detail in details.items()} for details in (
        signature.get_input_details(), signature.get_output_details()))
    shapes: dict[str, tuple] = {}

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Preparing takes longer than running a small network.
        if shapes != {name: values.shape for name, values in inputs.items()}:
            for name, values in inputs.items():
                interpreter.resize_tensor_input(places[name], values.shape)
                shapes[name] = values.shape
            interpreter.allocate_tensors()
        for name, values in inputs.items():
            interpreter.set_tensor(places[name], values)
        interpreter.invoke()
        return {name: interpreter.get_tensor(place) for name, place in results.items()}

    return run


def _prepared(file: str, threads: int) -> Any:
    """Returns an interpreter, without XNNPACK where that cannot run the file."""
    runtime = _runtime()
    interpreter = runtime.Interpreter(model_path=file, num_threads=threads)
    try:
        interpreter.allocate_tensors()
    # XNNPACK of ai-edge-litert 2.3 refuses the scales of some int8 files, with nothing but this.
    except RuntimeError as error:
        if "XNNPACK" not in str(error):
            raise
        interpreter = runtime.Interpreter(
            model_path=file, num_threads=threads, experimental_op_resolver_type=runtime.
            OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        interpreter.allocate_tensors()
    return interpreter


def _runtime() -> Any:
    reason = ""
    for name in _RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            # The error itself would keep the caller's frame, whose references LiteRT refuses.
            reason = reason or str(error)
    raise UserError(f"a LiteRT file needs ai-edge-litert ({reason}); run `pip install "
                    "'tfreid[litert]'`.")
