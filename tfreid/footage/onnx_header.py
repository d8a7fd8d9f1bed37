"""What an ONNX file declares about its inputs, without its weights."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Union

from tfrecords.errors import UserError
from tfrecords.files import regular_file

# Fields of onnx.proto3, by the message that has them.
_GRAPH = 7  # of ModelProto
_INITIALIZER, _INPUT = 5, 11  # of GraphProto
_TENSOR_NAME = 8  # of TensorProto
_NAME, _TYPE = 1, 2  # of ValueInfoProto
_TENSOR_TYPE, _ELEMENT, _SHAPE = 1, 1, 2  # of TypeProto and its Tensor
_DIMENSION, _SIZE = 1, 1  # of TensorShapeProto and its Dimension
_UINT8 = 2  # of TensorProto.DataType
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # protobuf's wire types

_Value = Union[int, memoryview]


class Declared(NamedTuple):
    """An input that a model declares.

    Attributes:
        name: Its name.
        shape: Its sizes, 0 for one that is not fixed.
        is_bytes: Whether its elements are uint8.
    """

    name: str
    shape: tuple[int, ...]
    is_bytes: bool


def read_inputs(path: str | Path) -> list[Declared]:
    """Reads the inputs that an ONNX file declares.

    Args:
        path: The file.

    Returns:
        Its inputs but for weights, in the file's order.

    Raises:
        UserError: If the file is missing or no ONNX model.
    """
    fix = "name an ONNX model as --detector"
    with open(regular_file(path, fix), "rb") as stream:
        try:
            data = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
            graph = [field for part in _all(data, _GRAPH) for field in _fields(part)]
            weights = {_text(value, _TENSOR_NAME)
                       for number, value in graph if number == _INITIALIZER}
            inputs = [_declared(value) for number, value in graph if number == _INPUT]
        except (IndexError, TypeError, ValueError):  # not the messages above, or an empty file
            inputs = []
    inputs = [one for one in inputs if one.name not in weights] if inputs else []
    if not inputs:
        raise UserError(f"{path} is not an ONNX model, or is cut short; {fix}.")
    return inputs


def _declared(message: memoryview) -> Declared:
    tensor = _first(_first(message, _TYPE), _TENSOR_TYPE)
    elements = _all(tensor, _ELEMENT)
    sizes = [_all(one, _SIZE) for one in _all(_first(tensor, _SHAPE), _DIMENSION)]
    shape = tuple(size[0] if size and isinstance(size[0], int) else 0 for size in sizes)
    return Declared(_text(message, _NAME), shape, elements == [_UINT8])


def _all(message: memoryview, wanted: int) -> list[_Value]:
    return [value for number, value in _fields(message) if number == wanted]


def _first(message: memoryview, wanted: int) -> _Value:
    return _all(message, wanted)[0]


def _text(message: memoryview, wanted: int) -> str:
    return bytes(_first(message, wanted)).decode()


def _fields(message: memoryview) -> Iterator[tuple[int, _Value]]:
    """Yields the fields of a protobuf message: their numbers and values, contents as views."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind in (_FIXED64, _FIXED32, _BYTES):
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind)
            if length is None:
                length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        else:
            raise ValueError(f"wire type {kind}")
        if place > len(message):
            raise ValueError("cut short")
        yield key >> 3, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
