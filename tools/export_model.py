"""Exports a trained run as a SavedModel for TF Serving, after checking that it embeds alike."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tfrecords.errors import command_line  # noqa: E402


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and exports."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="where tools/calibrate_threshold.py has left RUN/threshold.json, the export gets it "
        "too, and a signature, verify, that says of two images whether they show one person.",
    )
    parser.add_argument("--run", required=True, metavar="RUN", help="folder of a trained run")
    parser.add_argument("--output", metavar="DIR",
                        help="folder of versions, which TF Serving watches; each export adds the "
                        "next number (default: RUN/export)")
    parser.add_argument("--weights", default="best", metavar="best|last|FILE",
                        help="which weights (default: those of the best evaluation)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top of the run's, such as export.normalize=false or "
                        "data.records=DIR where the records have moved")
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.evaluation.threshold import THRESHOLD_NAME, load_threshold
    from tfreid.models.loading import load_embedding_model
    from tfreid.serving.export import export_model
    from tfreid.training.run_folder import open_run

    run, config = open_run(parsed.run, parsed.overrides)
    model, config = load_embedding_model(config, run.weights(parsed.weights))
    calibrated = run.path / THRESHOLD_NAME
    threshold = load_threshold(calibrated) if calibrated.exists() else None
    version = export_model(model, config, parsed.output or run.path / "export", threshold)
    added = "" if threshold is None else f"; {calibrated} is in it, for the signature verify"
    print(f"exported to {version}; its signatures agree with the trained model{added}")


if __name__ == "__main__":
    sys.exit(main())
