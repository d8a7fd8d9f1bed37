"""Hostile recipes and overrides end in settings that are saved equal, or in one sentence."""

from __future__ import annotations

import time
from random import Random

import pytest
from campaign.runner import run_inline
from campaign.settings import GROUPS, RECIPES, override

HOSTILE = 60


def test_hostile_settings_are_refused_or_right(tmp_path):
    start = time.process_time()
    tally = run_inline("settings", GROUPS["settings"], "1", range(HOSTILE), tmp_path)
    assert not tally.faults
    assert tally.refused + tally.accepted == HOSTILE and tally.refused and tally.accepted
    assert tally.slowest < 30 and time.process_time() - start < 60


@pytest.mark.parametrize("generator", [*dict.fromkeys(RECIPES), override])
def test_a_seed_makes_the_same_input_again(generator):
    first, again, other = (generator(Random(f"{seed}")) for seed in (3, 3, 4))
    assert first == again and isinstance(first, str)
    assert first != other
