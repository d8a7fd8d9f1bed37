"""The whole build: counts, resuming, refusals, corrupt images and full disks."""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfrecords import pool, records, writer, writing
from tfrecords.build import main
from tfrecords.datasets import DATASETS
from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest, shard_paths
from tfrecords.market1501 import scan_market1501
from tfrecords.records import build_records
from tfrecords.schema import parse_records

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def output(tmp_path):
    """A folder that does not exist yet."""
    return tmp_path / "deep" / "records"


def _build(root, output, *flags) -> int:
    return main(["market1501", "--root", str(root), "--output", str(output), "--shards", "2",
                 "--workers", "1", *flags])


def _read(output, split) -> dict:
    paths = shard_paths(output, read_manifest(output), split, verify="checksum")
    found = list(tf.data.TFRecordDataset([str(path) for path in paths]).as_numpy_iterator())
    return {name: tensor.numpy().tolist() for name, tensor in parse_records(found).items()}


def _times(output) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in output.glob("*.tfrecord")}


def _truncate(path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@contextlib.contextmanager
def _full_disk_after(monkeypatch, count):
    """Lets `count` records be written, then behaves like a full disk."""
    written = []
    original = writer.open_records

    @contextlib.contextmanager
    def limited(path):
        with original(path) as write:
            def write_or_fail(record):
                if len(written) == count:
                    raise OSError(errno.ENOSPC, "No space left on device", str(path))
                written.append(record)
                write(record)

            yield write_or_fail

    with monkeypatch.context() as patch:
        patch.setattr(writer, "open_records", limited)
        yield


def test_the_manifest_counts_what_the_records_hold(market_root, output, capsys):
    assert _build(market_root, output) == 0
    manifest = read_manifest(output)
    counts = {name: (split.images, split.identities, split.cameras, split.distractors)
              for name, split in manifest.splits.items()}
    assert counts == {"train": (6, 3, 4, 0), "query": (3, 2, 3, 0), "gallery": (7, 2, 6, 3)}
    assert manifest.dataset == "market1501"
    assert manifest.options == {"multi_query": False, "shards": 2}
    assert manifest.dropped == {"junk": 2, "not_an_image": 3}
    assert [shard.file for shard in manifest.splits["gallery"].shards] == [
        "gallery-00000-of-00002.tfrecord", "gallery-00001-of-00002.tfrecord"]
    table = capsys.readouterr().out.splitlines()
    assert table[-2].split()[:6] == ["gallery", "7", "2", "6", "3", "2"]
    assert table[-1] == "dropped: 3 not_an_image, 2 junk"


def test_labels_count_the_sorted_training_identities(market_root, output):
    _build(market_root, output)
    train, query = _read(output, "train"), _read(output, "query")
    assert train["person/id"] == [2, 2, 7, 7, 10, 10]
    assert train["person/label"] == [0, 0, 1, 1, 2, 2]
    assert query["person/label"] == [-1, -1, -1]
    assert query["image/path"][1] == b"query/0001_c2s1_000301_00.jpg.jpg"
    assert query["image/encoded"][1] == (
        market_root / "query/0001_c2s1_000301_00.jpg.jpg").read_bytes()


@pytest.mark.parametrize("name", [f"{2**63}_c1s1_000451_03.jpg", f"0002_c{2**63}s1_000451_03.jpg"])
def test_numbers_beyond_64_bits_are_named(market_root, output, capsys, name):
    file = market_root / "bounding_box_train" / name
    file.write_bytes((file.parent / "0002_c1s1_000451_03.jpg").read_bytes())
    assert _build(market_root, output) == 2
    message = capsys.readouterr().err
    assert f"{name}: the number {2**63} of its person, camera or tracklet is beyond 64" in message


def test_more_shards_than_images_make_one_each(market_root, output):
    build_records(scan_market1501(market_root), "market1501", output, shards=5)
    assert len(read_manifest(output).splits["query"].shards) == 3
    assert len(read_manifest(output).splits["train"].shards) == 5


def test_a_finished_build_is_left_alone(market_root, output, capsys):
    _build(market_root, output)
    before = _times(output)
    assert _build(market_root, output) == 0
    assert "already holds this build; nothing to do" in capsys.readouterr().out
    assert _times(output) == before


def test_an_interrupted_build_makes_the_missing_shards_only(market_root, output, monkeypatch):
    with _full_disk_after(monkeypatch, 7):
        assert _build(market_root, output) == 2
    before = _times(output)
    assert sorted(before) == ["query-00000-of-00002.tfrecord", "train-00000-of-00002.tfrecord",
                              "train-00001-of-00002.tfrecord"]
    assert not (output / "manifest.json").exists()
    assert _build(market_root, output) == 0
    after = _times(output)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before


def test_a_full_disk_is_one_sentence(market_root, output, monkeypatch, capsys):
    with _full_disk_after(monkeypatch, 4):
        assert _build(market_root, output) == 2
    assert "error: the disk is full" in capsys.readouterr().err
    assert sorted(path.name for path in output.iterdir()) == [
        "build-state.json", "train-00000-of-00002.tfrecord"]


def test_a_resumed_build_equals_an_uninterrupted_one(market_root, output, tmp_path, monkeypatch):
    with _full_disk_after(monkeypatch, 4):
        _build(market_root, output)
    _build(market_root, output)
    _build(market_root, tmp_path / "other")
    assert read_manifest(output) == read_manifest(tmp_path / "other")


@pytest.mark.parametrize("damage", [
    lambda path: path.unlink(),
    _truncate,
    lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x00"),
])
def test_a_damaged_shard_is_made_again(market_root, output, damage):
    _build(market_root, output)
    expected = read_manifest(output)
    damage(output / "gallery-00001-of-00002.tfrecord")
    result = build_records(scan_market1501(market_root), "market1501", output, shards=2)
    assert result.shards_made == 1
    assert result.manifest == expected
    shard_paths(output, expected, "gallery", verify="checksum")


def test_the_folder_of_another_build_is_refused(market_root, output, tmp_path, capsys):
    _build(market_root, output)
    before = _times(output)
    assert _build(market_root, output, "--multi-query") == 2
    assert "with another multi_query" in capsys.readouterr().err
    assert _build(market_root, output, "--shards", "3") == 2
    assert "with another shards" in capsys.readouterr().err
    scan = scan_market1501(market_root)
    with pytest.raises(UserError, match="a build of market1501, not of synthetic"):
        build_records(scan, "synthetic", output, shards=2)
    scan.splits["query"].pop()
    with pytest.raises(UserError, match="finished build of market1501 from other images"):
        build_records(scan, "market1501", output, shards=2)
    (output / "build-state.json").unlink()
    assert _build(market_root, output) == 2
    assert "holds records but no build-state.json" in capsys.readouterr().err
    assert _times(output) == before


def test_a_broken_state_is_refused(market_root, output, capsys):
    _build(market_root, output)
    state = output / "build-state.json"
    content = json.loads(state.read_text())
    for broken in ("{", json.dumps({**content, "shards": {"a": {}}}),
                   json.dumps({**content, "schema_version": 0})):
        state.write_text(broken)
        assert _build(market_root, output) == 2
        assert "build-state.json" in capsys.readouterr().err


def test_corrupt_images_are_all_named(market_root, output, capsys):
    _truncate(market_root / "query/0003_c4s6_015641_00.jpg")
    (market_root / "bounding_box_test/0000_c3s1_000151_02.jpg").write_bytes(b"")
    assert _build(market_root, output) == 2
    message = capsys.readouterr().err
    assert "2 of 16 images" in message
    assert "query/0003_c4s6_015641_00.jpg (truncated)" in message
    assert "0000_c3s1_000151_02.jpg (empty file)" in message
    assert len(_times(output)) == 4
    assert not (output / "manifest.json").exists()


def test_skipped_images_are_counted_and_repaired_ones_are_read(market_root, output, capsys):
    path = market_root / "bounding_box_test/0000_c1s1_000151_01.jpg"
    whole = path.read_bytes()
    _truncate(path)
    assert _build(market_root, output) == 2
    kept = _times(output)
    assert _build(market_root, output, "--skip-corrupt") == 0
    assert {name: time for name, time in _times(output).items() if name in kept} == kept
    assert "1 corrupt images are left out: bounding_box_test/0000" in capsys.readouterr().err
    manifest = read_manifest(output)
    assert manifest.dropped["corrupt"] == 1
    assert (manifest.splits["gallery"].images, manifest.splits["gallery"].distractors) == (6, 2)
    assert len(_read(output, "gallery")["person/id"]) == 6

    (output / "manifest.json").unlink()
    path.write_bytes(whole)
    assert _build(market_root, output) == 0
    assert read_manifest(output).splits["gallery"].images == 7


def test_a_training_identity_must_keep_an_image(market_root, output, capsys):
    for path in (market_root / "bounding_box_train").glob("0007_*"):
        _truncate(path)
    assert _build(market_root, output, "--skip-corrupt") == 2
    assert "every training image of person 7" in capsys.readouterr().err
    assert not (output / "manifest.json").exists()


def test_a_split_must_keep_an_image(market_root, output, capsys):
    for path in (market_root / "query").glob("*.jpg"):
        _truncate(path)
    assert _build(market_root, output, "--skip-corrupt") == 2
    assert "every image of split query" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_counts_must_be_positive(market_root, output, capsys, number):
    with pytest.raises(SystemExit):
        _build(market_root, output, f"--workers={number}")
    assert f"must be a whole number from 1 to 1,024, not '{number}'" in capsys.readouterr().err


def test_a_second_builder_of_the_same_folder_is_refused(market_root, output, capsys):
    with writing.sole_writer(output, "building records"):
        assert _build(market_root, output) == 2
    assert f"process {os.getpid()} on" in capsys.readouterr().err
    assert _build(market_root, output) == 0
    assert not list(output.glob(".*"))


def test_an_output_that_is_a_file_is_refused(market_root, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    for name in ("file", "file/below"):
        assert _build(market_root, tmp_path / name) == 2
        assert "cannot be made" in capsys.readouterr().err


def test_an_interrupt_keeps_finished_shards(market_root, output, monkeypatch, capsys):
    written = []

    def interrupted(job, output, skip_corrupt, advance, max_pixels):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(job.file)
        return writer.write_shard(job, output, skip_corrupt, advance, max_pixels)

    monkeypatch.setattr(records, "write_shard", interrupted)
    assert _build(market_root, output) == 130
    assert "interrupted" in capsys.readouterr().err
    assert sorted(_times(output)) == sorted(written)


def test_two_processes_write_what_one_does(market_root, output, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "tfrecords.build", "market1501", "--root", str(market_root),
         "--output", str(output), "--shards", "2", "--workers", "2"],
        env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "16/16" in done.stderr
    _build(market_root, tmp_path / "alone")
    assert read_manifest(output) == read_manifest(tmp_path / "alone")


@pytest.mark.parametrize(("job", "error", "message"), [
    ("full", OSError, "No space left"), ("killed", UserError, "worker process was killed")])
def test_the_trouble_of_a_worker_reaches_the_command(tmp_path, monkeypatch, job, error, message):
    (tmp_path / "failing_jobs.py").write_text(
        "import errno, os\n"
        "def write(job, advance):\n"
        "    if job == 'full':\n"
        "        raise OSError(errno.ENOSPC, 'No space left on device', job)\n"
        "    if job == 'killed':\n"
        "        os._exit(9)\n"
        "    return job\n")
    monkeypatch.syspath_prepend(tmp_path)
    write = importlib.import_module("failing_jobs").write
    with pytest.raises(error, match=message):
        list(pool.run_jobs(write, ["a", job], 2, lambda images: None))


def test_help_needs_no_tensorflow():
    code = ("import sys; from tfrecords.build import main\n"
            "try: main(['market1501', '--help'])\n"
            "finally: assert 'tensorflow' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--multi-query" in done.stdout


def test_a_synthetic_dataset_is_rendered_and_read(tmp_path, capsys):
    arguments = ["synthetic", "--root", str(tmp_path / "made"), "--output", str(tmp_path / "out"),
                 "--train-identities", "2", "--test-identities", "2", "--cameras", "3",
                 "--cameras-per-identity", "2", "--images-per-camera", "2", "--distractors", "3",
                 "--junk", "1", "--seed", "4", "--workers", "1", "--shards", "1"]
    assert main(arguments) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.dataset == "synthetic"
    assert manifest.options == {
        "train_identities": 2, "test_identities": 2, "cameras": 3, "images_per_camera": 2,
        "cameras_per_identity": 2, "distractors": 3, "junk": 1, "seed": 4, "shards": 1}
    assert manifest.splits["train"].images == 8
    gallery = manifest.splits["gallery"]
    assert (gallery.images, gallery.identities, gallery.distractors) == (7, 2, 3)
    assert manifest.dropped == {"junk": 1}
    assert main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_every_flag_says_why_it_exists(dataset, capsys):
    with pytest.raises(SystemExit):
        main([dataset, "--help"])
    text = capsys.readouterr().out
    assert "--output" in text and "None" not in text


def test_a_folder_of_persons_is_built_with_its_flags(tmp_path, write_images):
    write_images(tmp_path / "people", [f"p{person}/{image}.png" for person in range(4)
                                       for image in range(3)])
    assert main(["folder", "--root", str(tmp_path / "people"), "--output", str(tmp_path / "out"),
                 "--workers", "1", "--shards", "1", "--seed", "9", "--test-fraction", "0.25",
                 "--query-per-identity", "2"]) == 0
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.options["seed"], manifest.options["test_fraction"]) == (9, 0.25)
    assert {name: (split.images, split.identities, split.cameras)
            for name, split in manifest.splits.items()} == {
        "train": (9, 3, 0), "query": (2, 1, 0), "gallery": (1, 1, 0)}
    assert set(_read(tmp_path / "out", "train")["camera/id"]) == {-1}


def test_a_wrong_table_stops_the_build_before_anything_is_written(tmp_path, write_images, capsys):
    write_images(tmp_path, ["1.jpg"])
    (tmp_path / "mine.csv").write_text("path,person_id,split\n1.jpg,5,train\n2.jpg,5,train\n")
    arguments = ["csv", "--root", str(tmp_path), "--output", str(tmp_path / "out"),
                 "--csv", str(tmp_path / "mine.csv"), "--workers", "1", "--allow-single"]
    assert main(arguments) == 2
    assert "mine.csv: 1 problem: line 3: 2.jpg is not a file in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.csv").write_text("path,person_id,split\n1.jpg,5,train\n")
    assert main(arguments) == 0
    assert read_manifest(tmp_path / "out").splits["train"].images == 1


def test_a_dataset_is_one_file_and_one_line(tmp_path, write_images, monkeypatch, capsys):
    (tmp_path / "tiny.py").write_text(
        "from tfrecords.datasets import Dataset\n"
        "from tfrecords.scan import ImageEntry, Scan, existing_root, list_images\n"
        "def add_options(parser):\n"
        "    parser.add_argument('--first', type=int, help='first id (default: %(default)s)')\n"
        "def scan_tiny(root, *, first=3):\n"
        "    names, _ = list_images(existing_root(root))\n"
        "    train = [ImageEntry(name, id) for id, name in enumerate(names, first)]\n"
        "    return Scan(root, {'train': train}, options={'first': first})\n"
        "DATASET = Dataset(scan_tiny, 'a tiny dataset', 'ROOT/*.png', add_options)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(DATASETS, "tiny", "tiny")
    write_images(tmp_path / "images", ["a.png", "b.png"])
    with pytest.raises(SystemExit):
        main(["tiny", "--help"])
    shown = capsys.readouterr().out
    assert "a tiny dataset" in shown and "ROOT/*.png" in shown and "first id (default: 3)" in shown
    arguments = ["tiny", "--root", str(tmp_path / "images"), "--workers", "1", "--shards", "1"]
    for output, flags, people in (("one", [], [3, 4]), ("two", ["--first", "8"], [8, 9])):
        assert main([*arguments, "--output", str(tmp_path / output), *flags]) == 0
        manifest = read_manifest(tmp_path / output)
        assert (manifest.dataset, manifest.options["first"]) == ("tiny", people[0])
        assert _read(tmp_path / output, "train")["person/id"] == people
