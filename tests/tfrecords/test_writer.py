"""The writing of one shard."""

from __future__ import annotations

import contextlib
import errno

import pytest
import tensorflow as tf

from tfrecords import writer
from tfrecords.errors import UserError
from tfrecords.files import file_checksum
from tfrecords.scan import ImageEntry
from tfrecords.schema import parse_records
from tfrecords.source import FolderSource
from tfrecords.writer import ShardJob, write_shard

NAME = "train-00000-of-00001.tfrecord"


@pytest.fixture
def job(tmp_path, write_images):
    """Three images, of which the middle one is a PNG."""
    paths = ["in/1.jpg", "in/2.png", "in/3.jpg"]
    write_images(tmp_path, paths)
    images = [ImageEntry(path, 10 + index, index, 5) for index, path in enumerate(paths)]
    return ShardJob(NAME, "train", FolderSource(str(tmp_path)), images, [2, 0, 1], "f")


@pytest.fixture
def output(tmp_path):
    """An empty folder for the shard."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def _names(output):
    return sorted(path.name for path in output.iterdir())


def test_an_image_that_a_tag_turns_is_stored_upright(job, output, tmp_path, tag_orientation):
    path = tmp_path / job.images[0].path
    path.write_bytes(tag_orientation(path.read_bytes(), 6))
    write_shard(job, output, False, lambda step: None)
    records = list(tf.data.TFRecordDataset(str(output / NAME)).as_numpy_iterator())
    parsed = {name: tensor.numpy().tolist() for name, tensor in parse_records(records).items()}
    assert parsed["image/format"] == [b"png", b"png", b"jpeg"]
    assert (parsed["image/height"][0], parsed["image/width"][0]) == (12, 24)
    assert tf.io.decode_png(parsed["image/encoded"][0]).shape == (12, 24, 3)


def test_the_records_hold_the_original_bytes(job, output, tmp_path):
    steps = []
    result = write_shard(job, output, False, steps.append)
    records = list(tf.data.TFRecordDataset(str(output / NAME)).as_numpy_iterator())
    parsed = {name: tensor.numpy().tolist() for name, tensor in parse_records(records).items()}
    assert parsed["image/encoded"] == [
        (tmp_path / entry.path).read_bytes() for entry in job.images]
    assert parsed["image/format"] == [b"jpeg", b"png", b"jpeg"]
    assert parsed["image/height"] == [24, 25, 26]
    assert parsed["image/width"] == [12, 12, 12]
    assert parsed["image/path"] == [b"in/1.jpg", b"in/2.png", b"in/3.jpg"]
    assert parsed["person/id"] == [10, 11, 12]
    assert parsed["person/label"] == [2, 0, 1]
    assert parsed["camera/id"] == [0, 1, 2]
    assert parsed["tracklet/id"] == [5, 5, 5]
    assert (result.shard.images, result.corrupt, steps) == (3, [], [1, 1, 1])
    assert result.shard.bytes == (output / NAME).stat().st_size
    assert result.shard.checksum == file_checksum(output / NAME)
    assert _names(output) == [NAME]


def test_all_corrupt_images_are_reported_and_nothing_is_left(job, output, tmp_path):
    (tmp_path / "in/1.jpg").write_bytes(b"")
    (tmp_path / "in/3.jpg").unlink()
    result = write_shard(job, output, False, lambda images: None)
    assert result.shard is None
    assert result.corrupt == [("in/1.jpg", "empty file"),
                              ("in/3.jpg", "No such file or directory")]
    assert _names(output) == []


def test_corrupt_images_can_be_left_out(job, output, tmp_path):
    (tmp_path / "in/2.png").write_bytes(b"no image")
    result = write_shard(job, output, True, lambda images: None)
    assert result.shard.images == 2
    assert result.corrupt == [("in/2.png", "neither JPEG, PNG, BMP nor WebP")]
    records = list(tf.data.TFRecordDataset(str(output / NAME)).as_numpy_iterator())
    assert parse_records(records)["person/label"].numpy().tolist() == [2, 1]


def test_a_full_disk_leaves_no_temporary_file(job, output, monkeypatch):
    @contextlib.contextmanager
    def full(path):
        path.write_bytes(b"half a shard")

        def write(record):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        yield write

    monkeypatch.setattr(writer, "open_records", full)
    with pytest.raises(OSError) as caught:
        write_shard(job, output, False, lambda images: None)
    assert caught.value.errno == errno.ENOSPC
    assert _names(output) == []


def test_a_shard_that_came_out_short_is_a_full_disk(job, output, monkeypatch):
    @contextlib.contextmanager
    def silent(path):
        path.write_bytes(b"short")
        yield lambda record: None

    monkeypatch.setattr(writer, "open_records", silent)
    with pytest.raises(OSError) as caught:
        write_shard(job, output, False, lambda images: None)
    assert caught.value.errno == errno.ENOSPC
    assert _names(output) == []


def test_tensorflow_errors_are_translated(tmp_path):
    full = tf.errors.ResourceExhaustedError(None, None, "x; No space left on device")
    with pytest.raises(OSError) as caught, writer.open_records(tmp_path / "x"):
        raise full
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(UserError, match="cannot be written .*No such file"), \
            writer.open_records(tmp_path / "none" / "x") as write:
        write(b"record")


def test_an_interrupt_leaves_no_temporary_file(job, output):
    def interrupt(images):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(job, output, False, interrupt)
    assert _names(output) == []
