"""Shards that Apache Beam writes are those of this machine."""

from __future__ import annotations

import filecmp
import sys

import pytest

from tests.conftest import RENDERED
from tfrecords.build import main
from tfrecords.runner import run_shards

ARGUMENTS = [word for name, value in RENDERED.items()
             for word in (f"--{name.replace('_', '-')}", str(value))]


def build(root, output, *more):
    return main(["synthetic", "--root", str(root), "--output", str(output), "--shards", "2",
                 "--workers", "1", *ARGUMENTS, *more])


def test_beam_writes_the_same_bytes(records, tmp_path):
    pytest.importorskip("apache_beam")
    assert build(records.parent / "images", tmp_path / "beam", "--runner", "beam") == 0
    names = sorted(path.name for path in (tmp_path / "beam").iterdir())
    assert names == sorted(path.name for path in records.iterdir())
    assert filecmp.cmpfiles(records, tmp_path / "beam", names, shallow=False)[0] == names


def test_what_a_job_on_beam_cannot_do_is_one_sentence(tmp_path):
    pytest.importorskip("apache_beam")
    with pytest.raises(OSError, match="no such thing"):
        list(run_shards(fail, ["one", "two"], 2, tmp_path, beam_options=""))
    assert not list(tmp_path.iterdir())


def fail(job, advance):
    raise OSError("no such thing")


def test_beam_is_an_extra(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert build(records.parent / "images", tmp_path / "beam", "--runner", "beam") == 2
    assert "tfreid[beam]" in capsys.readouterr().err


def test_options_of_beam_need_beam(records, tmp_path, capsys):
    assert build(records.parent / "images", tmp_path / "beam", "--beam-options=--x=1") == 2
    assert "--runner beam" in capsys.readouterr().err
