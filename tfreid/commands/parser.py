"""The argument parser that all commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def command_parser(description: str, epilog: str) -> argparse.ArgumentParser:
    """Makes the parser of one command, named as the user called it.

    Args:
        description: What the command does.
        epilog: What stands below the options; examples begin with `tfreid`.
    """
    # A text of several lines is laid out by its author.
    layout = argparse.RawDescriptionHelpFormatter if "\n" in epilog else argparse.HelpFormatter
    return argparse.ArgumentParser(
        prog=program(), description=description, epilog=epilog, formatter_class=layout)


def add_recipe_arguments(
    parser: argparse.ArgumentParser, words: str = "", required: bool = False
) -> None:
    """Adds --config and --variant, which `load_config` takes.

    Args:
        parser: The command's parser.
        words: What the recipe is for, behind what it is.
        required: Whether --config must be given.
    """
    parser.add_argument("--config", metavar="RECIPE", required=required,
                        help="recipe: a YAML file, or the name of a shipped one, such as "
                        f"quickstart{words}")
    parser.add_argument("--variant", metavar="NAME", action="append", default=[],
                        help="variant of the recipe, such as t0_5 of lin_resnet50_ibn_a; may be "
                        "given several times, later ones on top")


def program() -> str:
    """Returns how the running command was called: `tfreid NAME`, or `python SCRIPT`."""
    called = Path(sys.argv[0])
    if called.stem in ("tfreid", "__main__") and len(sys.argv) > 1:
        return f"tfreid {sys.argv[1]}"
    return f"python {called.name}"
