import multiprocessing
import os
import signal
import time

import pytest

from tfrecords.errors import UserError
from tfrecords.files import locked, read_json, read_text, replacing, write_json, write_whole

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text, message", [
    ('{"a": 1e999}', "1e999 is not finite"),
    ('{"a": NaN}', "NaN is not finite"),
    ('{"a": -Infinity}', "-Infinity is not finite"),
    ('{"a": ' + "9" * 6000 + "}", "a number of 6000 digits"),
    ('{"a": ' + DEEP + "}", "nested too deeply"),
    ('{"a": 1}}', "is broken"),
    ("[]", "does not hold a JSON object"),
    ('{"a": "\0"}', "NUL bytes at character 7"),
    ("", "is broken"),
])
def test_refuses_broken_json(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_json(path, "make it again")
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("; make it again.")


def test_reads_json_of_ordinary_numbers(tmp_path):
    content = {"a": [1, 2.5, -1e-300, 2 ** 63], "b": {"c": None}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json", "") == content


def test_refuses_what_is_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"not UTF-8 text \(byte 2\)"):
        read_text(path, "save it as UTF-8")
    path.write_bytes(b"\xef\xbb\xbfab")
    assert read_text(path, "") == "ab"
    with pytest.raises(UserError, match="larger than 0 MiB"):
        read_text(path, "", max_bytes=4)


def test_refuses_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, message in [
            (tmp_path, "is a folder"), (tmp_path / "pipe", "a pipe or device"),
            ("/dev/zero", "a pipe or device"), (tmp_path / "loop", "symbolic links"),
            (tmp_path / "none", "No such file"), (f"{tmp_path}/a\0b", "not a file name"),
            (tmp_path / ("a" * 300), "too long")]:
        with pytest.raises(UserError, match=message):
            read_text(path, "name a file")


def test_a_failed_write_keeps_the_old_file_and_names_it(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    with pytest.raises(OSError) as caught, replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_bytes(b"ne")
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def _write_for_ever(path, ready):
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        ready.set()
        time.sleep(60)


def _hold(path, ready):
    with locked(path, "trains in runs/a"):
        ready.set()
        time.sleep(60)


def _start(target, path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=target, args=(path, ready))
    process.start()
    assert ready.wait(20)
    return process


def test_removes_what_a_killed_process_left(tmp_path):
    path = tmp_path / "a[1].txt"
    process = _start(_write_for_ever, path)
    write_whole(path, b"mine")
    assert len(list(tmp_path.iterdir())) == 2, "a living process keeps its file"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    write_whole(path, b"mine")
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_keeps_others_out_until_its_process_ends(tmp_path):
    path = tmp_path / ".lock"
    process = _start(_hold, path)
    with pytest.raises(UserError, match=f"process {process.pid} on .* trains in runs/a"), \
            locked(path, "trains in runs/a"):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with locked(path, "trains in runs/a"):
        assert path.read_text().startswith(f"process {os.getpid()} on ")
    assert not path.exists()
