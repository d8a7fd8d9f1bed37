"""What errors suggest, and what a command prints of names and errors that come from elsewhere."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time

import pytest

from tfrecords.errors import Stopped, UserError, command_line, find_os_error, nearest

FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize("name, best", [
    ("trian", "train"), ("test", "test"), ("exprt", "export")])
def test_the_nearest_name_is_found(name, best):
    assert nearest(name, ["build", "train", "test", "export"]) == best


def test_a_name_that_is_cut_for_the_comparison_is_returned_whole():
    assert nearest("a" * 200, ["b", "a" * 300]) == "a" * 300


def test_many_and_long_names_take_no_noticeable_time():
    start = time.process_time()
    nearest("learning_rate" * 100_000, ("learning_rte" * 1000 + str(n) for n in range(100_000)))
    assert time.process_time() - start < 1


def test_a_name_like_none_of_them_has_an_answer_too():
    assert nearest("", ["build", "train"]) in ("build", "train")


def test_control_characters_and_broken_names_are_escaped(capsys):
    @command_line
    def main():
        print("\udcb0")
        raise UserError("José 张三 \x1b[2J\r\u202e\udcb0\n")

    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == "\\udcb0\n"
    assert captured.err == "error: José 张三 \\x1b[2J\\r\\u202e\\udcb0\\n\n"
    assert sys.stdout.errors == "backslashreplace"


@pytest.mark.parametrize(("text", "number", "path"), [
    ("{{function_node __wrapped__SaveV2_device_/job:localhost/CPU:0}} out/.unfinished-1/my "
     f"variables/part-0.tempstate21; {FULL} [Op:SaveV2]", errno.ENOSPC,
     "out/.unfinished-1/my variables/part-0.tempstate21"),
    (f"out/saved_model.pb.tmp0; {FULL}", errno.ENOSPC, "out/saved_model.pb.tmp0"),
    ("/mnt/run; Read-only file system", errno.EROFS, "/mnt/run"),
    ("[Errno 28] Can't write data (file write failed: time = Sun Nov 29 07:26:19 2026, filename = "
     f"'a b.h5', file descriptor = 3, errno = 28, error message = '{FULL}', buf = 0x5)",
     errno.ENOSPC, "a b.h5"),
])
def test_errors_of_tensorflow_and_hdf5(text, number, path):
    found = find_os_error(RuntimeError(text))
    assert (found.errno, found.filename) == (number, path)


def test_other_errors_are_left_alone():
    for error in (ValueError("shape; Not the same"), RuntimeError("")):
        assert find_os_error(error) is None
    known = OSError(errno.ENOENT, "gone", "a")
    assert find_os_error(known) is known


@pytest.mark.parametrize(("error", "sentence"), [
    (UserError("a is b; c."), "a is b; c."),
    (OSError(errno.ENOSPC, FULL, "a"), "the disk is full (a); free some space"),
    (OSError(errno.EFBIG, "too large", "a"), "the disk is full (a); free some space"),
    (OSError(errno.ENOSPC, FULL), "the disk is full (a file could not be written); free"),
    (RuntimeError(f"out/a; {FULL}"), "the disk is full (out/a); free some space"),
    (OSError(errno.EROFS, "Read-only", "a"), "a: Read-only; check the path and its permissions."),
])
def test_commands_say_one_sentence(error, sentence, capsys):
    def fail():
        raise error

    assert command_line(fail)() == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {sentence}") and message.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("bug"), OSError("no number")])
def test_bugs_keep_their_traceback(error):
    def fail():
        raise error

    with pytest.raises(type(error)):
        command_line(fail)()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_ends_as_shells_have_it(number, status, capsys):
    def main():
        raise Stopped(number, "after step 3; run again with --resume")

    assert command_line(main)() == status
    assert capsys.readouterr().err == (
        f"stopped by {number.name} after step 3; run again with --resume.\n")
