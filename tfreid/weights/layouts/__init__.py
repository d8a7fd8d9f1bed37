"""Which layer of ours takes the weights of which PyTorch module, one file per family of backbones.

To make a backbone convertible, write its family's file with a `LAYOUT` and name it in `_FAMILIES`.
"""

from __future__ import annotations

import importlib

from tfreid.weights.layouts.layout import Layout

_FAMILIES = ("resnet", "osnet", "mobilenet_v3", "vgg")


def _layouts() -> dict[str, Layout]:
    layouts = [importlib.import_module(f"{__name__}.{family}").LAYOUT for family in _FAMILIES]
    return {backbone: layout for layout in layouts for backbone in layout.backbones}


# Backbones that are in no layout cannot be converted.
LAYOUTS = _layouts()
