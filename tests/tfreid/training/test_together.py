"""Several processes train as one process with as many devices does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfreid.weights.files import read_arrays

SCRIPT = Path(__file__).parents[2] / "train_together.py"
SIZE = ["model.height=32", "model.width=16", "training.projector_images=0",
        "training.deterministic=true"]
STEPS = ["training.steps_per_epoch=10", "schedule.warmup_epochs=0",
         "training.epochs=2", "training.evaluate_every=1"]
PAIRS = ["data.pairs.batch_size=6", "data.pairs.matching=all", "data.pairs.negatives=batch"]
TRAININGS = {
    "embedding": ["--config", "bot_osnet_x025", *SIZE, *STEPS, "model.backbone=tiny",
                  "data.identities_per_batch=2", "data.images_per_identity=2"],
    "triplet": ["--config", "done_right_osnet_x025", *SIZE, "model.backbone=tiny",
                "model.longest_side=32", "model.embedding_size=8", "triplet.batch_size=4",
                "triplet.triplets_at_once=1", "triplet.updates_per_epoch=5",
                "triplet.updates_per_mining=3", "triplet.mining_images=20", "triplet.hardest=5",
                "training.epochs=2", "pretraining.training.epochs=1",
                "pretraining.training.steps_per_epoch=4", "pretraining.data.images_per_batch=4",
                "pretraining.model.height=32", "pretraining.model.width=16"],
    "csn": ["--config", "csn_l23", *SIZE, *STEPS, *PAIRS, "csn.width=6", "csn.levels=[3]",
            "evaluation.single_shot.identities=4", "evaluation.single_shot.training_trials=2"],
    "siamese": ["--config", "siamese_twin", "--variant", "synthetic", *SIZE, *STEPS, *PAIRS,
                "model.filters=[4,4]", "model.embedding_size=8", "data.subset.validation=0.25",
                "evaluation.verification_pairs=20", "model.block_dropout=0.1"],
}


def arguments_of(name: str, folder: Path, records: Path, *more: str) -> list[str]:
    """Returns the arguments of train_net.py for one training."""
    return [*TRAININGS[name], "--output", str(folder / name), f"data.records={records}", *more]


def start(trainings: list[list[str]], number: int = 0, addresses: tuple[str, ...] = (),
          devices: int = 1) -> subprocess.Popen:
    """Starts one process of those at some addresses, or one by itself with several devices."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if addresses:
        environment["TF_CONFIG"] = json.dumps({
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}})
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(devices), json.dumps(trainings)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_two(trainings: list[list[str]]) -> list[subprocess.Popen]:
    addresses = free_addresses(2)
    return [start(trainings, number, addresses) for number in range(2)]


def free_addresses(count: int) -> tuple[str, ...]:
    """Returns addresses of this machine that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple("{}:{}".format(*server.getsockname()) for server in sockets)
    for server in sockets:
        server.close()
    return addresses


@pytest.fixture(scope="session")
def trained(records, tmp_path_factory) -> tuple[Path, Path]:
    """Runs of all systems: of one process with two devices, and of two processes."""
    alone, together = (tmp_path_factory.mktemp(name) for name in ("alone", "together"))
    devices = "training.devices=[CPU:0,CPU:1]"
    assert_all_end_well([
        start([arguments_of(name, alone, records, devices) for name in TRAININGS], devices=2),
        *start_two([arguments_of(name, together, records) for name in TRAININGS])])
    return alone, together


def assert_all_end_well(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output


def last_weights(run: Path) -> dict[str, np.ndarray]:
    return read_arrays(run / "checkpoints" / "last.weights.h5")


def assert_same_weights(found, expected, tolerance=0.0) -> None:
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=tolerance, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_weights_and_figures_are_those_of_one_process_with_as_many_devices(trained, name):
    alone, together = (folder / name for folder in trained)
    expected, found = map(last_weights, (alone, together))
    assert_same_weights(found, expected)
    results = [json.loads((run / "results.json").read_text()) for run in (alone, together)]
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_lost_process_ends_the_other_and_the_run_goes_on(trained, records, tmp_path):
    arguments = arguments_of("embedding", tmp_path, records, "training.checkpoint_every_steps=1")
    run = tmp_path / "embedding"
    first, second = start_two([arguments])
    while not list(run.glob("checkpoints/step-3.*")):
        assert first.poll() is None and second.poll() is None
        time.sleep(0.01)
    second.kill()
    output, _ = first.communicate(timeout=120)
    assert first.returncode == 2
    assert "a process that trains with this one was lost" in output and "Traceback" not in output
    assert not (run / "checkpoints" / "last.weights.h5").exists()
    assert_all_end_well(start_two([["--resume", *arguments]]))
    # A checkpoint has the mean of the devices' moving statistics, which is rounded.
    assert_same_weights(last_weights(run), last_weights(trained[1] / "embedding"), 1e-6)
