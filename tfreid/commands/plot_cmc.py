"""Draws the CMC curves of several runs or test sets into one plot."""

from __future__ import annotations

from tfrecords.errors import command_line
from tfreid.commands.parser import CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and draws."""
    parser = CommandParser(
        __doc__,
        "Runs are easiest to compare in one plot; nothing is evaluated again. "
        "example: tfreid plot-cmc runs/first runs/second --labels 'triplet' "
        "'triplet and center' --output cmc.png",
    )
    parser.add_argument("results", nargs="+", metavar="RUN|FILE",
                        help="run or folder with a results.json of `tfreid train` or `tfreid "
                        "test`, or that file, or a summary.json of several test sets; "
                        "re-ranked figures get a curve of their own, single-shot results and "
                        "averages over folds a band of one standard deviation")
    parser.add_argument("--labels", nargs="+", metavar="TEXT",
                        help="names in the legend, one for each RUN|FILE (default: the names in "
                        "the files, or the folders')")
    parser.add_argument("--output", default="cmc.png", metavar="FILE",
                        help="PNG file (default: %(default)s)")
    parser.add_number("--max-rank", 20, "last rank drawn")
    parsed = parser.parse_args(arguments)

    from tfreid.evaluation.results import read_curves
    from tfreid.visualization.cmc_plot import draw_cmc

    curves = read_curves(parsed.results, parsed.labels)
    draw_cmc({curve.name: curve.cmc for curve in curves}, parsed.output, parsed.max_rank,
             mean_aps={curve.name: curve.mean_ap for curve in curves},
             stds={curve.name: curve.std for curve in curves})
    print(f"wrote {parsed.output} with {len(curves)} curve{'s' if len(curves) > 1 else ''}")
