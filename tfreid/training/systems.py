"""The systems that can be trained, by their name in `system`."""

from __future__ import annotations

from tfreid.training.csn_system import CsnSystem
from tfreid.training.embedding_system import EmbeddingSystem
from tfreid.training.interfaces import System
from tfreid.training.ranking_system import RankingSystem
from tfreid.training.siamese_system import SiameseSystem

SYSTEMS: dict[str, System] = {
    "embedding": EmbeddingSystem(),
    "ranking": RankingSystem(),
    "csn": CsnSystem(),
    "siamese": SiameseSystem(),
}
