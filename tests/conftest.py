"""What tests of several rooms share: tiny rendered records, a tiny backbone, two devices."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

# Two logical CPUs, to test training on several replicas; TensorFlow takes them only before it
# starts, and some test modules start it when they are collected.
_CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(_CPU, [tf.config.LogicalDeviceConfiguration()] * 2)

RENDERED = {
    "train_identities": 8,
    "test_identities": 4,
    "cameras": 3,
    "cameras_per_identity": 3,
    "images_per_camera": 2,
    "distractors": 3,
    "junk": 2,
}


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> Path:
    """Records of 8 training and 4 test identities, each twice in each of 3 cameras; read only."""
    from tfrecords.records import build_records
    from tfrecords.rendered import scan_synthetic

    root = tmp_path_factory.mktemp("rendered")
    scan = scan_synthetic(root / "images", **RENDERED)
    build_records(scan, "synthetic", root / "records", shards=2)
    return root / "records"


@pytest.fixture(scope="module")
def tiny_backbone():
    """Name of a backbone of one convolution, for tests that need a model but no deep one."""
    from tfreid.backbones import BACKBONES, Backbone
    from tfreid.layers.convolution import conv_bn

    def apply(x, last_stride=None):
        return conv_bn(x, 8, 3, "stem_conv", strides=last_stride or 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "tiny", Backbone(apply, 8))
        yield "tiny"
