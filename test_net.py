"""Evaluates a re-identification model: ranks a gallery for every query and scores the ranking."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfrecords.arguments import split_overrides  # noqa: E402
from tfrecords.errors import UserError, command_line  # noqa: E402


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and evaluates."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="examples: python test_net.py --run runs/first; python test_net.py --run runs/first "
        "--records records/market1501 records/other evaluation.reranking=true. Testing on a "
        "dataset that the run was not trained on is naming its records.",
    )
    parser.add_argument("--run", metavar="RUN",
                        help="folder of a trained run: its settings, its best weights")
    parser.add_argument("--config", metavar="FILE",
                        help="recipe, for weights that no run here has made; needs --weights")
    parser.add_argument("--weights", metavar="best|last|FILE",
                        help="which weights (default for --run: those of its best evaluation)")
    parser.add_argument("--records", nargs="+", default=[], metavar="DIR",
                        help="test sets to evaluate on, folders written by tfrecords.build "
                        "(default: data.records); several share one table, one summary.json and "
                        "one CMC plot, so that a model's figures stand beside each other")
    parser.add_argument("--output", metavar="DIR",
                        help="folder for results.json, cmc.png and ranked_lists.png (default: RUN; "
                        "with overrides, --records or --weights, RUN/evaluation-RECORDS, so that "
                        "the run's own figures stay; with several records, RUN/evaluation and a "
                        "folder in it for each; with --config, runs/NAME-evaluation)")
    parser.add_argument("--ranked-queries", type=int, default=8, metavar="N",
                        help="queries in the ranked-list picture; 0 draws none (default: 8); "
                        "tools/visualize_csn.py draws those of a pair model")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top, such as evaluation.metric=euclidean; "
                        "evaluation.multi_query=true, evaluation.expansion=true and "
                        "evaluation.reranking=true each add figures beside the plain ones")
    parsed = parser.parse_intermixed_args(arguments)
    # --records takes all the words after it.
    records, more = split_overrides(parsed.records)
    overrides = parsed.overrides + more
    if parsed.records and not records:
        raise UserError("--records names no folder; give at least one, before any overrides.")
    if parsed.ranked_queries < 0:
        raise UserError("--ranked-queries is negative; give 0 for no picture.")
    if bool(parsed.run) == bool(parsed.config):
        raise UserError("give either --run RUN, or --config FILE with --weights FILE.")

    from tfreid.config import load_config
    from tfreid.evaluation.run import evaluate_test_sets, evaluate_weights
    from tfreid.training.run_folder import open_run

    if len(records) == 1:
        overrides.append(f"data.records={json.dumps(records[0])}")
    if parsed.run:
        run, config = open_run(parsed.run, overrides)
        weights, output = run.weights(parsed.weights or "best"), run.path
        if len(records) > 1:
            output = run.path / "evaluation"
        elif overrides or parsed.weights:
            # The run's own figures stay what they are.
            output = run.path / f"evaluation-{Path(config.data.records or '').name}"
    else:
        if parsed.weights is None:
            raise UserError("--config needs --weights FILE, the trained weights to evaluate.")
        config = load_config(parsed.config, overrides)
        weights, output = parsed.weights, Path("runs") / f"{config.name}-evaluation"
    output = Path(parsed.output or output)
    if len(records) > 1:
        evaluate_test_sets(config, weights, records, output, parsed.ranked_queries)
        print(f"wrote {output}/summary.json, {output}/cmc.png and a folder for each test set")
    else:
        evaluate_weights(config, weights, output, parsed.ranked_queries)
        print(f"wrote {output}/results.json and pictures beside it")


if __name__ == "__main__":
    sys.exit(main())
