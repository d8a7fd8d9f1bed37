"""A training and a test read the manifest once, and once each shard that they need."""

from __future__ import annotations

import pytest
import yaml

import test_net
import train_net
from tfrecords.records import build_records
from tfrecords.rendered import scan_synthetic
from tfrecords.scan import Scan

SETTINGS = {
    "model": {"height": 32, "width": 16},
    "data": {"identities_per_batch": 4, "images_per_identity": 2, "workers": 1},
    "schedule": {"warmup_epochs": 0},
    "training": {"epochs": 1, "steps_per_epoch": 1, "devices": ["CPU:0"]},
}


@pytest.fixture
def train(tmp_path, tiny_backbone):
    """Trains one step on a folder of records; returns the run's folder."""

    def run(records, *overrides):
        recipe = tmp_path / "recipe.yaml"
        model = {**SETTINGS["model"], "backbone": tiny_backbone}
        recipe.write_text(yaml.safe_dump({"name": "tiny", **SETTINGS, "model": model}))
        assert train_net.main(["--config", str(recipe), "--output", str(tmp_path / "run"),
                               f"data.records={records}", *overrides]) == 0
        return tmp_path / "run"

    return run


def test_a_training_and_a_test(records, train, count_reads):
    run = train(records)
    assert count_reads.manifests == 1
    assert sorted(count_reads.shards) == sorted(path.name for path in records.glob("*.tfrecord"))
    count_reads.manifests = 0
    count_reads.shards.clear()
    assert test_net.main(["--run", str(run)]) == 0
    assert count_reads.manifests == 1
    assert sorted(count_reads.shards) == sorted(
        path.name for split in ("query", "gallery") for path in records.glob(f"{split}-*"))


def test_single_shot_trials_of_a_fold(tmp_path, train, count_reads):
    scan = scan_synthetic(tmp_path / "people", train_identities=8, test_identities=1, cameras=2,
                          cameras_per_identity=2, images_per_camera=2, distractors=0, junk=0)
    entries = [entry for split in scan.splits.values() for entry in split]
    ids = sorted({entry.person_id for entry in entries})
    folds = [{"train": ids[:4], "test": ids[4:]}, {"train": ids[4:], "test": ids[:4]}]
    folder = tmp_path / "records"
    build_records(Scan(tmp_path / "people", {"images": entries}, identity_splits=folds), "drawn",
                  folder, shards=2)
    run = train(folder, "evaluation.protocol=single_shot", "training.evaluate_every=0")
    count_reads.manifests = 0
    count_reads.shards.clear()
    assert test_net.main(["--run", str(run), "evaluation.single_shot.trials=20"]) == 0
    assert count_reads.manifests == 1
    assert sorted(count_reads.shards) == sorted(path.name for path in folder.glob("images-*"))
