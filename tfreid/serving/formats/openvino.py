"""OpenVINO files, for Intel's processors: `.xml` with the graph, `.bin` with the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfrecords.errors import UserError

SUFFIX = ".xml"
PRECISIONS = ("float32", "float16", "int8")


def write(frozen: Any, file: Path, precision: str, samples: Iterable[Any]) -> None:
    """Converts a `FrozenGraph`; `samples` are inputs, one row each, for int8.

    Raises:
        UserError: If OpenVINO is not installed or, for int8, NNCF.
    """
    try:
        import openvino
    except ImportError as error:
        raise _missing("writing OpenVINO files", error) from None
    graph = file.with_suffix(".pb")
    graph.write_bytes(frozen.function.graph.as_graph_def().SerializeToString())
    try:
        model = openvino.convert_model(graph)
    finally:
        graph.unlink()
    renamed = frozen.renamed
    for port in (*model.inputs, *model.outputs):
        name = next(renamed[name] for name in sorted(port.names) if name in renamed)
        port.get_tensor().set_names({name})
    if precision == "int8":
        model = _quantize(model, samples)
    openvino.save_model(model, file, compress_to_fp16=precision == "float16")


def _quantize(model, samples):
    try:
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    except ImportError as error:
        raise _missing("quantising for OpenVINO", error) from None
    rows, advanced = list(samples), nncf.AdvancedQuantizationParameters(
        # Without it the sums of processors before AVX512-VNNI overflow.
        overflow_fix=OverflowFix.ENABLE,
        # The default clips the largest values, which small networks like OSNet x0.25 need: mean
        # cosine difference 0.05 instead of 0.008.
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)
    return nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows),
                         preset=nncf.QuantizationPreset.MIXED, advanced_parameters=advanced)


def open_graph(file: Path, threads: int) -> Callable[[dict], dict]:
    """Opens a file; the function takes and returns arrays by name.

    Raises:
        UserError: If OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise _missing("an OpenVINO file", error) from None
    compiled = openvino.Core().compile_model(
        file, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                      "INFERENCE_PRECISION_HINT": "f32"})
    names = [port.any_name for port in compiled.outputs]

    def run(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, map(np.array, compiled(inputs).values())))

    return run


def _missing(what: str, error: ImportError) -> UserError:
    return UserError(f"{what} needs more ({error}); run `pip install 'tfreid[openvino]'`.")
