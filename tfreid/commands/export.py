"""Exports a trained run as a SavedModel for TF Serving, checked against the trained model."""

from __future__ import annotations

from tfrecords.errors import command_line
from tfreid.commands.parser import ON_RUN, RUN, CommandParser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and exports."""
    parser = CommandParser(
        __doc__,
        "If `tfreid calibrate` has written RUN/thresholds.json, the export includes it and a "
        "signature, verify, that decides whether two images show the same person. The export of "
        "system: csn has the signatures extract and extract_images (features of images), compare "
        "(features of pairs) and compare_all (queries with a gallery); that of system: siamese "
        "also has verify (pairs of files). See tfreid query --help.",
    )
    parser.add_argument("--run", required=True, metavar="RUN", help=RUN)
    parser.add_argument("--output", metavar="DIR",
                        help="folder of versions, which TF Serving watches; each export adds the "
                        "next number (default: RUN/export)")
    parser.add_weights()
    parser.add_overrides(f"{ON_RUN}export.normalize=false, csn.score.both_orders=true, or "
                         "data.records=DIR if the records have moved")
    parsed = parser.parse_intermixed_args(arguments)

    from tfreid.systems.registry import make_system
    from tfreid.training.run_folder import open_run

    run, config = open_run(parsed.run, parsed.overrides)
    system = make_system(config)
    model = system.load(run.weights(parsed.weights))
    version, added = system.export(model, parsed.output or run.path / "export", run)
    print(f"exported to {version}; its signatures agree with the trained model{added}")
