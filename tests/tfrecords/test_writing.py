"""Files appear whole, leftovers of killed processes go, and a folder has one writer."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import tempfile

import pytest

from tfrecords import writing
from tfrecords.errors import UserError
from tfrecords.writing import check_name, scratch_folder, sole_writer, whole_file, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_whole(path, b"old")
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert names(path.parent) == ["a.json"]


def test_errors_name_the_file_and_not_its_temporary_name(tmp_path):
    for filename in (None, "temporary"):
        with pytest.raises(OSError) as raised, whole_file(tmp_path / "a.png") as temporary:
            raise OSError(errno.ENOSPC, "full", filename and str(temporary))
        assert raised.value.filename == str(tmp_path / "a.png")
    with pytest.raises(OSError) as raised, whole_file(tmp_path / "a.png"):
        raise OSError(errno.ENOENT, "another file", "b.png")
    assert raised.value.filename == "b.png"
    assert names(tmp_path) == []


def test_files_of_killed_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_cleared", set())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    for name in (f".tmp-{host}-{ended.pid}-a", f".tmp-{host}-{os.getppid()}-a",
                 f".tmp-elsewhere-{ended.pid}-a", "mine.tmp"):
        (tmp_path / name).write_text("half")
    write_whole(tmp_path / "b", b"")
    assert names(tmp_path) == sorted(
        [f".tmp-{host}-{os.getppid()}-a", f".tmp-elsewhere-{ended.pid}-a", "mine.tmp", "b"])


def test_scratch_folders_go_also_those_of_killed_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_cleared", set())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".tmp-{socket.gethostname()}-{ended.pid}-x-training"
    left.mkdir()
    (left / "a").write_text("half")
    with scratch_folder("training") as folder:
        (folder / "b").write_text("")
        assert names(tmp_path) == [folder.name]
    assert names(tmp_path) == []


def test_a_second_writer_is_refused_and_told_of_the_first(tmp_path):
    refused = pytest.raises(UserError, match=rf"process {os.getpid()} on .* \(training\)")
    with sole_writer(tmp_path, "training"), refused, sole_writer(tmp_path, "training"):
        raise AssertionError("two writers")
    with sole_writer(tmp_path, "training"):
        pass
    assert names(tmp_path) == []


def test_the_lock_of_a_killed_process_does_not_count(tmp_path):
    code = ("import os, sys; from tfrecords.writing import sole_writer\n"
            "with sole_writer(sys.argv[1], 'training'): os._exit(9)")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    assert names(tmp_path) == [".lock"]
    with sole_writer(tmp_path, "training"):
        pass
    assert names(tmp_path) == []


def test_names_that_tensorflow_cannot_open_are_refused():
    check_name("Łódź/照片")
    with pytest.raises(UserError, match="is not UTF-8"):
        check_name("a/\udcb0")


def test_a_folder_made_for_the_lock_stays_only_if_it_is_used(tmp_path):
    with sole_writer(tmp_path / "run", "training"):
        pass
    assert names(tmp_path) == []
    with sole_writer(tmp_path / "run", "training"):
        (tmp_path / "run" / "config.yaml").touch()
    assert names(tmp_path / "run") == ["config.yaml"]
