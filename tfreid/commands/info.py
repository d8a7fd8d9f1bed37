"""Prints a model's size and cost as one JSON object."""

from __future__ import annotations

import json

from tfrecords.errors import command_line
from tfreid.commands.parser import CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and prints."""
    parser = CommandParser(
        __doc__,
        "flops are 2 x multiply-adds of one image's feature; parameters include the "
        "identity classifier, whose width is model.num_identities. With system: csn flops are "
        "those of extracting and comparing one pair, with the parts flops_extract (one image) and "
        "flops_compare (one pair); paper_table_5 has the paper's counts. With system: siamese all "
        "figures are the twin's; the merge network adds embedding_size + 1 parameters by default.",
    )
    parser.add_recipe(required=True)
    parser.add_number("--identities", 751, "width of the classifier, which a csn has not, if the "
                      "recipe leaves it open: Market-1501's", high=10**6)
    parser.add_overrides()
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.config import load_config
    from tfreid.systems.registry import make_system

    config = load_config(parsed.config, parsed.overrides, parsed.variant)
    print(json.dumps(make_system(config).describe_model(parsed.identities), indent=2))
