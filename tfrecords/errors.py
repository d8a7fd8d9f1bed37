"""The exception for mistakes that a user can fix, and how command lines show it."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import sys
from typing import Callable

# What TensorFlow and HDF5 say of a file, inside longer messages.
_NAMED = re.compile(r"(?:^|\}\} |: )(?P<path>[^;{}\n]+); (?P<reason>[A-Z][a-z -]+)"
                    r"|filename = '(?P<file>[^']*)'.*? error message = '(?P<text>[^']+)'")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REASONS = {os.strerror(number): number for number in (
    *_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)}


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
        0), 2 after a `UserError` or an error of the file system, 128 and the signal's number if one
        stopped it, as shells have it: 130 after Ctrl-C (SIGINT), 143 after SIGTERM.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except Stopped as stop:
            print(stop, file=sys.stderr)
            return 128 + stop.number
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as error:
            found = find_os_error(error)
            if found is None or found.filename is None and found.errno not in _FULL:
                raise
            print(f"error: {_explain(found)}", file=sys.stderr)
        return 2

    return wrapped


def find_os_error(error: Exception) -> OSError | None:
    """Returns the error of the file system behind an exception, or None if there is none.

    TensorFlow and HDF5 raise errors of their own for a full or read-only disk, which name the file
    and the reason in their text.
    """
    named = _NAMED.search(str(error))
    if named:
        reason, path = named["reason"] or named["text"], named["path"] or named["file"]
        for text, number in _REASONS.items():
            if reason.startswith(text):
                return OSError(number, text, path)
    return error if isinstance(error, OSError) else None


def _explain(error: OSError) -> str:
    if error.errno in _FULL:
        return (f"the disk is full ({error.filename or 'a file could not be written'}); free some "
                "space and run the same command again.")
    return f"{error.filename}: {error.strerror}; check the path and its permissions."
