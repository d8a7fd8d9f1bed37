"""Who trains together, as the environment says, and what one process does alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.workers import ALONE, find_cluster, place_in

ADDRESSES = ["one:1", "two:2", "three:3"]


def described(task, **cluster) -> str:
    return json.dumps({"cluster": cluster, "task": task})


@pytest.mark.parametrize("text, words", [
    ("{", "cannot be read"),
    ("[]", "cannot be read"),
    ('{"cluster": {"worker": ["a:1", "b:2"]}}', "KeyError: 'task'"),
    (described({"type": "worker", "index": "x"}, worker=ADDRESSES), "cannot be read"),
    (described({"type": "worker", "index": 3}, worker=ADDRESSES), "makes this process worker 3"),
    (described({"type": "worker", "index": -1}, worker=ADDRESSES), "makes this process worker -1"),
    (described({"type": "chief", "index": 0}, worker=ADDRESSES), "makes this process chief 0"),
    (described({"type": "ps", "index": 0}, worker=ADDRESSES, ps=["a:1"]), "the job 'ps'"),
    (described({"type": "evaluator", "index": 0}, worker=ADDRESSES), "the job 'evaluator'"),
    (described({"type": "worker", "index": 0}, worker=ADDRESSES, chief=["a:1", "b:2"]),
     "more than one chief"),
    (described({"type": "worker", "index": 0}, worker=["one", "two:2"]), "'one', which is not"),
    (described({"type": "worker", "index": 0}, worker=5), "cannot be read"),
])
def test_refuses_a_broken_description(monkeypatch, text, words):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match="variable TF_CONFIG") as error:
        find_cluster(None)
    assert words in str(error.value)


@pytest.mark.parametrize("task, cluster, place", [
    (("worker", 0), {"worker": ADDRESSES}, 0),
    (("worker", 2), {"worker": ADDRESSES}, 2),
    (("chief", 0), {"worker": ADDRESSES, "chief": ["chief:9"]}, 0),
    (("worker", 0), {"worker": ADDRESSES, "chief": ["chief:9"]}, 1),
])
def test_the_first_is_the_chief(monkeypatch, task, cluster, place):
    monkeypatch.setenv("TF_CONFIG", described(dict(zip(("type", "index"), task)), **cluster))
    assert place_in(find_cluster(None)) == place


@pytest.mark.parametrize("text", [None, "", described({"type": "worker", "index": 0},
                                                      worker=ADDRESSES[:1])])
def test_one_process_is_no_cluster(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert find_cluster(None) is None and place_in(None) == 0


def test_slurm_needs_its_variables(monkeypatch):
    for name in ("SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="training.cluster=slurm needs the variables"):
        find_cluster("slurm")


def test_slurm_describes_the_cluster(monkeypatch):
    for name, value in {"SLURM_STEP_NODELIST": "host[1-2]", "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
                        "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    resolver = find_cluster("slurm")
    assert place_in(resolver) == 1
    assert resolver.cluster_spec().as_dict() == {"worker": ["host1:8888", "host2:8888"]}


def test_alone_nothing_is_shared():
    blocks = [(np.array([0, 1]), np.ones((2, 3), np.float32))]
    assert list(ALONE.rounds(blocks)) == blocks
    assert ALONE.share(10, 3) is None and ALONE.exchange(b"x") == [b"x"]
    assert ALONE.any(True) is True and ALONE.any(False) is False
    assert np.arange(9)[ALONE.part(4)].tolist() == [0, 1, 2, 3]
    ALONE.check_same({"a": 1})
