"""The manifest and the checks made with it."""

from __future__ import annotations

import json

import pytest

from tfrecords.errors import UserError
from tfrecords.manifest import (
    Manifest,
    Shard,
    SplitEntry,
    file_checksum,
    read_manifest,
    shard_paths,
    write_manifest,
)


@pytest.fixture
def records(tmp_path):
    """A folder whose two shards are the check string of CRC-32 and an empty file."""
    (tmp_path / "query-0").write_bytes(b"123456789")
    (tmp_path / "query-1").write_bytes(b"")
    shards = (Shard("query-0", 2, 9, "cbf43926"), Shard("query-1", 0, 0, "00000000"))
    manifest = Manifest(1, "csv", {"seed": 3}, {"query": SplitEntry(2, 1, 2, 0, shards)},
                        {"junk": 4})
    write_manifest(tmp_path, manifest)
    return tmp_path, manifest


def _edit(directory, change):
    path = directory / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_reads_what_was_written(records):
    directory, manifest = records
    assert read_manifest(directory) == manifest
    assert sorted(path.name for path in directory.iterdir()) == [
        "manifest.json", "query-0", "query-1"]


def test_the_checksum_is_crc32(records):
    assert file_checksum(records[0] / "query-0") == "cbf43926"


@pytest.mark.parametrize("verify", ["size", "checksum"])
def test_lists_whole_shards_in_order(records, verify):
    directory, manifest = records
    assert shard_paths(directory, manifest, "query", verify) == [
        directory / "query-0", directory / "query-1"]


def test_names_a_missing_shard(records):
    directory, manifest = records
    (directory / "query-1").unlink()
    with pytest.raises(UserError, match="query-1 is missing"):
        shard_paths(directory, manifest, "query")


def test_names_a_shard_of_another_size(records):
    directory, manifest = records
    (directory / "query-0").write_bytes(b"12345678")
    with pytest.raises(UserError, match="query-0 has 8 bytes where 9 are expected"):
        shard_paths(directory, manifest, "query")


def test_a_changed_byte_shows_in_the_checksum_only(records):
    directory, manifest = records
    (directory / "query-0").write_bytes(b"123456780")
    shard_paths(directory, manifest, "query", verify="size")
    with pytest.raises(UserError, match="query-0 has another checksum"):
        shard_paths(directory, manifest, "query", verify="checksum")


def test_an_unknown_split_lists_those_there_are(records):
    directory, manifest = records
    with pytest.raises(UserError, match="no split 'train'; it has query"):
        shard_paths(directory, manifest, "train")


def test_an_unknown_verification_is_a_value_error(records):
    with pytest.raises(ValueError, match="'sha'"):
        shard_paths(*records, "query", "sha")


def test_a_folder_without_manifest_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no manifest.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("change", "message"), [
    (lambda content: content.update(schema_version=2), "schema version 2 but this code reads 1"),
    (lambda content: content.pop("schema_version"), "schema version None"),
    (lambda content: content.pop("splits"), "broken .KeyError: 'splits'"),
    (lambda content: content.update(splits=[1]), "broken"),
    (lambda content: content["splits"]["query"].update(images=3), "3 images .* hold 2"),
    (lambda content: content["splits"]["query"].update(cameras=None), "broken"),
    (lambda content: content["splits"]["query"]["shards"][0].update(file="../x"), "outside"),
    (lambda content: content["splits"]["query"]["shards"][0].update(bytes="9"), "whole number"),
    (lambda content: content["splits"]["query"]["shards"][0].update(bytes=True), "whole number"),
    (lambda content: content["splits"]["query"]["shards"][0].update(file=".."), "outside"),
    (lambda content: content["splits"]["query"]["shards"][0].update(file="a\0"), "outside"),
    (lambda content: content["splits"]["query"].update(identities=2**63), "out of range"),
    (lambda content: content.update(splits={}), "no splits"),
    (lambda content: content.update(options=[]), "options an object"),
    (lambda content: content.update(dropped=5), "broken"),
])
def test_a_wrong_manifest_is_refused(records, change, message):
    directory, _ = records
    _edit(directory, change)
    with pytest.raises(UserError, match=message):
        read_manifest(directory)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_manifest_that_is_no_object_is_refused(records, text):
    directory, _ = records
    (directory / "manifest.json").write_text(text)
    with pytest.raises(UserError, match="is broken"):
        read_manifest(directory)


def test_a_failed_write_keeps_the_old_manifest(records, monkeypatch):
    directory, manifest = records
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        write_manifest(directory, Manifest(1, "other", {}, {}, {}))
    assert read_manifest(directory) == manifest
    assert not list(directory.glob("*.tmp"))
