"""Pickles of plain weights, interpreted without running anything that they name.

The file's operations build dictionaries, lists, numbers and descriptions of tensors; what they may
construct is the fixed table `_GLOBALS`.

`pickle.Unpickler` with an allow-list in `find_class` is weaker: a dictionary key of deeply nested
tuples overflows C's stack and kills the process, the memo index in a file of seven bytes allocates
gigabytes, BUILD writes attributes of any object that a call returned (the shape of a checked
tensor, say), and extension codes that were used before come from a cache without `find_class`.
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Callable

import numpy as np

from tfreid.weights.pytorch.tensors import (
    BFLOAT16,
    LARGEST,
    StoredTensor,
    Unreadable,
    damaged,
    decode,
    view,
)

_REFUSED = (
    "{}, which is more than plain weights, and nothing in it was run; load it with PyTorch if you "
    "trust its origin and save only the weights, torch.save(model.state_dict(), FILE)"
)
# Operations that push their argument.
_CONSTANTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
}
_NUMPY_TYPE = re.compile("[fiub][1-8]")
# Limit of the items that calls copy: a few bytes of a file could copy a long list many times.
_MOST_COPIES = 100_000_000
# What the functions below raise for a damaged pickle.
_DAMAGED = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError),
    *(TypeError, ValueError),
)


def unpickle(file: BinaryIO, load_storage: Callable[[Any], Any] | None = None) -> Any:
    """Reads one pickled object at a file's position.

    Args:
        file: The file; its position is then behind the object.
        load_storage: Returns the storage of an identifier in the pickle.

    Returns:
        Dictionaries, lists, tuples, strings, numbers, and tensors that have not been read yet.

    Raises:
        Unreadable: If the pickle is damaged, or needs more than plain weights.
    """
    machine = _Machine(load_storage)
    try:
        for operation, argument, _ in pickletools.genops(file):
            machine.execute(operation.name, argument)
        return machine.stack.pop()
    except _DAMAGED as error:
        raise damaged(f"its pickle cannot be read: {str(error) or type(error).__name__}") from None


def storage_description(identifier: Any) -> tuple[np.dtype, str, int]:
    """Returns type, key and count of the storage that a pickle's identifier describes.

    Raises:
        Unreadable: If the identifier describes something else.
    """
    if isinstance(identifier, tuple) and identifier[:1] == ("module",):
        raise Unreadable(_REFUSED.format("holds the program of a network"))
    kind, storage, key, _, count = identifier[:5]
    if kind != "storage" or any(view is not None for view in identifier[5:]):
        raise ValueError(f"a {_text(kind)} that is not a plain storage")
    if not isinstance(storage, Global) or storage.dtype is None:
        raise TypeError("a storage without a type")
    if not isinstance(key, str) or type(count) is not int or not 0 <= count <= LARGEST:
        raise TypeError("a storage without a key or a size")
    return storage.dtype, key, count


@dataclass(frozen=True)
class Global:
    """A name that a pickle may refer to, and the function that replaces calls of it."""

    name: str
    make: Callable | None = None
    dtype: np.dtype | None = None


class NumpyType:
    """A pickled NumPy type of numbers."""

    def __init__(self, code, *_):
        """Checks the type's code."""
        if not _NUMPY_TYPE.fullmatch(code):
            raise Unreadable(_REFUSED.format(f"holds NumPy values of type {code}"))
        self.dtype = np.dtype(code)

    def restore(self, state):
        """Checks the byte order."""
        if state[1] == ">":
            raise Unreadable("holds big-endian numbers; save it again on a little-endian machine")


class NumpyArray:
    """A pickled NumPy array."""

    def __init__(self, *_):
        """Makes an empty array, which `restore` fills."""
        self.shape = (0,)
        self.values = np.zeros(0)

    def restore(self, state):
        """Sets shape and values."""
        _, shape, kind, fortran, content = state
        order = "F" if fortran else "C"
        self.values = np.frombuffer(_raw(content), kind.dtype).reshape(shape, order=order)
        self.shape = self.values.shape

    def read(self) -> np.ndarray:
        """Returns the values: float32, or the integers of the file."""
        return decode(self.values)


class _Dictionary(dict):
    """A pickled dictionary class; attributes pickled with it, such as `_metadata`, are ignored."""

    def restore(self, state):
        """Ignores the attributes."""


