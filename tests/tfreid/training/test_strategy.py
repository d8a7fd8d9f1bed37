"""Meeting the other processes of a cluster, and refusals before anything is trained."""

from __future__ import annotations

import json
import socket

import pytest

from tests.tfreid.training.test_together import free_addresses
from tfrecords.errors import UserError
from tfreid.training.strategy import _meet, join_cluster
from tfreid.workers import Workers, find_cluster


@pytest.fixture
def cluster(monkeypatch):
    """Returns a function that makes this process the first of those at some addresses."""

    def make(*addresses):
        monkeypatch.setenv("TF_CONFIG", json.dumps({
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}))
        return find_cluster(None)

    return make


def test_names_who_does_not_answer_in_time(cluster, capsys):
    own, other = free_addresses(2)
    with pytest.raises(UserError, match=f"no process answers at {other} after 1 seconds"):
        _meet(cluster(own, other), 1)
    assert f"waiting for {other}" in capsys.readouterr().out


def test_goes_on_when_all_listen(cluster):
    own, other = free_addresses(2)
    with socket.create_server(("127.0.0.1", int(other.rpartition(":")[2]))):
        _meet(cluster(own, other), 1)


def test_an_address_that_is_taken_is_one_sentence(cluster):
    own, other = free_addresses(2)
    with socket.create_server(("", int(own.rpartition(":")[2]))), pytest.raises(
            UserError, match=f"{own} is this process's address .* choose another port"):
        _meet(cluster(own, other), 1)


def test_a_cluster_takes_no_list_of_devices(cluster):
    with pytest.raises(UserError, match="training.devices is for a training by itself"):
        join_cluster(cluster(*free_addresses(2)), ["CPU:0"], 1)


def test_names_what_another_process_has_otherwise(monkeypatch):
    workers = Workers()
    others = [{"model.backbone": "osnet", "seed": 1}, {"model.backbone": "resnet50", "seed": 1}]
    monkeypatch.setattr(workers, "exchange",
                        lambda own: [own, *(json.dumps(other).encode() for other in others)])
    with pytest.raises(UserError, match="worker 2 has another model.backbone than worker 0 "
                                        r"\(resnet50, not osnet\)"):
        workers.check_same({"model.backbone": "osnet", "seed": 1})
