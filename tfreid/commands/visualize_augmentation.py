"""Draws what a recipe makes of training images: crops, flips, noise, and how the cut-out grows."""

from __future__ import annotations

from tfrecords.arguments import positive
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import add_recipe_arguments, command_parser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    parser = command_parser(
        __doc__,
        "example: tfreid visualize-augmentation --config done_right_resnet101 --output "
        "curriculum.png data.records=records/market1501. Look at it before a long training: "
        "people must stay recognisable.",
    )
    add_recipe_arguments(parser, required=True)
    parser.add_argument("--output", required=True, metavar="FILE", help="PNG file")
    parser.add_argument("--images", type=positive, default=4, metavar="N",
                        help="training images, drawn at random (default: %(default)s)")
    parser.add_argument("--columns", type=positive, default=7, metavar="N",
                        help="epochs, spread evenly over the training (default: %(default)s)")
    parser.add_argument("--pretraining", action="store_true",
                        help="draw the stage before, that of the setting `pretraining`")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the images and of what is drawn for them (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings that replace those of the recipe")
    parsed = parser.parse_intermixed_args(arguments)
    if parsed.seed < 0:
        raise UserError("--seed is negative; give 0 or above.")

    from tfreid.commands.augmentation_preview import picture_augmentation
    from tfreid.config import load_config

    config = load_config(parsed.config, parsed.overrides, parsed.variant)
    picture_augmentation(config, parsed.output, parsed.images, parsed.columns, parsed.pretraining,
                         parsed.seed)
    print(f"wrote {parsed.output}")
