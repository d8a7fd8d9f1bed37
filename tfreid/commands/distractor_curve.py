"""Measures how rank-1 and mAP fall as distractors are added to the gallery, and draws it."""

from __future__ import annotations

import argparse

from tfrecords.arguments import split_overrides, whole
from tfrecords.errors import UserError, command_line
from tfrecords.storage import as_path
from tfreid.commands.parser import CommandParser, open_weights, records_override


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line, measures and draws."""
    parsed = _parser().parse_intermixed_args(arguments)
    # --counts and --compare take all the words after them.
    (counts, some), (compare, more) = map(split_overrides, (parsed.counts, parsed.compare))
    overrides = [*parsed.overrides, *some, *more]

    from tfreid.systems import distractors
    from tfreid.systems.registry import make_system

    output, own = as_path(parsed.output), []
    if parsed.run or parsed.config or not compare:
        config, weights, _ = open_weights(parsed, overrides + records_override(parsed.records))
        make_system(config).rank_distractors(
            weights, output, counts=_whole_numbers(counts) or None, seed=parsed.seed,
            base=parsed.base, features=parsed.features)
        own = [output / distractors.RESULTS_NAME]
        print(f"wrote {own[0]}")
    distractors.draw_saved_curves([*own, *compare], output / distractors.PLOT_NAME)
    print(f"wrote {output / distractors.PLOT_NAME}")


def _whole_numbers(words: list[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError:
        raise UserError(f"--counts must be whole numbers, not {' '.join(words)}.") from None


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        __doc__,
        "The experiment of Almazan et al., 'Re-ID done right' (2018), Figure 7. The figures "
        "are those of `tfreid test` on a gallery with random distractors; all numbers of "
        "distractors are ranked in one pass over the features on disk. examples: "
        "tfreid distractor-curve --run runs/first --records records/market1501_500k --features "
        "features/first --output runs/first; tfreid distractor-curve --compare runs/first "
        "runs/second --output curves",
    )
    parser.add_model("folder of a trained run of system embedding")
    parser.add_argument("--records", metavar="DIR",
                        help="records of `tfreid build market1501_500k` (default: "
                        "data.records)")
    parser.add_argument("--base", type=whole(high=10**9), metavar="N",
                        help="for other records: the gallery images behind the first N are the "
                        "distractors")
    parser.add_argument("--counts", nargs="+", default=[], metavar="N",
                        help="numbers of distractors to add; larger sets contain the smaller ones "
                        "(default: six numbers, evenly from 0 to all)")
    parser.add_seed("the random distractors")
    parser.add_argument("--features", metavar="DIR",
                        help="folder that keeps the features, 4 bytes a number, for later runs, or "
                        "one of `tfreid embed-images` (default: they are deleted at the end)")
    parser.add_argument("--output", required=True, metavar="DIR",
                        help="folder for distractor_curve.json and distractor_curve.png")
    parser.add_argument("--compare", nargs="+", default=[], metavar="RUN|FILE",
                        help="distractor_curve.json of other runs, or folders with one, to draw "
                        "in the same plot; without --run or --config nothing is measured")
    parser.add_overrides("settings on top, such as evaluation.metric=euclidean")
    return parser
