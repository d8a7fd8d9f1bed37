"""What the workers of a build share, and what they are sent."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing import connection
from pathlib import Path

import pytest

from tfrecords import pool
from tfrecords.errors import UserError
from tfrecords.scan import ImageEntry, PackedImages
from tfrecords.source import FolderSource
from tfrecords.writer import ShardJob

REPOSITORY = Path(__file__).parents[2]
ENTRIES = [ImageEntry("a/1.jpg", 7, 2, 5), ImageEntry("b/\udcff 2.png", 0),
           ImageEntry("ä/3.jpg", 10**17, -1, -1)]


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_share_the_tensorflow_of_their_parent(tmp_path, monkeypatch):
    (tmp_path / "curious_jobs.py").write_text(
        "import gc, signal, sys\n"
        "def write(job, advance):\n"
        "    return ('tensorflow' in sys.modules, gc.get_freeze_count() > 0,\n"
        "            signal.getsignal(signal.SIGINT))\n")
    monkeypatch.syspath_prepend(tmp_path)
    write = importlib.import_module("curious_jobs").write
    found = list(pool.run_jobs(write, ["a", "b"], 2, lambda images: None))
    assert found == [(True, True, signal.SIG_IGN)] * 2


@pytest.mark.parametrize("moment", ["before", "after", "at once"])
def test_a_worker_that_starts_while_another_dies_ends_too(tmp_path, monkeypatch, moment):
    """The executor does not know the second process while it starts, and gives up or goes on."""
    (tmp_path / "deadly_jobs.py").write_text(
        "import os\n"
        "def write(job, advance):\n"
        "    os._exit(9) if job == 'deadly' else None\n")
    monkeypatch.syspath_prepend(tmp_path)
    write = importlib.import_module("deadly_jobs").write
    process, started = type(pool._worker_context().Process()), []
    start = process.start

    def start_late(self):
        if moment != "before":
            start(self)
        if moment == "at once" and not started:
            os.kill(self.pid, signal.SIGSTOP)  # so that the second one takes the deadly job
        if started:
            connection.wait([one.sentinel for one in (*started, self) if one.pid])
            if started[0].is_alive():
                os.kill(started[0].pid, signal.SIGCONT)
            time.sleep(2 if moment == "at once" else 0.3)
        if moment == "before":
            start(self)
        started.append(self)

    monkeypatch.setattr(process, "start", start_late)
    with pytest.raises(UserError, match="worker process was killed"):
        list(pool.run_jobs(write, ["deadly", "b"], 2, lambda images: None))
    for one in started:
        one.join(20)
        assert not one.is_alive()


def test_a_server_whose_build_is_gone_forks_nothing():
    code = ("import os; parents = iter([7, 1]); os.getppid = lambda: next(parents)\n"
            "import tfrecords.preload; print('still here')")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True,
                          text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_packed_images_are_the_same():
    packed = PackedImages(ENTRIES)
    assert len(packed) == 3
    assert list(packed) == ENTRIES
    assert list(packed) == ENTRIES  # again


def test_a_job_is_sent_packed():
    many = [ImageEntry(f"train/{person:06d}.jpg", person, person % 6) for person in range(3000)]
    for images in (ENTRIES, many):
        labels = list(range(-1, len(images) - 1))
        job = ShardJob("train.tfrecord", "train", FolderSource("/root"), images, labels, "f")
        content = pickle.dumps(job)
        got = pickle.loads(content)
        assert list(got.images) == images and list(got.labels) == labels
        assert got._replace(images=0, labels=0) == job._replace(images=0, labels=0)
    assert len(content) < 3000 * (len("train/000000.jpg") + 1 + 4 * 8) + 1000
