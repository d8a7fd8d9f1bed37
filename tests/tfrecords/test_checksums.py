"""Checksums beside files."""

from __future__ import annotations

import json
import zlib

import pytest

from tfrecords.checksums import find_changed_file, write_checksums


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / "step-3.index", tmp_path / "variables" / "step-3.data"]
    found[1].parent.mkdir()
    for file in found:
        file.write_bytes(file.name.encode() * 1000)
    write_checksums(tmp_path / "step-3.sums", found)
    return found


def test_unchanged_files(files, tmp_path):
    assert find_changed_file(tmp_path / "step-3.sums") is None
    # CRC-32 of "step-3.index" a thousand times, by zlib's definition.
    content = json.loads((tmp_path / "step-3.sums").read_text())
    assert content["step-3.index"] == f"{zlib.crc32(b'step-3.index' * 1000):08x}"


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_every_flipped_bit_is_found(place, files, tmp_path):
    content = bytearray(files[1].read_bytes())
    content[place] ^= 1
    files[1].write_bytes(content)
    assert find_changed_file(tmp_path / "step-3.sums") == files[1]


def test_cut_and_missing_files(files, tmp_path):
    files[0].write_bytes(files[0].read_bytes()[:-1])
    assert find_changed_file(tmp_path / "step-3.sums") == files[0]
    files[0].unlink()
    assert find_changed_file(tmp_path / "step-3.sums") == files[0]


def test_files_of_before_and_broken_sums(files, tmp_path):
    assert find_changed_file(tmp_path / "step-2.sums") is None
    (tmp_path / "step-3.sums").write_text("{")
    assert find_changed_file(tmp_path / "step-3.sums") == tmp_path / "step-3.sums"
