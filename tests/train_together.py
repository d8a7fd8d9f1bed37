"""Trains with a tiny backbone as one of several processes, or with several devices of one.

`python tests/train_together.py DEVICES JSON`: the arguments of train_net.py for each training.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tensorflow as tf  # noqa: E402

from tests.tiny_backbone import TINY  # noqa: E402
from tfreid.backbones import BACKBONES  # noqa: E402
from tfreid.commands.train import main  # noqa: E402

if __name__ == "__main__":
    devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], devices)
    BACKBONES["tiny"] = TINY
    for arguments in json.loads(sys.argv[2]):
        status = main(arguments)
        if status:
            sys.exit(status)
