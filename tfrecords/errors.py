"""The exception for mistakes that a user can fix, and how command lines show it."""

from __future__ import annotations

import difflib
import errno
import functools
import importlib
import itertools
import os
import re
import signal
import sys
from collections.abc import Iterable
from typing import Callable

_COMPARED_NAMES, _COMPARED_CHARACTERS = 500, 80
# What TensorFlow and HDF5 say of a file, inside longer messages.
_NAMED = re.compile(r"(?:^|\}\} |: )(?P<path>[^;{}\n]+); (?P<reason>[A-Z][a-z -]+)"
                    r"|filename = '(?P<file>[^']*)'.*? error message = '(?P<text>[^']+)'")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REASONS = {os.strerror(number): number for number in (
    *_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)}


class UserError(Exception):
    """A mistake in input or settings; one sentence names the file or setting and the fix.

    As text it has no control characters, whatever names from elsewhere it quotes.
    """

    def __str__(self) -> str:
        """Returns the sentence."""
        return printable(super().__str__())


def printable(text: str) -> str:
    """Escapes what a terminal cannot show or would act upon: control characters, broken UTF-8."""
    return "".join(character if character.isprintable()
                   else character.encode("unicode_escape").decode() for character in text)


def shortened(text: str, length: int = 80) -> str:
    """Returns a text as it may stand in a message: printable, of a long one only the beginning."""
    return printable(text if len(text) <= length else f"{text[:length - 3]}...")


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the one of some names that a mistyped name is most like, for "did you mean".

    It takes no noticeable time: of many or long names only the beginning is compared.

    Args:
        name: What was asked for.
        names: What there is, at least one.
    """
    beginnings = {known[:_COMPARED_CHARACTERS]: known
                  for known in itertools.islice(names, _COMPARED_NAMES)}
    best, = difflib.get_close_matches(name[:_COMPARED_CHARACTERS], beginnings, n=1, cutoff=0.0)
    return beginnings[best]


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
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            return main(*args, **kwargs) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        except Stopped as stop:
            print(printable(str(stop)), file=sys.stderr)
            return 128 + stop.number
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        except Exception as error:
            found = find_os_error(error)
            if found is None or found.filename is None and found.errno not in _FULL:
                raise
            print(f"error: {printable(_explain(found))}", file=sys.stderr)
        return 2

    return wrapped


def command(module: str) -> Callable[..., int]:
    """Returns a module's `main`, which is imported when it is called.

    Ctrl-C during the imports is then answered like any later one.
    """
    return command_line(lambda *args: importlib.import_module(module).main(*args))


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
