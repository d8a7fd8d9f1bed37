"""Exports a trained run as a SavedModel for TF Serving, after checking that it works alike."""

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
        "too, and a signature, verify, that says of two images whether they show one person. A run "
        "with system: csn gets the signatures extract and extract_images (features of images), "
        "compare (features of pairs) and compare_all (queries with a gallery), one with system: "
        "siamese also verify (two files, one person or two); see tools/query_export.py --help.",
    )
    parser.add_argument("--run", required=True, metavar="RUN", help="folder of a trained run")
    parser.add_argument("--output", metavar="DIR",
                        help="folder of versions, which TF Serving watches; each export adds the "
                        "next number (default: RUN/export)")
    parser.add_argument("--weights", default="best", metavar="best|last|FILE",
                        help="which weights (default: those of the best evaluation)")
    parser.add_argument("overrides", nargs="*", metavar="key.sub=value",
                        help="settings on top of the run's, such as export.normalize=false, "
                        "csn.score.both_orders=true, or data.records=DIR where the "
                        "records have moved")
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.models.loading import load_model
    from tfreid.training.run_folder import open_run

    run, config = open_run(parsed.run, parsed.overrides)
    model, config = load_model(config, run.weights(parsed.weights))
    output = Path(parsed.output or run.path / "export")
    export = {"csn": _export_pair_model, "siamese": _export_siamese}.get(
        config.system, _export_embedding_model)
    version, added = export(model, config, output, run)
    print(f"exported to {version}; its signatures agree with the trained model{added}")


def _export_embedding_model(model, config, output, run) -> tuple[Path, str]:
    from tfreid.evaluation.threshold import THRESHOLD_NAME, load_threshold
    from tfreid.systems.embedding.export import export_model

    calibrated = run.path / THRESHOLD_NAME
    if not calibrated.exists():
        return export_model(model, config, output), ""
    version = export_model(model, config, output, load_threshold(calibrated))
    return version, f"; {calibrated} is in it, for the signature verify"


def _export_pair_model(model, config, output, run) -> tuple[Path, str]:
    from tfreid.systems.csn.export import export_pair_model

    return export_pair_model(model, config, output), ""


def _export_siamese(model, config, output, run) -> tuple[Path, str]:
    from tfreid.systems.siamese.export import export_siamese
    from tfreid.systems.siamese.testing import fitting_thresholds

    thresholds = fitting_thresholds(model, config, run.thresholds)
    version = export_siamese(model, config, output, thresholds)
    if thresholds is None:
        return version, "; a probability of 0.5 decides, as these weights have no thresholds"
    return version, f"; the threshold of {run.thresholds} decides"


if __name__ == "__main__":
    sys.exit(main())
