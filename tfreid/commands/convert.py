"""Converts a checkpoint of a PyTorch toolbox to .weights.h5, without PyTorch."""

from __future__ import annotations

from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, converts and prints what became of each weight."""
    parser = _parser()
    parsed = parser.parse_intermixed_args(arguments)
    if parsed.output is None and not parsed.dry_run:
        parser.error("give --output FILE.weights.h5 or --dry-run")

    from tfreid.weights.conversion_report import describe, describe_misfit, list_weights
    from tfreid.weights.convert import LAYOUTS, MisfitError, convert_checkpoint
    from tfreid.weights.files import save_arrays

    if parsed.arch not in LAYOUTS:
        raise UserError(f"--arch is {parsed.arch}, and must be one of {', '.join(LAYOUTS)}.")
    if parsed.output and not parsed.output.endswith(".weights.h5"):
        raise UserError(f"--output is {parsed.output}, and must end in .weights.h5.")
    recipe = _recipe_model(parsed)
    shapes = None if recipe is None else _shapes(recipe)
    try:
        conversion = convert_checkpoint(parsed.input, parsed.arch, parsed.classifier, shapes)
    except MisfitError as error:
        print("\n".join(describe_misfit(error)))
        raise
    if not parsed.dry_run:
        save_arrays(conversion.weights, parsed.output, parsed.arch)
    if parsed.list or parsed.dry_run:
        print("\n".join(list_weights(conversion)))
    target = None if parsed.dry_run else parsed.output
    print("\n".join(describe(conversion, parsed.input, target, recipe)))


def _parser():
    parser = CommandParser(
        __doc__,
        "Reads .pth, .pt and .pth.tar files of torch.save and .safetensors, of torchreid, "
        "Bag of Tricks, AGW, fast-reid, open-reid and its descendants, "
        "Person_reID_baseline_pytorch, mmtracking, torchvision and timm; files that contain code "
        "are refused.",
    )
    parser.add_argument("--arch", required=True, metavar="NAME", help="backbone of the checkpoint")
    parser.add_argument("--input", required=True, metavar="FILE", help="the checkpoint")
    parser.add_argument("--output", metavar="FILE", help="the .weights.h5 file to write")
    parser.add_argument("--classifier", choices=("keep", "drop"),
                        help="whether the classifier is converted (default: keep, unless it is "
                        "ImageNet's)")
    parser.add_recipe(", whose head is converted; without it, the head of the "
                      "checkpoint")
    parser.add_argument("--list", action="store_true", help="print every pair of weights")
    parser.add_argument("--dry-run", action="store_true",
                        help="print every pair of weights and write nothing")
    parser.add_overrides()
    return parser


def _recipe_model(parsed):
    """Returns the `model` section of the recipe, or None without one."""
    if parsed.config is None:
        if parsed.overrides:
            raise UserError("settings on the command line need --config RECIPE; give one.")
        return None
    from tfreid.config import load_config

    config = load_config(parsed.config, parsed.overrides, parsed.variant).model
    if config.backbone != parsed.arch:
        raise UserError(
            f"{parsed.config} has model.backbone {config.backbone} and --arch is {parsed.arch}; "
            "make them the same."
        )
    if config.stride_in_1x1:
        raise UserError(
            f"{parsed.config} has model.stride_in_1x1, but PyTorch's networks have the stride in "
            "the 3x3 convolutions; set it to false."
        )
    return config


def _shapes(config):
    """Returns the shapes of the recipe's model, with None for identities that it leaves open."""
    from tfreid.models.embedding import build_embedding_model
    from tfreid.weights.files import weight_keys

    model = build_embedding_model(config, num_identities=1)
    shapes = {key: tuple(variable.shape) for key, variable in weight_keys(model).items()}
    if config.num_identities is None:
        for key in shapes:
            if key.startswith("classifier/"):
                shapes[key] = (*shapes[key][:-1], None)
    return shapes
