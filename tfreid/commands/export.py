"""Exports a trained run as a SavedModel for TF Serving, after checking that it works alike."""

from __future__ import annotations

from tfrecords.errors import command_line
from tfreid.commands.parser import command_parser


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and exports."""
    parser = command_parser(
        __doc__,
        "where tools/calibrate_threshold.py has left RUN/thresholds.json, the export gets it "
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

    from tfreid.systems.registry import make_system
    from tfreid.training.run_folder import open_run

    run, config = open_run(parsed.run, parsed.overrides)
    system = make_system(config)
    model = system.load(run.weights(parsed.weights))
    version, added = system.export(model, parsed.output or run.path / "export", run)
    print(f"exported to {version}; its signatures agree with the trained model{added}")
