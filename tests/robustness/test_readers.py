"""A short campaign of hostile inputs with one seed; `tools/robustness.py` runs the long one."""

from __future__ import annotations

import pytest
from campaign.damage import damaged, odd_json
from campaign.readers import GROUPS
from campaign.runner import Refused, run_inline

# Inputs of each group; those that train or open models are left to the long campaign.
COUNTS = {"manifest": 60, "shard": 40, "record_values": 20, "results": 60, "table": 60,
          "folders": 40, "image": 60, "checkpoint": 60, "weight_file": 40}


@pytest.mark.parametrize("group", COUNTS)
def test_every_input_is_accepted_or_answered_with_a_sentence(group, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tally = run_inline(group, GROUPS[group], "tests", range(COUNTS[group]), tmp_path)
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.refused + tally.accepted == COUNTS[group] and tally.refused


def _faulty(folder):
    def attempt(random, folder):
        raise [ValueError("a"), AssertionError("b"), Refused("good"), Refused("\x1b[31m"),
               Refused("{{function_node")][attempt.number]

    attempt.number = -1

    def count(random, folder):
        attempt.number += 1
        attempt(random, folder)

    return count


def test_the_campaign_finds_faults(tmp_path):
    tally = run_inline("faulty", _faulty, "tests", range(5), tmp_path)
    assert (tally.inputs, tally.refused, tally.accepted) == (5, 1, 0)
    assert [fault.split(":")[1].split()[1] for fault in tally.faults] == [
        "traceback", "wrong", "sentence", "sentence"]


def test_damage_follows_from_the_seed():
    from random import Random

    data = bytes(range(256)) * 40
    content = {"a": [1, {"b": 2.5}], "c": "text"}
    for number in range(50):
        assert damaged(data, Random(number)) == damaged(data, Random(number))
        assert odd_json(content, Random(number)) == odd_json(content, Random(number))
    assert len({damaged(data, Random(number)) for number in range(50)}) > 45
