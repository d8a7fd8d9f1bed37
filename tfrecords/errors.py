"""The exception for mistakes that a user can fix, and how command lines show it."""

from __future__ import annotations

import errno
import functools
import signal
import sys
from typing import Callable


class UserError(Exception):
    """A mistake in input or settings; one sentence names the file or setting and the fix."""


class Stopped(Exception):
    """A signal stopped what a process did, in an orderly way, before its end.

    Args:
        number: The signal.
        where: Where it stopped and how to go on.
    """

    def __init__(self, number: signal.Signals, where: str):
        super().__init__(f"stopped by {number.name} {where}.")
        self.number = number


def command_line(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorates a command's `main` to print user mistakes as one sentence without a traceback.

    Returns:
        A function with the same arguments that returns the exit status: that of `main` (None is
        0), 2 after a `UserError` or a full disk, 128 and the signal's number if one stopped it, as
        shells have it: 130 after Ctrl-C (SIGINT), 143 after SIGTERM.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            print(f"error: {_explain(error)}", file=sys.stderr)
        except Stopped as stop:
            print(stop, file=sys.stderr)
            return 128 + stop.number
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 2

    return wrapped


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return (f"the disk is full ({error.filename or 'while writing'}); free some space and run "
                "the same command again.")
    if error.filename is None:
        raise error
    return f"{error.filename}: {error.strerror}; check the path and its permissions."
