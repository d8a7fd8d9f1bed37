"""The synthetic renderer: layout, determinism, resuming, refusals and how hard its images are."""

from __future__ import annotations

import collections
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import tfrecords.synthetic.dataset as dataset
from tfrecords.errors import UserError
from tfrecords.synthetic import (
    DISTRACTOR,
    JUNK,
    SyntheticOptions,
    render_crop,
    render_dataset,
)
from tfrecords.synthetic.identity import identity_of

# 5 + 4 people x 2 of 3 cameras x 3 crops, of which a test identity's first is the query.
SMALL = SyntheticOptions(train_identities=5, test_identities=4, cameras=3, images_per_camera=3,
                         cameras_per_identity=2, distractors=7, junk=4, seed=3)
COUNTS = {"bounding_box_train": 5 * 2 * 3, "query": 4 * 2,
          "bounding_box_test": 4 * 2 * 2 + 7 + 4}
NAME = re.compile(r"(-1|\d{4,})_c(\d)s([1-6])_(\d{6})_(\d{2})\.jpg")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "small"
    render_dataset(root, SMALL, progress=False)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*")
            if path.is_file()}


def labels(folder: Path) -> list[tuple[int, int]]:
    return [(int(match[1]), int(match[2])) for match in
            (NAME.fullmatch(path.name) for path in sorted(folder.iterdir()))]


def test_layout_counts_and_names(small, tmp_path):
    assert render_dataset(tmp_path / "again", SMALL, progress=False) == COUNTS
    for folder, count in COUNTS.items():
        files = sorted((small / folder).iterdir())
        assert len(files) == count
        assert all(NAME.fullmatch(path.name) for path in files)
    assert {path.name for path in small.iterdir()} == {*COUNTS, "synthetic.json"}
    manifest = json.loads((small / "synthetic.json").read_text())
    assert SyntheticOptions(**manifest["options"]) == SMALL
    assert manifest["images"] == COUNTS


def test_test_identities_are_unseen_in_training(small):
    train, query, gallery = (labels(small / folder) for folder in COUNTS)
    assert len({person for person, _ in train}) == 5
    assert {person for person, _ in query} == {person for person, _ in gallery} - {-1, 0}
    assert not {person for person, _ in train} & {person for person, _ in query}
    assert collections.Counter(person for person, _ in gallery if person <= 0) == {0: 7, -1: 4}


def test_every_query_has_a_match_in_another_camera(small):
    query, gallery = labels(small / "query"), labels(small / "bounding_box_test")
    assert len(set(query)) == len(query)
    for person, camera in query:
        assert any(other == person and seen != camera for other, seen in gallery)


def test_runs_and_worker_counts_agree(small, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "_CHUNK", 9)
    render_dataset(tmp_path / "two", SMALL, workers=2, progress=False)
    assert contents(tmp_path / "two") == contents(small)


def test_more_training_identities_leave_the_rest_alone(small, tmp_path):
    render_dataset(tmp_path / "more", dataclasses.replace(SMALL, train_identities=6),
                   progress=False)
    before, after = contents(small), contents(tmp_path / "more")
    before.pop("synthetic.json")
    assert all(after[name] == content for name, content in before.items())


def test_every_number_of_a_crop_matters():
    reference = render_crop(1, 2, 3, 4)
    assert reference.dtype == np.uint8 and reference.ndim == 3 and reference.shape[2] == 3
    np.testing.assert_array_equal(reference, render_crop(1, 2, 3, 4))
    for numbers in ((2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 4, 4), (1, 2, 3, 5), (1, DISTRACTOR, 3, 4),
                    (1, JUNK, 3, 4)):
        assert not np.array_equal(reference, render_crop(*numbers))


def test_crops_do_not_depend_on_what_was_rendered_before():
    code = ("import sys, numpy; from tfrecords.synthetic import render_crop; "
            "sys.stdout.buffer.write(render_crop(1, 2, 3, 4).tobytes()); "
            "assert 'tensorflow' not in sys.modules")
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True,
                           cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": "17"})
    assert fresh.stdout == render_crop(1, 2, 3, 4).tobytes()


@pytest.mark.parametrize("numbers", [(-1, 1, 1, 0), (0, -2, 1, 0), (0, 1, 0, 0), (0, 1, 1, -1)])
def test_render_crop_refuses_numbers_out_of_range(numbers):
    with pytest.raises(ValueError, match=str(numbers)[1:-1]):
        render_crop(*numbers)


def test_sizes_are_mixed_and_about_twice_as_high_as_wide():
    shapes = [render_crop(0, 1, camera, index).shape for camera in range(1, 7)
              for index in range(5)]
    heights = [height for height, _, _ in shapes]
    assert len(set(shapes)) > 15
    assert 68 <= min(heights) < 110 and 130 < max(heights) <= 192
    assert all(0.4 < width / height < 0.6 for height, width, _ in shapes)


