"""Runs groups of hostile inputs in a child process and counts what comes of them."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

HANG_SECONDS = 30.0
PREPARE_SECONDS = 300.0
MAX_EXTRA_MEGABYTES = 2048

Attempt = Callable[[Random, Path], None]


class Refused(Exception):
    """The input was answered with one sentence."""


@dataclasses.dataclass
class Tally:
    """What came of a group's inputs."""

    group: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    extra_megabytes: float = 0.0
    slowest: float = 0.0
    faults: list[str] = dataclasses.field(default_factory=list)

    def add(self, number: int, outcome: str, detail: str, seconds: float) -> None:
        """Counts the input `number`."""
        self.inputs += 1
        self.slowest = max(self.slowest, seconds)
        if outcome == "refused":
            self.refused += 1
        elif outcome == "accepted":
            self.accepted += 1
        else:
            self.faults.append(f"{self.group}:{number} {outcome}: {detail}")


def run_inline(name: str, prepare: Callable[[Path], Attempt], seed: str, numbers: range,
               folder: Path) -> Tally:
    """Runs a group in this process, without watching for hangs."""
    tally = Tally(name)
    for number, outcome, detail, seconds in _outcomes(name, prepare(folder), seed, numbers, folder):
        tally.add(number, outcome, detail, seconds)
    return tally


def run_watched(name: str, prepare: Callable[[Path], Attempt], seed: str,
                end: float, first: int, most: int, limit: float = HANG_SECONDS) -> Tally:
    """Runs the inputs `first` to `most` of a group in a child process, until the time `end`.

    An input that takes longer than `limit` seconds hangs.

    A child that hangs or dies is a fault, and another one goes on with the next input.
    """
    tally, number = Tally(name), first
    while number < most and time.monotonic() < end:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(
            target=_child, args=(theirs, name, prepare, seed, number, most))
        child.start()
        theirs.close()
        wait = PREPARE_SECONDS
        try:
            while time.monotonic() < end:
                if not ours.poll(wait):
                    if wait == PREPARE_SECONDS:
                        raise RuntimeError(f"{name}: preparing took over {wait:.0f} s.")
                    tally.add(number, "hang", f"over {wait:.0f} s", wait)
                    number += 1
                    break
                message = ours.recv()
                if message is None:
                    return tally
                wait = limit
                if message[0] == "memory":
                    tally.extra_megabytes = max(tally.extra_megabytes, message[1])
                else:
                    tally.add(*message)
                    number = message[0] + 1
        except EOFError:
            child.join()
            if wait == PREPARE_SECONDS:
                raise RuntimeError(f"{name}: no input was tried; see above.") from None
            tally.add(number, "crash", f"the process ended with {child.exitcode}", 0.0)
            number += 1
        finally:
            child.kill()
            child.join()
    return tally


def _child(pipe, name, prepare, seed, first, most):
    with tempfile.TemporaryDirectory(prefix="tfreid-campaign-") as folder:
        attempt = prepare(Path(folder))
        before = _peak_megabytes()
        pipe.send(("memory", 0.0))
        for outcome in _outcomes(name, attempt, seed, range(first, most), Path(folder)):
            pipe.send(outcome)
            pipe.send(("memory", _peak_megabytes() - before))
    pipe.send(None)


def _outcomes(name, attempt, seed, numbers, folder) -> Iterator[tuple[int, str, str, float]]:
    from tfrecords.errors import UserError
    from tfrecords.image_headers import CorruptImage

    for number in numbers:
        start = time.perf_counter()
        outcome, detail = "accepted", ""
        try:
            attempt(Random(f"{seed}:{name}:{number}"), folder)
        except (UserError, CorruptImage, Refused) as error:
            outcome, detail = "refused", str(error)
            problem = sentence_problem(detail)
            if problem:
                outcome, detail = "sentence", f"{problem}: {detail!r}"
        except AssertionError as error:
            outcome, detail = "wrong", str(error)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = "traceback"
            detail = f"{type(error).__name__}: {str(error)[:200]} ({last.filename}:{last.lineno})"
        yield number, outcome, detail, time.perf_counter() - start


def sentence_problem(text: str) -> str | None:
    """Says why an error's text is not a sentence for a person, or None."""
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in text):
        return "control characters"
    if "function_node" in text or "Traceback" in text:
        return "internals"
    if len(text) > 2500:
        return f"{len(text)} characters"
    return None


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