class _Machine:
    """The stack machine of the pickle format, with only the operations that weights need."""

    def __init__(self, load_storage):
        self.stack = []
        self.marks = []
        self.memo = {}
        self.load_storage = load_storage
        self.copies = 0

    def execute(self, name, argument):
        if name in _CONSTANTS:
            self.stack.append(argument)
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        else:
            raise Unreadable(_REFUSED.format(f"uses the pickle operation {name}"))

    def pop_items(self):
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def push_tuple(self, size):
        items = self.stack[-size:]
        if len(items) != size:
            raise ValueError("a tuple lacks items")
        self.stack[-size:] = [tuple(items)]

    def extend(self, items):
        if not isinstance(self.stack[-1], list):
            raise TypeError("items for something other than a list")
        self.stack[-1].extend(items)

    def update(self, items):
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("entries for something other than a dictionary")
        for key, value in zip(items[::2], items[1::2]):
            target[_checked_key(key)] = value

    def push_global(self, name):
        if name not in _GLOBALS:
            raise Unreadable(_REFUSED.format(f"holds {name}"))
        self.stack.append(_GLOBALS[name])

    def push_stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        self.push_global(f"{_text(module)}.{_text(name)}")

    def call(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Global) or function.make is None:
            name = function.name if isinstance(function, Global) else type(function).__name__
            raise Unreadable(_REFUSED.format(f"calls {name}"))
        self.copies += len(arguments)
        self.copies += sum(len(item) for item in arguments if hasattr(item, "__len__"))
        if self.copies > _MOST_COPIES:
            raise ValueError("its calls copy more than a checkpoint needs")
        self.stack.append(function.make(*arguments))

    def restore(self):
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, (_Dictionary, NumpyType, NumpyArray)):
            raise Unreadable(_REFUSED.format(f"sets the state of a {type(target).__name__}"))
        target.restore(state)

    def push_storage(self):
        if self.load_storage is None:
            raise ValueError("a storage where there is none")
        self.stack.append(self.load_storage(self.stack.pop()))


def _pop_two(machine):
    value = machine.stack.pop()
    return [machine.stack.pop(), value]


_OPERATIONS = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_items())),
    "TUPLE1": lambda machine, _: machine.push_tuple(1),
    "TUPLE2": lambda machine, _: machine.push_tuple(2),
    "TUPLE3": lambda machine, _: machine.push_tuple(3),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_items()),
    "SETITEM": lambda machine, _: machine.update(_pop_two(machine)),
    "SETITEMS": lambda machine, _: machine.update(machine.pop_items()),
    "MEMOIZE": lambda machine, _: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
    "LONG_BINPUT": lambda machine, index: machine.memo.update({index: machine.stack[-1]}),
    "BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.stack.append(machine.memo[index]),
    "GLOBAL": lambda machine, name: machine.push_global(name.replace(" ", ".")),
    "STACK_GLOBAL": lambda machine, _: machine.push_stack_global(),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.restore(),
    "BINPERSID": lambda machine, _: machine.push_storage(),
}


def _text(value):
    """Returns a string of the file; other objects may be too deep or too large to print."""
    return value if isinstance(value, str) else type(value).__name__


def _checked_key(key):
    """Refuses keys of other types: hashing deeply nested tuples overflows the stack."""
    if not isinstance(key, (str, int, float, type(None))):
        raise TypeError(f"a dictionary key is a {type(key).__name__}")
    return key


def _dictionary(items=()):
    """Makes a dictionary from another one, or from a list of items as Python 2 pickled it."""
    pairs = items.items() if isinstance(items, dict) else items
    return _Dictionary({_checked_key(key): value for key, value in pairs})


def _rebuild_tensor(storage, offset, shape, strides, *_):
    return view(storage, offset, shape, strides)


def _rebuild_parameter(tensor, *_):
    if not isinstance(tensor, StoredTensor):
        raise TypeError("a parameter without a tensor")
    return tensor


def _numpy_scalar(kind, content):
    return np.frombuffer(_raw(content), kind.dtype, 1)[0].item()


def _encode(text, encoding):
    if encoding != "latin1":
        raise ValueError("bytes in another encoding")
    return text.encode("latin1")


def _raw(content):
    """Returns bytes, which Python 2 pickled as a string."""
    return content.encode("latin1") if isinstance(content, str) else content


def _globals():
    """Maps each name that plain weights need to its replacement."""
    storages = {
        "Double": "<f8",
        "Float": "<f4",
        "Half": "<f2",
        "BFloat16": BFLOAT16,
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }
    types = ["float64", "float32", "float16", "bfloat16"]
    types += ["int64", "int32", "int16", "int8", "uint8", "bool"]
    constructors = {
        "collections.OrderedDict": _dictionary,
        # Schedulers keep their milestones in it.
        "collections.Counter": _dictionary,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch.Size": tuple,
        "numpy.dtype": NumpyType,
        "_codecs.encode": _encode,
    }
    for core in ("numpy.core", "numpy._core"):
        constructors[f"{core}.multiarray.scalar"] = _numpy_scalar
        constructors[f"{core}.multiarray._reconstruct"] = NumpyArray
    names = [Global(name, make) for name, make in constructors.items()]
    names += [Global(f"torch.{name}Storage", dtype=np.dtype(x)) for name, x in storages.items()]
    names += [Global(f"torch.{name}") for name in types]
    names.append(Global("numpy.ndarray"))
    return {item.name: item for item in names}


_GLOBALS = _globals()
