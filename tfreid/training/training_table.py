"""The images that a recipe trains on."""

from __future__ import annotations

from tfrecords.errors import UserError
from tfreid.data.subsets import draw_subset
from tfreid.records import ImageTable, Records
from tfreid.settings import Config
from tfreid.settings_of_siamese import SubsetConfig


def load_training_table(config: Config, records: Records) -> ImageTable:
    """Loads the training images that `data.subset` leaves.

    Args:
        config: The settings.
        records: The records to train on.

    Raises:
        UserError: If images are held out for a system that does not validate on them, or as
            `Split.load` and `draw_subset`.
    """
    subset = config.data.subset
    if subset.validation and config.system != "siamese":
        raise UserError("data.subset.validation is for system: siamese; others are evaluated on "
                        "query and gallery, so set it to 0.")
    everything = subset == SubsetConfig(seed=subset.seed)
    return records["train"].load(
        config.data.memory_limit_mb, None if everything else lambda index: draw_subset(
            index, subset).training)
