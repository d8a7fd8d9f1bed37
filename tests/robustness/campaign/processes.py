"""Commands as processes that can be killed, without the seconds that importing TensorFlow takes.

`python -m campaign.processes` imports once and forks a process for every line it reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[2]


class Commands:
    """A server that runs `tfreid` commands, one at a time."""

    def __init__(self):
        path = os.pathsep.join([str(_TESTS / "robustness"), str(_TESTS.parent)])
        self._server = subprocess.Popen(
            [sys.executable, "-m", "campaign.processes"], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})

    def start(self, arguments: list[str], log: Path) -> int:
        """Starts a command, whose output goes to the file `log`, and returns its process id."""
        line = json.dumps({"arguments": arguments, "log": str(log)})
        self._server.stdin.write(line + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def wait(self) -> int:
        """Waits for the command and returns its exit code, negative after a signal."""
        return int(self._server.stdout.readline())

    def run(self, arguments: list[str], log: Path) -> int:
        """Runs a command to its end."""
        self.start(arguments, log)
        return self.wait()

    def close(self) -> None:
        """Ends the server."""
        self._server.stdin.close()
        self._server.wait()


def group_is_gone(process: int, seconds: float = 20.0) -> bool:
    """Says whether all processes that a command started end within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def _serve():
    import test_net  # noqa: F401
    import train_net  # noqa: F401
    from campaign.runs import register_tiny_backbone
    from tfreid.commands import convert, export, main, query, test, train  # noqa: F401
    from tfreid.systems import stages, testing  # noqa: F401

    register_tiny_backbone()
    for line in sys.stdin:
        job = json.loads(line)
        process = os.fork()
        if not process:
            _become(job["log"])
            sys.argv = ["tfreid", *job["arguments"]]
            sys.exit(main.main(job["arguments"]))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(log):
    """Gives a forked process a group, a log and signals of its own."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, (file, mode) in enumerate([("/dev/null", os.O_RDONLY), (log, _WRITE),
                                           (log, _WRITE)]):
        descriptor = os.open(file, mode, 0o666)
        os.dup2(descriptor, number)
        os.close(descriptor)


_WRITE = os.O_WRONLY | os.O_CREAT | os.O_APPEND

if __name__ == "__main__":
    # The campaign may end before its last job.
    with contextlib.suppress(BrokenPipeError):
        _serve()
