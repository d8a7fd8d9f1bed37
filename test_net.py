"""Evaluates a re-identification model: ranks a gallery for every query and scores the ranking."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfrecords.errors import UserError, command_line  # noqa: E402


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="examples: python test_net.py --run runs/first; "
        "python test_net.py --run runs/first data.records=records/other",
    )
    parser.add_argument("--run", metavar="RUN",
                        help="folder of a trained run: its settings, its best weights")
    parser.add_argument("--config", metavar="FILE",
                        help="recipe, for weights that no run here has made; needs --weights")
    parser.add_argument("--weights", metavar="best|last|FILE",
                        help="which weights (default for --run: those of its best evaluation)")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for results.json, cmc.png and ranked_lists.png (default: RUN; "
                        "with overrides or --weights, RUN/evaluation-RECORDS; with --config, "
                        "runs/NAME-evaluation)")
    parser.add_argument("--ranked-queries", type=int, default=8, metavar="N",
                        help="queries in the ranked-list picture; 0 draws none (default: 8)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top, such as data.records=DIR to evaluate on other "
                        "records, or evaluation.metric=euclidean")
    parsed = parser.parse_intermixed_args(arguments)
    if parsed.ranked_queries < 0:
        raise UserError("--ranked-queries is negative; give 0 for no picture.")
    if bool(parsed.run) == bool(parsed.config):
        raise UserError("give either --run RUN, or --config FILE with --weights FILE.")

    from tfreid.config import load_config
    from tfreid.evaluation.run import evaluate_weights
    from tfreid.training.run_folder import open_run

    if parsed.run:
        run, config = open_run(parsed.run, parsed.overrides)
        weights, output = run.weights(parsed.weights or "best"), run.path
        if parsed.overrides or parsed.weights:
            # The run's own figures stay what they are.
            output = run.path / f"evaluation-{Path(config.data.records).name}"
    else:
        if parsed.weights is None:
            raise UserError("--config needs --weights FILE, the trained weights to evaluate.")
        config = load_config(parsed.config, parsed.overrides)
        weights, output = parsed.weights, Path("runs") / f"{config.name}-evaluation"
    output = Path(parsed.output or output)
    evaluate_weights(config, weights, output, parsed.ranked_queries)
    print(f"wrote {output}/results.json and pictures beside it")


if __name__ == "__main__":
    sys.exit(main())
