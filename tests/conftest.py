"""What tests of several rooms share: tiny rendered records, a tiny backbone, two devices."""

from __future__ import annotations

import gc
import runpy
import struct
from pathlib import Path

import pytest

RENDERED = {
    "train_identities": 8,
    "test_identities": 4,
    "cameras": 3,
    "cameras_per_identity": 3,
    "images_per_camera": 2,
    "distractors": 3,
    "junk": 2,
}


def pytest_configure(config):
    """Makes two logical CPUs, to test training on several replicas.

    TensorFlow takes them only before it starts, and some test modules start it when they are
    collected. The process that only hands the tests to others does not need TensorFlow.
    """
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def pytest_collection_finish():
    """Keeps the garbage collector from walking TensorFlow's modules again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 10)


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Path:
    """Records of 8 training and 4 test identities, each twice in each of 3 cameras; read only."""
    from tfrecords.records import build_records
    from tfrecords.rendered import scan_synthetic

    root = tmp_path_factory.mktemp("rendered")
    scan = scan_synthetic(root / "images", **RENDERED)
    build_records(scan, "synthetic", root / "records", shards=2)
    return root / "records"


@pytest.fixture(scope="session")
def other_records(tmp_path_factory) -> Path:
    """Records of 5 training and 3 test identities, each twice in each of 2 cameras; read only."""
    from tfrecords.records import build_records
    from tfrecords.rendered import scan_synthetic

    root = tmp_path_factory.mktemp("others")
    scan = scan_synthetic(root / "images", train_identities=5, test_identities=3, cameras=2,
                          cameras_per_identity=2, images_per_camera=2, distractors=1, junk=0,
                          seed=7)
    build_records(scan, "others", root / "others", shards=1)
    return root / "others"


@pytest.fixture(scope="session")
def tag_orientation():
    """Returns a function that puts an EXIF orientation into a JPEG, as a camera does."""

    def tag(jpeg: bytes, orientation: int, order: str = ">", entries_before: int = 0,
            kind: int = 3, tag: int = 0x0112) -> bytes:
        entries = [(0x0100, 3, 1, 9)] * entries_before + [(tag, kind, 1, orientation)]
        tiff = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
        tiff += b"".join(struct.pack(f"{order}HHIHH", *entry, 0) for entry in entries) + bytes(4)
        segment = b"Exif\0\0" + tiff
        return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]

    return tag


@pytest.fixture(scope="module")
def tiny_backbone():
    """Name of a backbone of one convolution, for tests that need a model but no deep one."""
    from tfreid.backbones import BACKBONES

    backbone = runpy.run_path(str(Path(__file__).with_name("tiny_backbone.py")))["TINY"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", backbone)
        yield "tiny"


class _Reads:
    """The number of manifests read, and the name of every shard that was scanned."""

    def __init__(self):
        self.manifests, self.shards = 0, []


@pytest.fixture
def count_reads(monkeypatch):
    """Counts how often manifests and shards of records are read through."""
    from tfrecords import manifest
    from tfreid.records import shards

    reads, read_json, read_shard = _Reads(), manifest.read_json, shards._read_records

    def count_manifest(path, fix):
        reads.manifests += path.name == manifest.MANIFEST_NAME
        return read_json(path, fix)

    def count_shard(path, *arguments):
        reads.shards.append(path.name)
        return read_shard(path, *arguments)

    monkeypatch.setattr(manifest, "read_json", count_manifest)
    monkeypatch.setattr(shards, "_read_records", count_shard)
    return reads
