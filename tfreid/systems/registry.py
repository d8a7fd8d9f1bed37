"""The systems that can be trained, by their name in `system`."""

from __future__ import annotations

from tfreid.systems.csn.system import CsnSystem
from tfreid.systems.embedding.system import EmbeddingSystem
from tfreid.systems.siamese.system import SiameseSystem
from tfreid.systems.triplet.system import RankingSystem
from tfreid.training.interfaces import System

SYSTEMS: dict[str, System] = {
    "embedding": EmbeddingSystem(),
    "ranking": RankingSystem(),
    "csn": CsnSystem(),
    "siamese": SiameseSystem(),
}
