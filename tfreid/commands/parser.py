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


def program() -> str:
    """Returns how the running command was called: `tfreid NAME`, or `python SCRIPT`."""
    called = Path(sys.argv[0])
    if called.stem in ("tfreid", "__main__") and len(sys.argv) > 1:
        return f"tfreid {sys.argv[1]}"
    return f"python {called.name}"
