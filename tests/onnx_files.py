"""Small ONNX files for tests, written without the package onnx: their outputs are known."""

from __future__ import annotations

import numpy as np

_FLOAT, _UINT8, _INT64 = 1, 2, 7


def write_model(path, outputs, shape, is_bytes=False, inputs=1):
    """Writes a model whose outputs are given, but for the mean of its input.

    Args:
        path: The file.
        outputs: Name -> pair of arrays of one shape: what the output is for an input of zeros, and
            what the mean of the input adds, times itself; the latter may be 0.
        shape: Shape of the input, 0 where it is not fixed.
        is_bytes: Whether the input is uint8.
        inputs: How many inputs the model declares.
    """
    start = "image"
    nodes, weights = [], []
    if is_bytes:
        nodes.append(_node("Cast", [start], "floats", to=_FLOAT))
        start = "floats"
    nodes.append(_node("ReduceMean", [start], "mean", axes=[1, 2, 3], keepdims=1))
    for name, (constant, slope) in outputs.items():
        constant = np.asarray(constant, np.float32)
        weights += [_weight(f"{name}.rank", np.ones(constant.ndim, np.int64)),
                    _weight(f"{name}.slope", np.full(constant.shape, slope, np.float32)),
                    _weight(f"{name}.constant", constant)]
        nodes += [_node("Reshape", ["mean", f"{name}.rank"], f"{name}.mean"),
                  _node("Mul", [f"{name}.mean", f"{name}.slope"], f"{name}.part"),
                  _node("Add", [f"{name}.part", f"{name}.constant"], name)]
    kind = _UINT8 if is_bytes else _FLOAT
    declared = [_value(name, kind, shape) for name in ["image", "second"][:inputs]]
    graph = [(1, node) for node in nodes] + [(2, b"graph")] + [(5, one) for one in weights] + [
        (11, one) for one in declared] + [
        (12, _value(name, _FLOAT, np.shape(parts[0]))) for name, parts in outputs.items()]
    model = [(1, 8), (8, _message((1, b""), (2, 13))), (7, _message(*graph))]
    path.write_bytes(_message(*model))
    return path


def _node(kind, inputs, output, **attributes):
    written = []
    for name, value in attributes.items():
        if isinstance(value, list):
            numbers = [(8, number) for number in value]
            written.append(_message((1, name.encode()), *numbers, (20, 7)))
        else:
            written.append(_message((1, name.encode()), (3, value), (20, 2)))
    return _message(*((1, name.encode()) for name in inputs), (2, output.encode()),
                    (3, output.encode()), (4, kind.encode()), *((5, one) for one in written))


def _weight(name, array):
    kind = _INT64 if array.dtype == np.int64 else _FLOAT
    return _message(*((1, side) for side in array.shape), (2, kind), (8, name.encode()),
                    (9, array.tobytes()))


def _value(name, kind, shape):
    sizes = [(1, _message((1, size)) if size else _message((2, b"n"))) for size in shape]
    tensor = _message((1, kind), (2, _message(*sizes)))
    return _message((1, name.encode()), (2, _message((1, tensor))))


def _message(*fields):
    """Encodes a protobuf message of numbers and bytes."""
    written = b""
    for number, value in fields:
        if isinstance(value, bytes):
            written += _varint(number << 3 | 2) + _varint(len(value)) + value
        else:
            written += _varint(number << 3) + _varint(value)
    return written


def _varint(value):
    written = b""
    while value > 127:
        written += bytes([value & 127 | 128])
        value >>= 7
    return written + bytes([value])
