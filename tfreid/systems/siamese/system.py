"""The system that learns from pairs whether two images show the same person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from tfrecords.errors import UserError
from tfreid.data.batches import PairBatches
from tfreid.evaluation.evaluator import Evaluator, GalleryEvaluator
from tfreid.evaluation.thresholds import PROBABILITY, fitting_thresholds
from tfreid.models.embedding import HEAD_LAYERS
from tfreid.records import ImageTable, Records
from tfreid.serving.saved_model import ServedModel
from tfreid.systems.base import System
from tfreid.systems.embedding.objective import triplet_margin
from tfreid.systems.exporting import make_client
from tfreid.systems.siamese.export import ServedSiamese, export_siamese
from tfreid.systems.siamese.network import MERGE_LAYERS, build_siamese, siamese_parts
from tfreid.systems.siamese.objective import SiameseObjective, check_siamese_losses
from tfreid.systems.siamese.pair_sets import pairs_of_splits
from tfreid.systems.siamese.testing import (
    make_siamese_ranker,
    verify,
    verify_files,
    verify_pairs,
)
from tfreid.systems.siamese.validation import SiameseEvaluator
from tfreid.systems.testing import Further
from tfreid.training.dropout_noise import Margin
from tfreid.training.initial_weights import load_initial_weights
from tfreid.training.run_folder import RunFolder


class SiameseSystem(System):
    """Bojja, "Metric Learning for Person ReIdentification task": pairs, and `siamese.loss`."""

    unit = "pairs"
    untested = "data.subset.validation is 0"
    validates_images = True

    def check(self, replicas: int) -> None:
        """Refuses missing losses, and settings of other systems."""
        config = self.config
        check_siamese_losses(config)
        if config.training.jit_compile:
            raise UserError("training.jit_compile is not available with system: siamese; set it to "
                            "false.")
        if config.loss.triplet.across_replicas:
            raise UserError("loss.triplet.across_replicas is not available with system: siamese; "
                            "set it to false.")
        if config.model.longest_side is not None:
            raise UserError("model.longest_side makes images of many sizes, which system: siamese "
                            "cannot pair; set it to null and give height and width.")

    def make_batches(self, table: ImageTable) -> PairBatches:
        """Makes the batches of pairs."""
        config, model = self.config, self.config.model
        return PairBatches(table, config.data, model.height, model.width, config.training.seed,
                           with_labels=True)

    def build_model(self) -> keras.Model:
        """Builds the Siamese network."""
        return build_siamese(self.config)

    def load_initial_weights(self, model: keras.Model) -> None:
        """Loads ImageNet weights, those of another run, or those of an embedding model."""
        load_initial_weights(model, self.embedding(model), self.config.model,
                             skip=("classifier", "neck"), heads=(*HEAD_LAYERS, *MERGE_LAYERS))

    def embedding(self, model: keras.Model) -> keras.Model:
        """Returns the twin."""
        return siamese_parts(model).embed

    def make_objective(self, model: keras.Model) -> SiameseObjective:
        """Makes the loss."""
        return SiameseObjective(self.config)

    def margin(self) -> Margin | None:
        """Returns that of the contrastive or the triplet loss."""
        config = self.config
        if config.siamese.loss in ("contrastive", "combined"):
            margin = config.loss.contrastive.margin
            return Margin(margin, f"loss.contrastive.margin={margin:g}")
        return triplet_margin(config.loss) if config.siamese.loss == "triplet" else None

    def make_evaluator(self, model: keras.Model, records: Records) -> Evaluator | None:
        """Makes the evaluator of held-out pairs, if `data.subset.validation` holds any out."""
        if self.config.training.evaluate_queries:
            raise UserError("training.evaluate_queries is for galleries; system: siamese is "
                            "validated on evaluation.verification_pairs, so set that.")
        if self.config.training.choose_best_on == "test":
            raise UserError("training.choose_best_on=test is for galleries; system: siamese "
                            "chooses on the pairs of data.subset.validation, so set it to "
                            "validation.")
        if not self.config.data.subset.validation:
            return None
        return SiameseEvaluator(model, self.config, records, self.workers)

    def make_gallery_evaluator(self, model: keras.Model, records: Records) -> GalleryEvaluator:
        """Makes the evaluator that ranks a gallery by a distance or by the probability."""
        return make_siamese_ranker(model, self.config, records)

    def prepare_further_figures(self, model: keras.Model, records: Records, output: Path,
                                thresholds: Path | None) -> Further:
        """Returns a function that verifies pairs of the test images."""
        pairs = pairs_of_splits(self.config, records, ("query", "gallery"))
        return lambda: {"verification": verify(model, self.config, pairs, output, thresholds)}

    def calibrate(self, weights: str | Path, output: str | Path, **options: Any) -> None:
        """Refuses: training calibrates already."""
        raise UserError(
            "a run of system: siamese calibrates its thresholds during training, on the people of "
            "data.subset.validation; `tfreid test` uses them.")

    def verify_pairs(self, weights: str | Path, output: str | Path, **options: Any) -> dict:
        """Verifies the pairs of a file or of one split; see `verify_pairs`."""
        return verify_pairs(self, weights, output, **options)

    def verify_files(self, weights: str | Path, run: RunFolder | None, *files: str | Path) -> str:
        """Verifies two image files; see `verify_files`."""
        served = self.serve(self.load(weights), run)
        return verify_files(make_client(served), served.thresholds, *files)

    def serve(self, model: keras.Model, run: RunFolder | None) -> ServedModel:
        """Serves embeddings, and verification of pairs of them."""
        thresholds = fitting_thresholds(
            model, self.config.evaluation.minkowski_p, run.thresholds) if run else {}
        return ServedModel(ServedSiamese(model, self.config, thresholds), thresholds)

    def export(self, model: keras.Model, output: str | Path, run: RunFolder) -> tuple[Path, str]:
        """Exports features, and verification of pairs of files or features."""
        thresholds = fitting_thresholds(model, self.config.evaluation.minkowski_p, run.thresholds)
        version = export_siamese(model, self.config, output, thresholds)
        if PROBABILITY not in thresholds:
            return version, "; a probability of 0.5 decides, as these weights have no thresholds"
        return version, f"; the threshold of {run.thresholds} decides"
