"""The systems that can be trained, by their name in `system`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfreid.training.interfaces import System

# name in `system`, also of the folder -> class in the folder's `system.py`
SYSTEMS = {
    "embedding": "EmbeddingSystem",
    "triplet": "TripletSystem",
    "csn": "CsnSystem",
    "siamese": "SiameseSystem",
}


def find_system(name: str) -> System:
    """Returns a system by its name; its code is imported only now."""
    module = importlib.import_module(f"tfreid.systems.{name}.system")
    return getattr(module, SYSTEMS[name])()
