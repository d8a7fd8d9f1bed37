"""Draws what an embedding looks at, by Grad-CAM, and what it ranks first."""

from __future__ import annotations

import argparse

from tfrecords.arguments import positive, split_overrides
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import command_parser
from tfreid.commands.trained_weights import add_weight_arguments, open_weights


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
    if parsed.seed < 0:
        raise UserError("--seed is negative; give 0 or above.")
    config, weights = open_weights(parsed, overrides)

    from tfreid.systems.embedding import pictures
    from tfreid.systems.registry import make_system

    system = make_system(config)
    written = [parsed.output]
    if parsed.pair:
        pictures.picture_pair(system, weights, *parsed.pair, parsed.output, parsed.dimensions)
    elif files:
        pictures.picture_attention(system, weights, files, parsed.output, parsed.accumulate)
    elif parsed.pairs_from_records:
        written = pictures.picture_test_pairs(system, weights, parsed.output,
                                              parsed.pairs_from_records, parsed.dimensions,
                                              parsed.seed)
    elif parsed.attention_from_records:
        pictures.picture_test_attention(system, weights, parsed.output,
                                        parsed.attention_from_records, parsed.accumulate,
                                        parsed.images, parsed.seed)
    else:
        pictures.picture_ranked_lists(system, weights, parsed.output, parsed.ranked, parsed.worst)
    for path in written:
        print(f"wrote {path}")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        __doc__,
        "examples: tfreid visualize-embedding --run runs/first --pair a.jpg b.jpg "
        "--output pair.png; tfreid visualize-embedding --run runs/first --ranked 8 "
        "--worst --output worst.png data.records=records/market1501",
    )
    add_weight_arguments(parser, "folder of a trained run, of any system but csn")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pair", nargs=2, metavar=("A", "B"),
                      help="two JPEG or PNG files: the regions that the dimensions which add most "
                      "to their cosine similarity look at")
    what.add_argument("--attention", nargs="+", metavar="FILE",
                      help="JPEG or PNG files: the regions that the strongest dimensions of each "
                      "one's embedding look at, taken together")
    what.add_argument("--pairs-from-records", type=positive, metavar="N",
                      help="as --pair, for N random queries of data.records: each with its nearest "
                      "match by another camera, and with the nearest wrong person")
    what.add_argument("--attention-from-records", type=positive, metavar="N",
                      help="as --attention, for several gallery images of each of N random persons "
                      "of data.records, a row for each person")
    what.add_argument("--ranked", type=positive, metavar="N",
                      help="N queries of data.records, evenly spread, with their first ten "
                      "results, their average precision and the number of relevant images")
    parser.add_argument("--worst", action="store_true",
                        help="for --ranked: the queries with the lowest average precision instead")
    parser.add_argument("--output", required=True, metavar="PATH",
                        help="PNG file; for --pairs-from-records a folder, for "
                        "query_POSITION_match.png and query_POSITION_non_match.png")
    parser.add_argument("--dimensions", type=positive, default=5, metavar="K",
                        help="dimensions of each pair (default: %(default)s)")
    parser.add_argument("--accumulate", type=positive, default=50, metavar="K",
                        help="strongest dimensions of each image whose gradients are accumulated "
                        "(default: %(default)s)")
    parser.add_argument("--images", type=positive, default=4, metavar="M",
                        help="images of each person of --attention-from-records, by as many "
                        "cameras as there are (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of what is drawn at random (default: %(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top, such as data.records=records/market1501, or "
                        "evaluation.feature=embedding for the feature before the neck")
    return parser
