"""Identity splits: disjoint, the same everywhere, and in the manifest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.identity_splits import describe_identity_splits, draw_identity_splits
from tfrecords.manifest import Manifest, Shard, SplitEntry, read_manifest, write_manifest
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan

PINNED = [([3, 6], [4, 10, 11]), ([1, 11], [2, 3, 10]), ([8, 10], [4, 6, 11])]


def people(two: int, one: int = 0) -> list[ImageEntry]:
    """Images of people seen by two cameras, and of some more, numbered on, seen by one."""
    both = [ImageEntry(f"{camera}/{person}.jpg", person, camera) for camera in (1, 2)
            for person in range(two)]
    return both + [ImageEntry(f"2/{person}.jpg", person, 2) for person in range(two, two + one)]


def test_every_split_is_a_division_of_the_people():
    splits = draw_identity_splits(people(40, 5), test=10, val=7, splits=6)
    for split in splits:
        assert [len(split[name]) for name in ("train", "val", "test")] == [28, 7, 10]
        assert sorted(split["train"] + split["val"] + split["test"]) == list(range(45))
        assert all(ids == sorted(ids) for ids in split.values())
        # Who was seen by one camera has no match.
        assert set(range(40, 45)) <= set(split["train"])
    assert len({tuple(split["test"]) for split in splits}) == 6
    assert "val" not in draw_identity_splits(people(4), test=1)[0]


def test_a_drawing_is_the_same_on_every_machine():
    """The order of the raw numbers of PCG64([seed, number]), written down once."""
    drawn = draw_identity_splits(people(12), test=3, val=2, splits=3, seed=7)
    assert [(split["val"], split["test"]) for split in drawn] == PINNED
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([7, 1])))
    raw = generator.bit_generator.random_raw(12).tolist()
    order = sorted(range(12), key=raw.__getitem__)
    assert drawn[1]["val"] == sorted(order[:2])
    assert drawn[1]["test"] == sorted(order[2:5])


def test_splits_hang_on_seed_and_number_alone():
    draw = lambda **settings: draw_identity_splits(people(30), test=10, **settings)  # noqa: E731
    shuffled = [people(30)[i] for i in np.random.default_rng(0).permutation(60)]
    assert draw(splits=5, seed=3) == draw(splits=8, seed=3)[:5]
    assert draw(splits=5, seed=3) == draw_identity_splits(shuffled, test=10, splits=5, seed=3)
    assert draw(splits=5, seed=3) != draw(splits=5, seed=4)


def test_fixed_tests_leave_the_rest_to_be_drawn():
    tests = [{0, 1, 2}, {3, 11}]
    splits = draw_identity_splits(people(10, 2), test=3, val=4, splits=2, tests=tests)
    for split, test in zip(splits, tests):
        assert split["test"] == sorted(test)
        assert len(split["val"]) == 4 and max(split["val"]) < 10
        assert not set(split["val"]) & test
        assert len(split["train"]) == 12 - 4 - len(test)
    with pytest.raises(UserError, match="--splits is 3 but .* fixes the test identities of 2 "):
        draw_identity_splits(people(10), test=3, splits=3, tests=tests)


@pytest.mark.parametrize(("settings", "message"), [
    ({"splits": 0}, "--splits must be at least 1, but is 0"),
    ({"seed": -1}, "--seed must lie between 0 and 4294967295, but is -1"),
    ({"seed": 2**32}, "--seed must lie"),
    ({"test": 6}, "6 of them seen by two cameras, which are too few for 6 test and 1"),
    ({"test": 9}, "8 identities, 6 of them seen by two"),
    ({"test": 0}, "too few"),
])
def test_impossible_drawings_are_one_sentence(settings, message):
    with pytest.raises(UserError, match=message):
        draw_identity_splits(people(6, 2), **{"test": 2, "val": 1, **settings})


def test_nobody_left_to_train():
    with pytest.raises(UserError, match="too few"):
        draw_identity_splits(people(6), test=5, val=1)
    assert draw_identity_splits(people(6), test=4, val=1)[0]["train"]


def test_the_line_of_the_summary():
    split = {"train": [1, 2], "test": [3]}
    assert describe_identity_splits([split] * 2) == "2 identity splits: train 2, test 1"
    assert describe_identity_splits([{**split, "val": list(range(1000))}]) == (
        "1 identity split: train 2, test 1, val 1,000")
    assert describe_identity_splits([split, {"train": [1], "test": [2]}]) == (
        "2 identity splits: train 1 to 2, test 1")


@pytest.fixture
def manifest(tmp_path):
    (tmp_path / "images-0").write_bytes(b"")
    manifest = Manifest(1, "viper", {}, {"images": SplitEntry(0, 0, 0, 0, (
        Shard("images-0", 0, 0, "00000000"),))}, {},
        [{"train": [1, 4], "val": [5], "test": [2, 3]}, {"train": [1], "test": [2]}])
    write_manifest(tmp_path, manifest)
    return manifest


def test_the_manifest_keeps_identity_splits_and_older_ones_have_none(tmp_path, manifest):
    assert read_manifest(tmp_path) == manifest
    content = json.loads((tmp_path / "manifest.json").read_text())
    del content["identity_splits"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path).identity_splits == []


@pytest.mark.parametrize(("change", "message"), [
    (lambda content: content["identity_splits"][0].pop("test"), "broken .KeyError"),
    (lambda content: content["identity_splits"][0].update(test=[]), "train, val and test"),
    (lambda content: content["identity_splits"][0].update(gallery=[9]), "train, val and test"),
    (lambda content: content["identity_splits"][0].update(test=[5]), "a person twice"),
    (lambda content: content["identity_splits"][0].update(test=["x"]), "broken"),
    (lambda content: content.update(identity_splits={"train": [1]}), "broken"),
    (lambda content: content.update(identity_splits=3), "broken"),
    (lambda content: content["splits"].update(query=content["splits"]["images"]), "the one split"),
])
def test_broken_identity_splits_are_refused(tmp_path, manifest, change, message):
    content = json.loads((tmp_path / "manifest.json").read_text())
    change(content)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("corrupt", "refused"), [
    (["1/0.jpg"], "person 0 in"),  # a test identity without its query
    (["1/1.jpg", "2/1.jpg"], "person 1 in"),  # a training identity without images
    (["1/1.jpg"], None),
])
def test_corrupt_images_may_not_change_a_split(tmp_path, write_images, corrupt, refused):
    images = people(3)
    write_images(tmp_path / "data", [entry.path for entry in images])
    for path in corrupt:
        (tmp_path / "data" / path).write_bytes(b"")
    scan = Scan(tmp_path / "data", {"images": images},
                identity_splits=[{"train": [1, 2], "test": [0]}])
    build = lambda: build_records(scan, "test", tmp_path / "out", skip_corrupt=True)  # noqa: E731
    if refused:
        with pytest.raises(UserError, match=refused):
            build()
        assert not (tmp_path / "out" / "manifest.json").exists()
    else:
        assert build().manifest.identity_splits == scan.identity_splits
