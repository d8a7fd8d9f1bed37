"""Draws what an embedding looks at, by Grad-CAM, and what it ranks first."""

from __future__ import annotations

import argparse

from tfrecords.arguments import split_overrides, whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import CommandParser, open_weights


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    parsed = _parser().parse_intermixed_args(arguments)
    # --attention takes all the words after it.
    words = parsed.attention or []
    files, more = split_overrides(words)
    overrides = parsed.overrides + more
    if words and not files:
        raise UserError("--attention names no file; give at least one, before any overrides.")
    if parsed.worst and parsed.ranked is None:
        raise UserError("--worst chooses the queries of --ranked N; give both.")
    config, weights, _ = open_weights(parsed, overrides)

    from tfreid.systems.embedding.pictures import EmbeddingPictures
    from tfreid.systems.registry import make_system

    pictures, output = EmbeddingPictures(make_system(config), weights), parsed.output
    if parsed.pair:
        written = pictures.pair(*parsed.pair, output, parsed.dimensions)
    elif files:
        written = pictures.attention(files, output, parsed.accumulate)
    elif parsed.pairs_from_records:
        written = pictures.test_pairs(
            output, parsed.pairs_from_records, parsed.dimensions, parsed.seed)
    elif parsed.attention_from_records:
        written = pictures.test_attention(
            output, parsed.attention_from_records, parsed.accumulate, parsed.images, parsed.seed)
    else:
        written = pictures.ranked_lists(output, parsed.ranked, parsed.worst)
    for path in written:
        print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        __doc__,
        "examples: tfreid visualize-embedding --run runs/first --pair a.jpg b.jpg "
        "--output pair.png; tfreid visualize-embedding --run runs/first --ranked 8 "
        "--worst --output worst.png data.records=records/market1501",
    )
    parser.add_model("folder of a trained run, of any system but csn")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pair", nargs=2, metavar=("A", "B"),
                      help="two JPEG or PNG files: the regions that the dimensions which add most "
                      "to their cosine similarity look at")
    what.add_argument("--attention", nargs="+", metavar="FILE",
                      help="JPEG or PNG files: the regions that the strongest dimensions of each "
                      "embedding look at, taken together")
    what.add_argument("--pairs-from-records", type=whole(high=1000), metavar="N",
                      help="as --pair, for N random queries of data.records: each with its nearest "
                      "match by another camera, and with the nearest wrong person")
    what.add_argument("--attention-from-records", type=whole(high=1000), metavar="N",
                      help="as --attention, for several gallery images of N random people of "
                      "data.records, one row per person")
    what.add_argument("--ranked", type=whole(high=1000), metavar="N",
                      help="N queries of data.records, evenly spread, with their first ten "
                      "results, their average precision and the number of relevant images")
    parser.add_argument("--worst", action="store_true",
                        help="for --ranked: the queries with the lowest average precision instead")
    parser.add_argument("--output", required=True, metavar="PATH",
                        help="PNG file; for --pairs-from-records a folder, for "
                        "query_POSITION_match.png and query_POSITION_non_match.png")
    parser.add_number("--dimensions", 5, "dimensions of each pair")
    parser.add_number("--accumulate", 50, "strongest dimensions of each image whose gradients are "
                      "accumulated")
    parser.add_number("--images", 4, "images per person of --attention-from-records, by as many "
                      "cameras as possible", high=100)
    parser.add_seed("the random choices")
    parser.add_overrides("settings on top, such as data.records=records/market1501, or "
                         "evaluation.feature=embedding for the feature before the neck")
    return parser
