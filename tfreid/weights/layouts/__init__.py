"""Which layer of ours takes the weights of which PyTorch module, one file per family of backbones.

To make a backbone convertible, name its family's file in its line of `tfreid.backbones.BACKBONES`;
a new family is a file here with a `LAYOUT`.
"""

from __future__ import annotations

import importlib

from tfreid.backbones import BACKBONES
from tfreid.weights.layouts.layout import Layout

# Backbones that are not in here cannot be converted.
LAYOUTS: dict[str, Layout] = {
    name: importlib.import_module(f"{__name__}.{backbone.layout}").LAYOUT
    for name, backbone in BACKBONES.items() if backbone.layout
}
