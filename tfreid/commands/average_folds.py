"""Averages the single-shot results of runs on several folds of one dataset."""

from __future__ import annotations

from pathlib import Path

from tfrecords.errors import UserError, command_line
from tfrecords.storage import as_path
from tfreid.commands.parser import CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and averages."""
    parser = CommandParser(
        __doc__,
        "VIPeR, CUHK01 and CUHK03's original protocol have no fixed training and test "
        "people: papers divide the identities at random several times, train once on each fold, "
        "and report the mean, since the figures of one fold depend much on chance. Train a run "
        "for each, data.fold=0, data.fold=1 and so on, evaluate each with "
        "evaluation.protocol=single_shot, and give them all here. A fold's figure is its mean "
        "over trials; the mean and the standard deviation (n - 1) over folds are printed. "
        "example: tfreid average-folds runs/viper-0 runs/viper-1 runs/viper-2 "
        "--output runs/viper-splits",
    )
    parser.add_argument("results", nargs="+", metavar="RUN|FILE",
                        help="run or folder with a results.json of `tfreid train` or `tfreid "
                        "test`, or that file; one for each fold, all of one recipe")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for results.json and cmc.png, which `tfreid plot-cmc` takes "
                        "like those of runs (default: runs/NAME-splits)")
    parsed = parser.parse_args(arguments)

    from tfreid.evaluation.results import name_with_images, write_results_json
    from tfreid.evaluation.split_average import average_splits, format_split_average
    from tfreid.visualization.cmc_plot import draw_cmc

    average = average_splits(parsed.results)
    output = as_path(parsed.output or Path("runs") / f"{average.name}-splits")
    if output.resolve() in (source.parent.resolve() for source in average.sources):
        raise UserError(f"{output} holds one of the results to average; choose another --output.")
    print(format_split_average(average))
    write_results_json(output / "results.json", average)
    title = name_with_images(average.name, average.as_dict())
    draw_cmc({title: average.cmc}, output / "cmc.png", stds={title: average.std})
    print(f"wrote {output}/results.json and cmc.png")
