"""The system that compares two images at several levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.data.batches import PairBatches
from tfreid.evaluation.evaluator import Evaluator
from tfreid.records import ImageTable, Records
from tfreid.serving.saved_model import ServedModel
from tfreid.systems.base import MARKET_IDENTITIES, System, refuse_unread
from tfreid.systems.csn.cost import describe_csn, measure_gallery
from tfreid.systems.csn.export import ServedCsn, export_csn
from tfreid.systems.csn.network import build_csn, csn_parts
from tfreid.systems.csn.objective import CsnObjective, check_csn_losses
from tfreid.systems.csn.testing import make_csn_evaluator
from tfreid.training.run_folder import RunFolder

# What the network takes of `model`; the rest is of backbones and their heads.
_READ = ("height", "width", "normalization", "weights")


class CsnSystem(System):
    """Pairs, the losses of the `loss` section, single-shot CMC or a ranked shortlist."""

    unit = "pairs"
    scores_pairs = True

    def check(self, replicas: int) -> None:
        """Refuses losses without a weight, and settings of other systems."""
        config = self.config
        check_csn_losses(config)
        if config.training.jit_compile:
            raise UserError("training.jit_compile is not available for the CSN; set it to false.")
        if config.training.frozen_backbone_epochs:
            raise UserError("training.frozen_backbone_epochs is for backbones with a head; the CSN "
                            "has none, so set it to 0.")
        refuse_unread(config, (f"model.{name}" for name in vars(config.model) if name not in _READ))

    def make_batches(self, table: ImageTable) -> PairBatches:
        """Makes the batches of pairs."""
        config, model = self.config, self.config.model
        return PairBatches(table, config.data, model.height, model.width, config.training.seed)

    def build_model(self) -> keras.Model:
        """Builds the CSN."""
        return build_csn(self.config)

    def make_objective(self, model: keras.Model) -> CsnObjective:
        """Makes the sum of the losses."""
        return CsnObjective(self.config.loss, self.config.csn.levels)

    def check_embeds(self) -> None:
        """Refuses: a CSN compares two images."""
        raise UserError(f"{self.config.name!r} is of system csn, which has no embedding of one "
                        "image; give another run or recipe, or draw this one with `tfreid "
                        "visualize-csn`.")

    def embedding(self, model: keras.Model) -> keras.Model:
        """Refuses: a CSN compares two images."""
        self.check_embeds()

    def make_score_evaluator(self, model: keras.Model, records: Records,
                             training: bool = False) -> Evaluator | None:
        """Makes the evaluator of single-shot trials or of a shortlist."""
        return make_csn_evaluator(model, self.config, records, training, self.workers)

    def calibrate(self, weights: str | Path, output: str | Path, **options: Any) -> None:
        """Refuses: a CSN has no distance of embeddings."""
        raise UserError("a distance threshold is for embeddings; with system: csn the export's "
                        "signature compare gives the probability of a match, so choose 0.5 or "
                        "more.")

    def serve(self, model: keras.Model, run: RunFolder | None) -> ServedModel:
        """Serves features and comparisons of them."""
        return ServedModel(ServedCsn(model, self.config), {})

    def export(self, model: keras.Model, output: str | Path, run: RunFolder) -> tuple[Path, str]:
        """Exports features and comparisons of them."""
        return export_csn(model, self.config, output), ""

    def describe_model(self, identities: int = MARKET_IDENTITIES) -> dict[str, Any]:
        """Describes size and cost of comparing one pair, and of its parts."""
        return describe_csn(self.config, self.build_model())

    def describe_network(self) -> dict[str, Any]:
        """Names the levels that are compared."""
        return {"levels": list(self.config.csn.levels)}

    def make_extractor(self) -> Callable[[tf.Tensor], Any]:
        """Makes a function that computes the compared features."""
        parts = csn_parts(self.build_model())
        return lambda images: parts.extract(images, training=False)

    def measure_gallery(self, queries: int, gallery: int, pairs: int | None) -> dict[str, Any]:
        """Times comparisons of queries with a gallery."""
        return measure_gallery(self.config, queries, gallery, pairs)
