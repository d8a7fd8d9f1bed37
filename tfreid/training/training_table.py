"""The images that a recipe trains on."""

from __future__ import annotations

from tfrecords.errors import UserError
from tfreid.config import Config, SubsetConfig
from tfreid.data.subsets import draw_subset
from tfreid.data.tables import ImageTable, load_table


def load_training_table(config: Config) -> ImageTable:
    """Loads the training images of `data.records` that `data.subset` leaves.

    Raises:
        UserError: Images are held out for a system that does not validate on them, or as
            `load_table` and `draw_subset`.
    """
    data, subset = config.data, config.data.subset
    if subset.validation and config.system != "siamese":
        raise UserError("data.subset.validation is for system: siamese; others are evaluated on "
                        "query and gallery, so set it to 0.")
    everything = subset == SubsetConfig(seed=subset.seed)
    return load_table(
        data.records, "train", data.verify, data.fold, data.memory_limit_mb,
        None if everything else lambda index: draw_subset(index, subset).training)
