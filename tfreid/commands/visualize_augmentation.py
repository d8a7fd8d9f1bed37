"""Draws what a recipe makes of training images, and what each step of its augmentation does."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    parser = CommandParser(
        __doc__,
        "example: tfreid visualize-augmentation --config done_right_resnet101 --output "
        "curriculum.png data.records=records/market1501. Look at it before a long training: "
        "people must stay recognisable.",
    )
    parser.add_recipe(required=True)
    parser.add_argument("--output", required=True, metavar="FILE", help="PNG file")
    parser.add_number("--images", 4, "training images, drawn at random, which also paste parts of "
                      "each other (data.augmentation.patch_probability)", high=1000)
    parser.add_number("--columns", 7, "epochs, spread evenly over the training", high=1000)
    parser.add_argument("--pretraining", action="store_true",
                        help="draw the stage before, which the setting `pretraining` describes")
    parser.add_seed("the choice of images and of their augmentation")
    parser.add_overrides()
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.config import load_config

    _draw(load_config(parsed.config, parsed.overrides, parsed.variant), parsed)
    print(f"wrote {parsed.output}")


def _draw(config, parsed) -> None:
    """Draws training images as several epochs would show them, and as each step changes them."""
    from tfreid.data.augmentation import DRAWN, cutout_limit, draw_augmentations
    from tfreid.data.image_batches import ImageLoader
    from tfreid.models.embedding import input_size
    from tfreid.records import open_training
    from tfreid.systems.registry import make_system
    from tfreid.visualization.curriculum import Curriculum, draw_curriculum

    records = open_training(config.data)
    if parsed.pretraining:
        first = make_system(config).pretraining()
        if first is None:
            raise UserError(f"{config.name} has no stage before (`pretraining` is null); leave "
                            "--pretraining out.")
        config = first
    table = make_system(config).training_images(records)
    random = np.random.default_rng(parsed.seed)
    rows = random.permutation(len(table.index))[:parsed.images]
    spread = np.linspace(0, config.training.epochs - 1, parsed.columns).astype(int)
    epochs = np.unique(spread).tolist()
    augmentation, size = config.data.augmentation, input_size(config.model)
    sizes = [size.of(*map(int, table.index.sizes(row))) for row in rows]
    heights, widths = np.array(sizes).T
    loader = ImageLoader(table, config.data)

    def show(augmentation, epoch):
        drawn = draw_augmentations(augmentation, len(rows), heights, widths, random, epoch,
                                   table.index.sizes(rows))
        targets = [np.empty((*size, 3), np.uint8) for size in sizes]
        loader.augment(rows, tuple(drawn[name] for name in DRAWN), targets)
        return targets

    shown = [show(augmentation, epoch) for epoch in epochs]
    limits = [cutout_limit(augmentation, epoch) for epoch in range(config.training.epochs)]
    steps = {"none": show(augmentation.alone(None), 0)}
    if augmentation.pad or augmentation.translation:
        steps["shift"] = show(dataclasses.replace(
            augmentation.alone(None), pad=augmentation.pad,
            translation=augmentation.translation), 0)
    for step in augmentation.steps():
        if getattr(augmentation, f"{step}_probability"):
            steps[step] = show(augmentation.alone(step), epochs[-1])
    draw_curriculum(Curriculum(limits, epochs, list(zip(*shown)), steps), parsed.output,
                    config.name)
