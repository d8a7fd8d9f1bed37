"""A run goes on with the identities it began with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfreid.config import Config, ModelConfig
from tfreid.records import Records
from tfreid.training.identities import check_identities, describe_identities
from tfreid.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def table(records):
    return Records(records)["train"].load()


def test_order_and_more_images_do_not_matter(table):
    found = describe_identities(table)
    assert found["count"] == 8 and len(found["fingerprint"]) == 64
    assert describe_identities(table.take(np.arange(len(table.index))[::-1])) == found
    first = np.sort(np.unique(table.index.ids, return_index=True)[1])
    assert describe_identities(table.take(first)) == found


@pytest.mark.parametrize("changed", ["ids", "images"])
def test_other_people_under_the_same_labels(table, changed):
    if changed == "ids":
        index = dataclasses.replace(table.index, ids=table.index.ids + 1)
        other = dataclasses.replace(table, index=index)
    else:
        other = dataclasses.replace(table, encoded=[image + b"." for image in table.encoded])
    assert describe_identities(other) != describe_identities(table)


def test_a_run_refuses_others(tmp_path):
    run, mine = RunFolder(tmp_path / "run"), {"count": 8, "fingerprint": "a"}
    check_identities(run, mine, ["records"])
    run.start(Config(model=ModelConfig(num_identities=8)), mine)
    check_identities(run, mine, ["records"])
    with pytest.raises(UserError, match="has 8 training identities as .* other people"):
        check_identities(run, {**mine, "fingerprint": "b"}, ["records"])
    with pytest.raises(UserError, match="has 5 training identities, but .* is a run on 8; resume"):
        check_identities(run, {**mine, "count": 5}, ["records"])
    run.identities.write_text("{")
    with pytest.raises(UserError, match="delete it to resume without"):
        check_identities(run, mine, ["records"])


def test_runs_of_before_know_only_their_classifier(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.start(Config(model=ModelConfig(num_identities=8)), {})
    run.identities.unlink()
    check_identities(run, {"count": 8, "fingerprint": "b"}, ["records"])
    with pytest.raises(UserError, match="is a run on 8; resume with data.records of before"):
        check_identities(run, {"count": 5, "fingerprint": "b"}, ["records"])
