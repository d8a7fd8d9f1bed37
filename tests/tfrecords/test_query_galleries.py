"""Galleries of single queries: written beside the records, read back, and never out of step."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.files import file_checksum
from tfrecords.manifest import read_manifest
from tfrecords.query_galleries import read_query_galleries
from tfrecords.records import build_records
from tfrecords.scan import ImageEntry, Scan

GALLERIES = [[0, 2, 3], [3], [0, 1, 2, 3, 4]]


@pytest.fixture
def scan(tmp_path, write_images):
    """Three queries, of which two share gallery images, and a gallery of five."""
    splits = {name: [ImageEntry(f"{name}/{number}.jpg", number % 3) for number in range(count)]
              for name, count in (("train", 2), ("query", 3), ("gallery", 5))}
    write_images(tmp_path / "data", [entry.path for entries in splits.values()
                                     for entry in entries])
    return Scan(tmp_path / "data", splits, query_galleries=[np.array(found)
                                                            for found in GALLERIES])


@pytest.fixture
def build(scan, tmp_path):
    """Returns a function that builds the scan's records and gives their folder."""

    def build(name="out", **settings):
        build_records(scan, "test", tmp_path / name, shards=2, **settings)
        return tmp_path / name

    return build


def _read(directory) -> list[list[int]]:
    return [found.tolist() for found in read_query_galleries(directory, read_manifest(directory))]


def _write_array(file, array) -> None:
    with open(file, "wb") as stream:
        np.save(stream, array)


def _edit_manifest(directory, change) -> None:
    content = json.loads((directory / "manifest.json").read_text())
    change(content)
    (directory / "manifest.json").write_text(json.dumps(content))


def test_the_galleries_come_back(build):
    output = build()
    assert _read(output) == GALLERIES
    entry = read_manifest(output).query_galleries
    assert entry.checksum == file_checksum(output / entry.file)
    assert {found.dtype for found in read_query_galleries(output, read_manifest(output))} == {
        np.dtype(np.int64)}


def test_records_without_them_say_nothing_of_them(scan, build):
    scan.query_galleries = None
    output = build()
    assert "query_galleries" not in json.loads((output / "manifest.json").read_text())
    assert read_query_galleries(output, read_manifest(output)) is None
    assert not (output / "query_galleries.npz").exists()


def test_equal_builds_are_equal_and_a_finished_one_is_left_alone(build):
    first, second = build(), build("other")
    assert read_manifest(first) == read_manifest(second)
    file = first / "query_galleries.npz"
    before = file.stat().st_mtime_ns
    assert build() == first and file.stat().st_mtime_ns == before
    for damage in (file.unlink, lambda: file.write_bytes(b"no archive")):
        damage()
        build()
        assert _read(first) == GALLERIES


@pytest.mark.parametrize(("corrupt", "left"), [
    (["gallery/2.jpg"], [[0, 2], [2], [0, 1, 2, 3]]),
    (["gallery/0.jpg", "gallery/4.jpg"], [[1, 2], [2], [0, 1, 2]]),
    (["query/1.jpg", "gallery/3.jpg"], [[0, 2], [0, 1, 2, 3]]),
])
def test_skipped_images_move_the_positions(scan, build, corrupt, left):
    for path in corrupt:
        (scan.root / path).write_bytes(b"")
    assert _read(build(skip_corrupt=True)) == left


def test_a_query_that_loses_its_gallery_ends_the_build(scan, build):
    (scan.root / "gallery/3.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="every gallery image of query query/1.jpg in .* corrupt"):
        build(skip_corrupt=True)


@pytest.mark.parametrize(("galleries", "message"), [
    (GALLERIES[:2], "2 galleries for 3 queries"), ([[0], [1], []], "an empty gallery for query 2"),
    ([[0], [1, 5], [2]], "for query 1 that .* not among the 5 gallery images"),
    ([[-1, 2], [1], [2]], "for query 0 that"), ([[2, 1], [1], [2]], "for query 0 that do not incr"),
    ([[1, 1], [1], [2]], "for query 0 that do not increase")])
def test_galleries_that_do_not_fit_are_a_mistake_of_the_builder(scan, build, galleries, message):
    scan.query_galleries = [np.array(found, int) for found in galleries]
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("damage", "message"), [
    (lambda file: file.unlink(), "query_galleries.npz is missing: run the same"),
    (lambda file: file.write_bytes(file.read_bytes()[:-1]), "has another checksum than expected"),
])
def test_a_damaged_file_is_named(build, damage, message):
    output = build()
    damage(output / "query_galleries.npz")
    with pytest.raises(UserError, match=message):
        _read(output)


@pytest.mark.parametrize(("write", "message"), [
    (lambda file: file.write_bytes(b"no archive"), "query_galleries.npz is broken .ValueError"),
    (lambda file: file.write_bytes(b""), "query_galleries.npz is broken .EOFError"),
    (lambda file: _write_array(file, np.arange(3)), "query_galleries.npz is broken ."),
    (lambda file: np.savez(file, positions=np.arange(3)), "broken .KeyError"),
    (lambda file: np.savez(file, positions=np.arange(3), offsets=np.array([0, 3])),
     "has 1 galleries for 3 queries"),
    (lambda file: np.savez(file, positions=np.array([0, 9, 1]), offsets=np.arange(4)),
     "has positions for query 1 that"),
])
def test_a_file_of_other_content_is_refused(build, write, message):
    output = build()
    write(output / "query_galleries.npz")
    _edit_manifest(output, lambda content: content["query_galleries"].update(
        checksum=file_checksum(output / "query_galleries.npz")))
    with pytest.raises(UserError, match=message):
        _read(output)


@pytest.mark.parametrize(("change", "message"), [
    (lambda content: content["query_galleries"].pop("file"), "broken .KeyError"),
    (lambda content: content["query_galleries"].update(checksum=5), "must be strings"),
    (lambda content: content["query_galleries"].update(file="../x"), "outside the folder"),
    (lambda content: content.update(query_galleries="x"), "broken .TypeError"),
    (lambda content: content["splits"].pop("query"), "need the splits query and gallery"),
])
def test_a_wrong_entry_of_the_manifest_is_refused(build, change, message):
    output = build()
    _edit_manifest(output, change)
    with pytest.raises(UserError, match=message):
        read_manifest(output)
