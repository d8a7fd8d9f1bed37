"""Tables of images in memory and on disk are the same; limits decide which."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfrecords.errors import UserError
from tfrecords.manifest import read_manifest
from tfreid.config import DataConfig
from tfreid.data.batches import IdentityBatches
from tfreid.layers.preprocessing import InputSize
from tfreid.records import Records, images
from tfreid.records import records as records_room
from tfreid.records.images import decode_batches, free_megabytes


def load_table(directory, **arguments):
    return Records(directory)["train"].load(**arguments)


@pytest.fixture(scope="module")
def loaded(records):
    return load_table(records)


@pytest.fixture(scope="module")
def stored(records):
    return load_table(records, memory_limit=0)


def test_images_on_disk_are_those_in_memory(records, loaded, stored):
    assert len(read_manifest(records).splits["train"].shards) == 2
    assert len(stored.encoded) == len(loaded.encoded)
    # Backwards, so that no reading order helps.
    for row in reversed(range(len(loaded.encoded))):
        assert stored.encoded[row] == loaded.encoded[row]
    assert stored.megabytes == loaded.megabytes
    assert stored.limit == 0 and loaded.limit is None


def test_the_table_says_where_its_images_are(records, loaded, stored):
    assert loaded.place == f"in memory ({loaded.megabytes:.0f} MB)"
    assert "streamed from disk" in stored.place and "limit of 0 MB" in stored.place
    assert load_table(records, memory_limit=loaded.megabytes).limit is None
    assert load_table(records, memory_limit=0.99 * loaded.megabytes).limit is not None


def test_half_of_the_free_memory_is_the_limit(records, loaded, monkeypatch):
    monkeypatch.setattr(records_room, "free_megabytes", lambda: 1.9 * loaded.megabytes)
    assert load_table(records).limit == pytest.approx(0.95 * loaded.megabytes)
    monkeypatch.setattr(records_room, "free_megabytes", lambda: float("inf"))
    assert load_table(records).limit is None


def test_free_memory_is_read_where_the_system_tells(tmp_path, monkeypatch):
    assert 100 < free_megabytes() < 1e8
    monkeypatch.setattr(images.psutil, "virtual_memory", lambda: SimpleNamespace(available=4096e6))
    for name, text in (("_LIMIT", "1500000000\n"), ("_USED", "500000000\n")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(images, name, tmp_path / name)
    assert free_megabytes() == 1000
    (tmp_path / "_LIMIT").write_text("max\n")
    assert free_megabytes() == 4096
    (tmp_path / "_LIMIT").unlink()
    assert free_megabytes() == 4096


@pytest.mark.parametrize("limit", [None, 0])
def test_chosen_images_have_labels_from_zero(records, loaded, limit):
    wanted = np.flatnonzero(np.isin(loaded.index.labels, [2, 5, 7]))
    table = load_table(records, memory_limit=limit, choose=lambda index: wanted)
    assert list(table.encoded) == [loaded.encoded[row] for row in wanted]
    np.testing.assert_array_equal(table.index.ids, loaded.index.ids[wanted])
    expected = np.searchsorted([2, 5, 7], loaded.index.labels[wanted])
    np.testing.assert_array_equal(table.index.labels, expected)
    some = table.take(np.array([4, 1]))
    assert list(some.encoded) == [table.encoded[4], table.encoded[1]]
    assert some.megabytes == pytest.approx(sum(map(len, some.encoded)) / 1e6)
    assert some.limit == table.limit


def test_batches_do_not_hang_on_where_the_images_are(loaded, stored):
    settings = DataConfig(identities_per_batch=4, images_per_identity=2)
    batches = [list(IdentityBatches(table, settings, 32, 16, 0).epoch(0, 5))
               for table in (loaded, stored)]
    for mine, expected in zip(*batches):
        for found, wanted in zip(mine, expected):
            np.testing.assert_array_equal(found, wanted)


def test_several_threads_read_at_once(loaded, stored):
    wrong = []

    def read(seed):
        for row in np.random.default_rng(seed).integers(len(loaded.encoded), size=300):
            if stored.encoded[row] != loaded.encoded[row]:
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_parts_of_a_table_share_its_open_files(records):
    def opened():
        return sum("tfrecord" in os.readlink(link) for link in Path("/proc/self/fd").iterdir()
                   if link.is_symlink())

    before = opened()
    table = load_table(records, memory_limit=0)
    parts = [table.take(np.arange(number)) for number in range(1, 9)]
    assert opened() == before + 2
    first = table.encoded[0]
    del table
    assert parts[0].encoded[0] == first
    del parts
    assert opened() == before


def test_a_shard_that_shrinks_is_named(records, tmp_path):
    copied = shutil.copytree(records, tmp_path / "copied")
    table = load_table(copied, memory_limit=0)
    shard = sorted(copied.glob("train-*.tfrecord"))[1]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{shard.name} has become shorter"):
        table.encoded[len(table.encoded) - 1]


def test_a_shard_that_shrinks_is_named_by_batches(records, tmp_path):
    copied = shutil.copytree(records, tmp_path / "copied")
    split = Records(copied)["train"]
    assert len(split)
    shard = sorted(copied.glob("train-*.tfrecord"))[1]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{shard.name} has become shorter"):
        list(split.batches(InputSize(32, 16), 4))


def test_images_kept_in_memory_serve_every_reader(records):
    split = Records(records)["train"]
    table = split.load()
    assert all(found is kept for found, kept in zip(split.encoded, table.encoded))
    assert split.load(memory_limit=0).limit == 0


def test_files_are_decoded_in_order_and_the_broken_one_is_named(loaded):
    files = [loaded.encoded[0], loaded.encoded[1], loaded.encoded[0]]
    size = InputSize(32, 16)
    blocks = [block for _, block in decode_batches(files, ["a", "b", "c"], size, 2)]
    assert [block.shape for block in blocks] == [(2, 32, 16, 3), (1, 32, 16, 3)]
    np.testing.assert_array_equal(blocks[0][0], blocks[1][0])
    with pytest.raises(UserError, match="^b: the image cannot be decoded"):
        list(decode_batches([files[0], b"nothing"], ["a", "b"], size, 2))
