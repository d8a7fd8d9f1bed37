"""A backbone of one convolution, for tests that need a model but no deep one.

As a script it runs another script that knows the backbone by the name of tiny:
`python tests/tiny_backbone.py train_net.py --output RUN model.backbone=tiny`.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tfreid.backbones import BACKBONES, Backbone  # noqa: E402
from tfreid.layers.convolution import conv_bn  # noqa: E402


def _one_convolution(x, last_stride=None):
    return conv_bn(x, 8, 3, "stem_conv", strides=last_stride or 2)


TINY = Backbone(_one_convolution, 8)

if __name__ == "__main__":
    BACKBONES["tiny"] = TINY
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