def test_lookalikes_share_colours_but_not_looks():
    names = [identity_of(0, number) for number in range(1, 5)]
    hues = [{tuple(np.round(np.array(colour) / np.linalg.norm(colour), 3))
             for colour in (who.upper.colour, who.lower.colour)} for who in names]
    assert len(hues[0]) == 2 and all(hue == hues[0] for hue in hues)
    looks = {(who.upper.colour, who.upper.pattern, who.lower.colour) for who in names}
    assert len(looks) == 4


def test_an_interrupted_dataset_is_finished_and_a_finished_one_kept(small, tmp_path, monkeypatch):
    root, real, rendered = tmp_path / "stopped", dataset.render_crop, []

    def breaks_down(*numbers):
        if len(rendered) == 20:
            raise KeyboardInterrupt
        rendered.append(numbers)
        return real(*numbers)

    monkeypatch.setattr(dataset, "render_crop", breaks_down)
    with pytest.raises(KeyboardInterrupt):
        render_dataset(root, SMALL, progress=False)
    assert not (root / "synthetic.json").exists()
    with pytest.raises(UserError, match="seed 3 instead of 4"):
        render_dataset(root, dataclasses.replace(SMALL, seed=4), progress=False)
    rendered.clear()
    monkeypatch.setattr(dataset, "render_crop", lambda *n: rendered.append(n) or real(*n))
    render_dataset(root, SMALL, progress=False)
    assert len(rendered) == sum(COUNTS.values()) - 20
    assert contents(root) == contents(small)
    rendered.clear()
    render_dataset(root, SMALL, progress=False)
    assert not rendered


def test_other_roots_are_refused(small, tmp_path):
    with pytest.raises(UserError, match="junk 4 instead of 5"):
        render_dataset(small, dataclasses.replace(SMALL, junk=5), progress=False)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        render_dataset(tmp_path, SMALL, progress=False)
    with pytest.raises(UserError, match="is a file"):
        render_dataset(tmp_path / "mine.txt", SMALL, progress=False)
    with pytest.raises(UserError, match="cannot be made"):
        render_dataset(tmp_path / "mine.txt" / "below", SMALL, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"options": 3, "renderer": 1}'])
def test_a_broken_manifest_is_refused(tmp_path, text):
    (tmp_path / "synthetic.json").write_text(text)
    with pytest.raises(UserError, match="synthetic.json is broken"):
        render_dataset(tmp_path, SMALL, progress=False)


def test_images_of_another_renderer_or_dataset_are_refused(tmp_path, monkeypatch):
    tiny = SyntheticOptions(1, 1, 2, 2, 2, 0, 0)
    render_dataset(tmp_path / "tiny", tiny, progress=False)
    stray = tmp_path / "tiny/query/0009_c1s1_000001_00.jpg"
    stray.write_bytes(b"")
    with pytest.raises(UserError, match=stray.name):
        render_dataset(tmp_path / "tiny", tiny, progress=False)
    stray.unlink()
    monkeypatch.setattr(dataset, "_RENDERER", dataset._RENDERER + 1)
    with pytest.raises(UserError, match="renderer version"):
        render_dataset(tmp_path / "tiny", tiny, progress=False)


@pytest.mark.parametrize("change", [
    {"train_identities": 0}, {"test_identities": 0}, {"cameras": 1}, {"cameras": 10},
    {"images_per_camera": 1}, {"cameras_per_identity": 1}, {"cameras_per_identity": 4},
    {"distractors": -1}, {"junk": -1}, {"seed": -1}, {"seed": 2**32}, {"seed": 1.5},
    {"junk": True}, {"workers": 0},
])
def test_options_out_of_range_are_refused(tmp_path, change):
    workers = change.get("workers", 1)
    options = dataclasses.replace(
        SMALL, **{name: value for name, value in change.items() if name != "workers"})
    with pytest.raises(UserError, match=next(iter(change))):
        render_dataset(tmp_path / "new", options, workers=workers, progress=False)
    assert not (tmp_path / "new").exists()


def test_file_names_of_a_large_dataset_never_collide():
    options = SyntheticOptions(train_identities=12_000, images_per_camera=3, cameras=9,
                               distractors=3000, junk=3000)
    jobs = list(dataset._jobs(options))
    names = {(job.folder, dataset._file_name(0, job)) for job in jobs}
    assert len(names) == len(jobs)
    assert all(NAME.fullmatch(name) for _, name in names)


@pytest.mark.parametrize("grid", [(1, 1), (4, 8)])
def test_nearest_colours_hardly_find_a_person_in_another_camera(grid):
    people, cameras = np.repeat(np.arange(1, 13), 4), np.tile(np.arange(1, 5), 12)
    query, gallery = (np.array([cv2.resize(render_crop(0, int(person), int(camera), index), grid,
                                           interpolation=cv2.INTER_AREA).astype(float).ravel()
                                for person, camera in zip(people, cameras)]) for index in (0, 1))
    distances = ((query[:, None] - gallery[None]) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)  # the same person in the same camera
    rank_1 = np.mean(people[distances.argmin(1)] == people)
    assert rank_1 < 0.15
