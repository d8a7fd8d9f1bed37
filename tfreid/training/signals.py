"""Stopping between two steps when the system or the user asks for it."""

from __future__ import annotations

import contextlib
import os
import signal


class StopSignals:
    """Notes SIGINT and SIGTERM inside a `with` block instead of dying of them.

    A second signal of the same kind acts as it would have without the block.

    Attributes:
        received: Name of the first signal, or None.
    """

    def __init__(self):
        self.received: str | None = None
        self._previous = {}

    def __enter__(self) -> StopSignals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number, _frame):
        self.received = signal.Signals(number).name
        signal.signal(number, self._previous[number])
        text = f"\n{self.received}: finishing the step and saving; once more to stop at once.\n"
        with contextlib.suppress(OSError):  # a closed terminal
            os.write(2, text.encode())  # `print` may not interrupt itself
