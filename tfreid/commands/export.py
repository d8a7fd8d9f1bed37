"""Exports a trained model as a SavedModel for TF Serving, checked against the trained model."""

from __future__ import annotations

from tfrecords.errors import command_line
from tfreid.commands.parser import RUN, CommandParser, open_weights, work_folder


@command_line
def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and exports."""
    parser = CommandParser(
        __doc__,
        "If `tfreid calibrate` has written RUN/thresholds.json, the export includes it and a "
        "signature, verify, that decides whether two images show the same person. The export of "
        "system: csn has the signatures extract and extract_images (features of images), compare "
        "(features of pairs) and compare_all (queries with a gallery); that of system: siamese "
        "also has verify (pairs of files). See tfreid query --help. Weights without a run, such as "
        "converted ones, are exported by --config RECIPE --weights FILE data.records=DIR, into "
        "runs/NAME-evaluation, where tfreid calibrate puts their threshold.",
    )
    parser.add_model(RUN)
    parser.add_argument("--output", metavar="DIR",
                        help="folder of versions, which TF Serving watches; each export adds the "
                        "next number (default: RUN/export)")
    parser.add_overrides("settings on top, such as export.normalize=false, "
                         "csn.score.both_orders=true, or data.records=DIR, whose images the export "
                         "is checked with")
    parsed = parser.parse_intermixed_args(arguments)
    config, weights, run = open_weights(parsed, parsed.overrides)

    from tfreid.systems.registry import make_system

    system, folder = make_system(config), work_folder(config, run)
    version, added = system.export(
        system.load(weights), parsed.output or folder.path / "export", folder)
    print(f"exported to {version}; its signatures agree with the trained model{added}")
