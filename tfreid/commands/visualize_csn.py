"""Draws what a CSN looks at in pairs of images, and how alike it finds them at every level."""

from __future__ import annotations

from tfrecords.errors import command_line
from tfreid.commands.parser import CommandParser, open_weights


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    parser = CommandParser(
        __doc__,
        "examples: tfreid visualize-csn --run runs/csn --pair a.jpg b.jpg --output "
        "pair.png; tfreid visualize-csn --run runs/csn --query 12 --top 5 --output "
        "ranking.png data.records=records/market1501",
    )
    parser.add_model("folder of a trained run of system csn")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pair", nargs=2, metavar=("A", "B"),
                      help="two JPEG or PNG files: the attended regions of both, and each level's "
                      "similarity maps in both directions")
    what.add_argument("--pairs-from-records", action="store_true",
                      help="the same for two pairs of the test images of data.records: a random "
                      "query with a match by another camera, and with the wrong person that "
                      "scores highest among some gallery images")
    what.add_argument("--query", metavar="INDEX|FILE",
                      help="a query of data.records, by its position in the query split or its "
                      "path in the dataset: its best gallery images, each with its score and maps")
    parser.add_argument("--output", required=True, metavar="PATH",
                        help="PNG file; for --pairs-from-records a folder, for match.png and "
                        "non_match.png")
    parser.add_number("--top", 5, "results drawn for --query", high=100)
    parser.add_number("--gallery", 100, "random gallery images to score, among them at least one "
                      "match")
    parser.add_seed("the random choices")
    parser.add_overrides("settings on top, such as data.records=records/market1501")
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.systems.csn.pictures import CsnPictures
    from tfreid.systems.registry import make_system

    config, weights, _ = open_weights(parsed, parsed.overrides)
    pictures, output = CsnPictures(make_system(config), weights), parsed.output
    if parsed.pair:
        pictures.pair(*parsed.pair, output)
    elif parsed.query is not None:
        pictures.ranking(parsed.query, output, parsed.top, parsed.gallery, parsed.seed)
    else:
        pictures.example_pairs(output, parsed.gallery, parsed.seed)
        output = f"{output}/match.png and {output}/non_match.png"
    print(f"wrote {output}")
