"""What a recipe makes of training images, epoch by epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrecords.errors import UserError
from tfreid.config import Config
from tfreid.data.augmentation import DRAWN, cutout_limit, draw_augmentations
from tfreid.data.image_batches import ImageLoader
from tfreid.models.embedding import input_size
from tfreid.records import open_records
from tfreid.systems.registry import make_system
from tfreid.visualization.curriculum import Curriculum, draw_curriculum


def picture_augmentation(
    config: Config, output: str | Path, images: int = 4, columns: int = 7,
    pretraining: bool = False, seed: int = 0
) -> None:
    """Draws the cut-out's schedule, and training images as several epochs would show them.

    Args:
        config: The settings; `data.records` names the images.
        output: PNG file.
        images: How many training images, drawn at random.
        columns: How many epochs, spread evenly over the training.
        pretraining: Whether the stage before is meant.
        seed: Of the images and of what is drawn for them.

    Raises:
        UserError: The records are missing, an image cannot be decoded, or there is no stage before.
    """
    records = open_records(config.data)
    if pretraining:
        first = make_system(config).pretraining()
        if first is None:
            raise UserError(f"{config.name} has no stage before (`pretraining` is null); leave "
                            "--pretraining out.")
        config = first
    table = make_system(config).training_images(records)
    random = np.random.default_rng(seed)
    rows = random.permutation(len(table.index))[:images]
    epochs = np.unique(np.linspace(0, config.training.epochs - 1, columns).astype(int)).tolist()
    augmentation, size = config.data.augmentation, input_size(config.model)
    sizes = [size.of(*map(int, table.index.sizes(row))) for row in rows]
    heights, widths = np.array(sizes).T
    loader = ImageLoader(table, config.data)
    shown = []
    for epoch in epochs:
        drawn = draw_augmentations(augmentation, len(rows), heights, widths, random, epoch,
                                   table.index.sizes(rows))
        targets = [np.empty((*size, 3), np.uint8) for size in sizes]
        loader.augment(rows, tuple(drawn[name] for name in DRAWN), targets)
        shown.append(targets)
    limits = [cutout_limit(augmentation, epoch) for epoch in range(config.training.epochs)]
    draw_curriculum(Curriculum(limits, epochs, list(zip(*shown))), output, config.name)
