"""Exports a trained model for TF Serving or devices, checked against the trained model."""

from __future__ import annotations

from tfrecords.arguments import whole
from tfrecords.errors import UserError, command_line
from tfreid.commands.parser import RUN, CommandParser, names_type, open_weights, work_folder
from tfreid.serving.formats.profiles import GENERIC, PROFILES
from tfreid.serving.formats.registry import FORMATS, PRECISIONS, SAVED_MODEL, precision_of


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
    parser.add_argument("--format", type=names_type(SAVED_MODEL, *FORMATS), default=[SAVED_MODEL],
                        metavar="FORMAT,...",
                        help=f"one or more of {SAVED_MODEL}, {', '.join(FORMATS)} (default: "
                        f"{SAVED_MODEL}); each device format gets a folder of its own, such as "
                        "onnx-float32, with a model.json for tfreid.serving.load_export")
    parser.add_argument("--quantize", type=names_type("none", *PRECISIONS[1:]), default=["none"],
                        metavar="PRECISION,...",
                        help="precisions of the device formats, one or more of none (float32), "
                        "float16 (half the size), int8 (a quarter, and fast where the processor "
                        "has 8-bit products) and int16x8 (int8 weights, 16-bit activations). For "
                        "integers the export measures ranges on export.calibration_images, and "
                        "what they cost on the test images (default: none)")
    parser.add_argument("--batch", type=_rows, default=None, metavar="N|dynamic",
                        help="images of every call of a device format (default: dynamic)")
    parser.add_argument("--input", choices=("uint8", "float32"), default=None,
                        help="type of a device format's images, RGB in 0-255 (default: uint8)")
    parser.add_argument("--profile", choices=tuple(PROFILES), default=GENERIC.name,
                        help="whose loader takes the files of device formats as they are: boxmot "
                        "and deepstream, which get float32 images [n, 3, height, width] of any "
                        "number, names that they accept, and the lines that load the file beside "
                        "it; docs/trackers.md (default: %(default)s)")
    parser.add_overrides("settings on top, such as export.normalize=false, "
                         "csn.score.both_orders=true, or data.records=DIR, whose images the export "
                         "is checked with")
    parsed = parser.parse_intermixed_args(arguments)
    _check(parsed)
    config, weights, run = open_weights(parsed, parsed.overrides)

    from tfreid.systems.device_export import DeviceOptions, describe
    from tfreid.systems.registry import make_system

    formats = [name for name in parsed.format if name != SAVED_MODEL]
    options = DeviceOptions(formats, [precision_of(name) for name in parsed.quantize],
                            parsed.batch, parsed.input, PROFILES[parsed.profile])
    options.check()
    system, folder = make_system(config), work_folder(config, run)
    model, output = system.load(weights), parsed.output or folder.path / "export"
    if SAVED_MODEL in parsed.format:
        version, added = system.export(model, output, folder)
        print(f"exported to {version}; its signatures agree with the trained model{added}")
    if formats:
        written = system.export_device(model, output, folder, options)
        print(describe(written))
        print("exported to " + ", ".join(str(one.folder) for one in written))


def _check(parsed) -> None:
    given = parsed.quantize, parsed.batch, parsed.input, parsed.profile
    if parsed.format == [SAVED_MODEL] and given != (["none"], None, None, GENERIC.name):
        raise UserError("--quantize, --batch, --input and --profile are for device formats; name "
                        "one by --format, such as --format litert.")


def _rows(text: str) -> int | None:
    return None if text == "dynamic" else whole(1, 4096)(text)
