"""Memory for batches, used again and again."""

from __future__ import annotations

import weakref

import numpy as np

# TensorFlow takes over an array without copying it if it starts at a multiple of this.
_ALIGNMENT = 64


class BatchBuffers:
    """Hands out uint8 arrays of one shape, and takes their memory back when nobody uses them.

    A batch lives until the network has seen it. New memory for each would have the system clear
    its pages every time, which takes a tenth of the pipeline's time.

    Args:
        shape: Of the arrays.
    """

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._free: list[np.ndarray] = []

    def take(self) -> np.ndarray:
        """Returns an array with arbitrary content; safe to call from several threads.

        Its memory is lent again when this array is gone, slices of it or not.
        """
        try:
            memory = self._free.pop()
        except IndexError:
            memory = self._aligned()
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return lent

    def _aligned(self):
        size = int(np.prod(self._shape))
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        return memory[start : start + size].reshape(self._shape)
