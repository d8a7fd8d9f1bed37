"""Trains a re-identification model: settings from a recipe, everything it makes in one folder."""

from __future__ import annotations

import shlex
import sys

from tfrecords.errors import command_line
from tfreid.commands.parser import CommandParser, program


@command_line
def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and trains."""
    parser = CommandParser(
        __doc__,
        "example: tfreid train --config quickstart --output runs/first "
        "data.records=records/synthetic training.epochs=20\n"
        "exit status: 0 at the end of the training, 2 after a mistake or on a full disk,\n"
        "130 or 143 if Ctrl-C or SIGTERM stopped it",
    )
    parser.add_recipe("; `tfreid settings` prints the defaults of what it leaves out. "
                      "May be omitted with --resume")
    parser.add_argument("--output", metavar="RUN", required=True,
                        help="folder for settings, checkpoints, TensorBoard files and results; it "
                        "must be empty, so that no earlier run is lost, unless --resume is given")
    parser.add_argument("--resume", action="store_true",
                        help="continue the run in --output from its newest checkpoint, exactly as "
                        "if it had not stopped; without a run there, start one")
    parser.add_overrides("settings that replace those of the recipe, such as "
                         "data.records=records/market1501 schedule.learning_rate=1e-4")
    parsed = parser.parse_intermixed_args(arguments)
    from tfreid.systems.stages import train

    words = sys.argv[1:] if arguments is None else arguments
    train(parsed.config, parsed.output, parsed.overrides, parsed.resume,
          f"{program()} {shlex.join(words)}", parsed.variant)
    return 0
