"""Command-line arguments that name trained weights, and the settings that belong to them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tfrecords.errors import UserError
from tfreid.commands.parser import add_recipe_arguments
from tfreid.config import Config, load_config
from tfreid.training.run_folder import open_run


def add_weight_arguments(parser: argparse.ArgumentParser, run_help: str) -> None:
    """Adds --run, --config and --weights, which `open_weights` reads."""
    parser.add_argument("--run", metavar="RUN", help=run_help)
    add_recipe_arguments(parser, ", for weights that no run here has made; needs --weights")
    parser.add_argument("--weights", metavar="best|last|FILE",
                        help="which weights (default for --run: those of its best evaluation)")


def open_weights(
    parsed: argparse.Namespace, overrides: Sequence[str]
) -> tuple[Config, str | Path]:
    """Returns the settings, with overrides on top, and the weight file that a user named.

    Raises:
        UserError: Both or neither of a run and a recipe are named, a recipe without weights, or
            there is no such run or recipe.
    """
    if bool(parsed.run) == bool(parsed.config):
        raise UserError("give either --run RUN, or --config RECIPE with --weights FILE.")
    if parsed.run:
        run, config = open_run(parsed.run, overrides)
        return config, run.weights(parsed.weights or "best")
    if parsed.weights is None:
        raise UserError("--config needs --weights FILE, the trained weights to look into.")
    return load_config(parsed.config, overrides, parsed.variant), parsed.weights
