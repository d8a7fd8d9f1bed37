"""The systems, by their name in `system`. Adding one is its folder and a line here."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from tfrecords.errors import UserError, nearest

if TYPE_CHECKING:
    from tfreid.config import Config
    from tfreid.systems.base import System
    from tfreid.workers import Workers

# Name, also of the section of its own settings -> module and class, imported on demand. Beside that
# module, `settings.py`, if there is one, has the section's dataclass `Settings`.
SYSTEMS = {
    "embedding": "tfreid.systems.embedding.system:EmbeddingSystem",
    "triplet": "tfreid.systems.triplet.system:TripletSystem",
    "csn": "tfreid.systems.csn.system:CsnSystem",
    "siamese": "tfreid.systems.siamese.system:SiameseSystem",
}


def find_system(name: str) -> type[System]:
    """Returns the class of a system.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in SYSTEMS:
        raise UserError(f"system is {name}, which does not exist; the nearest is "
                        f"{nearest(name, SYSTEMS)}.")
    module, _, kind = SYSTEMS[name].partition(":")
    return getattr(importlib.import_module(module), kind)


def find_settings(name: str) -> type | None:
    """Returns the dataclass of a system's own settings, or None if it has none."""
    module = SYSTEMS[name].partition(":")[0].rpartition(".")[0] + ".settings"
    if importlib.util.find_spec(module) is None:
        return None
    return importlib.import_module(module).Settings


def make_system(config: Config, workers: Workers | None = None) -> System:
    """Returns the system of a recipe, for processes that train it together."""
    return find_system(config.system)(config, workers)
