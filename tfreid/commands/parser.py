"""The command-line arguments that commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecords.arguments import HomeParser, seed_type, split_overrides, whole
from tfrecords.errors import UserError, shortened

if TYPE_CHECKING:
    from tfreid.config import Config
    from tfreid.evaluation.thresholds import Threshold
    from tfreid.serving.interface import Client
    from tfreid.training.run_folder import RunFolder

RUN = "folder of a trained run"


class CommandParser(HomeParser):
    """The parser of one command, named as the user called it.

    Args:
        description: What the command does.
        epilog: Text below the options; examples begin with `tfreid`.
    """

    def __init__(self, description: str, epilog: str):
        # A text of several lines is laid out by its author.
        layout = argparse.RawDescriptionHelpFormatter if "\n" in epilog else argparse.HelpFormatter
        super().__init__(prog=program(), description=description, epilog=epilog,
                         formatter_class=layout)

    def add_recipe(self, words: str = "", required: bool = False) -> None:
        """Adds --config, with `words` on the recipe's use, and --variant."""
        self.add_argument("--config", metavar="RECIPE", required=required,
                          help="recipe: a YAML file, or the name of a shipped one, such as "
                          f"quickstart{words}")
        self.add_argument("--variant", metavar="NAME", action="append", default=[],
                          help="variant of the recipe, such as t0_5 of lin_resnet50_ibn_a; may be "
                          "given several times, later ones on top")

    def add_model(self, run_help: str) -> None:
        """Adds --run, --config, --variant and --weights, which `open_weights` reads."""
        self.add_argument("--run", metavar="RUN", help=run_help)
        self.add_recipe(", for weights that do not come from a run; needs --weights")
        self.add_argument("--weights", metavar="best|last|FILE",
                          help="which weights (default: the best of a run that held people out to "
                          "choose them on, the last ones of any other); with --config also "
                          "`rendered`, those in this package, made by the recipe "
                          "rendered_osnet_x025")

    def add_served(self, count: str) -> None:
        """Adds the images, `count` of them, and the options of a model that `open_client` reads.

        These are --model and --url, and what `add_model` adds.
        """
        self.add_argument("--model", metavar="DIR",
                          help="export: a SavedModel, the folder of its versions, or a "
                          "device format")
        self.add_argument("--url", metavar="URL",
                          help="running TF Serving, such as http://localhost:8501/v1/models/reid")
        self.add_model("folder of a trained run, to ask its model without an export")
        self.add_argument("images", nargs=count, metavar="IMAGE",
                          help="JPEG or PNG files, or folders of them; with --run or --config also "
                          "key.sub=value settings")

    def add_overrides(self, words: str = "settings that replace those of the recipe") -> None:
        """Adds the `key.sub=value` settings."""
        self.add_argument("overrides", nargs="*", metavar="key.sub=value", help=words)

    def add_number(self, name: str, default: int, words: str, low: int = 1,
                   high: int = 10_000) -> None:
        """Adds an option that is a whole number from `low` to `high`."""
        self.add_argument(name, type=whole(low, high), default=default, metavar="N",
                          help=f"{words} (default: %(default)s)")

    def add_seed(self, words: str) -> None:
        """Adds --seed, the seed of what `words` names, 0 by default."""
        self.add_argument("--seed", type=seed_type, default=0, metavar="N",
                          help=f"seed of {words} (default: %(default)s)")


def open_weights(parsed: argparse.Namespace,
                 overrides: Sequence[str]) -> tuple[Config, str | Path, RunFolder | None]:
    """Returns the settings with overrides on top, the weight file, and the run if there is one.

    Raises:
        UserError: If both or neither of a run and a recipe are named, a recipe comes without
            weights, or there is no such run or recipe.
    """
    from tfreid.config import load_config
    from tfreid.training.run_folder import open_run

    if bool(parsed.run) == bool(parsed.config):
        raise UserError("give either --run RUN, or --config RECIPE with --weights FILE.")
    if parsed.run:
        run, config = open_run(parsed.run, overrides)
        return config, run.weights(parsed.weights or None), run
    if parsed.weights is None:
        raise UserError("--config needs --weights FILE, the trained weights.")
    return load_config(parsed.config, overrides, parsed.variant), parsed.weights, None


def work_folder(config: Config, run: RunFolder | None) -> RunFolder:
    """Returns the run's folder or, for weights that do not come from one, `runs/NAME-evaluation`.

    There `tfreid calibrate` writes and `tfreid export` looks for thresholds.
    """
    from tfreid.training.run_folder import RunFolder

    return run or RunFolder(Path("runs") / f"{config.name}-evaluation")


def names_type(*known: str) -> Callable[[str], list[str]]:
    """Returns the type of an argument of one or more known names with commas between them."""
    def names(text: str) -> list[str]:
        found = list(dict.fromkeys(filter(None, text.split(","))))
        other = [name for name in found if name not in known]
        if other or not found:
            raise argparse.ArgumentTypeError(
                f"{shortened(other[0]) if other else 'nothing'} is none of {', '.join(known)}")
        return found

    return names


def split_images(parsed: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Divides the words that `add_served` reads into images and settings.

    What is served already, by --model or --url, has settings of its own, so all words are images.
    """
    if parsed.model or parsed.url:
        return parsed.images, []
    return split_overrides(parsed.images)


def open_client(
    parsed: argparse.Namespace, overrides: Sequence[str]
) -> tuple[Client, Mapping[str, Threshold]]:
    """Returns a client of the model that --url, --model, --run or --config name, and thresholds.

    Raises:
        UserError: If it is not exactly one of them, or there is no such model.
    """
    if sum(map(bool, (parsed.url, parsed.model, parsed.run, parsed.config))) != 1:
        raise UserError("give one of --model DIR, --url URL, --run RUN, or --config RECIPE with "
                        "--weights FILE.")
    if (parsed.url or parsed.model) and (parsed.weights or parsed.variant or overrides):
        raise UserError("--model and --url have their own weights and settings; leave out "
                        "--weights, --variant and settings.")

    from tfreid.serving import load_export
    from tfreid.serving.client import ServerClient, exported_thresholds
    from tfreid.systems.exporting import make_client
    from tfreid.systems.registry import make_system

    if parsed.url:
        return ServerClient(parsed.url), {}
    if parsed.model:
        return load_export(parsed.model), exported_thresholds(parsed.model)
    config, weights, run = open_weights(parsed, overrides)
    system = make_system(config)
    served = system.serve(system.load(weights), work_folder(config, run))
    return make_client(served), served.thresholds


def records_override(directory: str | None) -> list[str]:
    """Returns the override that names a folder of records; empty without one."""
    return [f"data.records={json.dumps(directory, ensure_ascii=False)}"] if directory else []


def program() -> str:
    """Returns how the running command was called: `tfreid NAME`, or `python SCRIPT`."""
    called = Path(sys.argv[0])
    if called.stem in ("tfreid", "__main__") and len(sys.argv) > 1:
        return f"tfreid {sys.argv[1]}"
    return f"python {called.name}"
