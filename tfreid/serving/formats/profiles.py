"""What the loaders of trackers expect of a file: its input, its name, and what lies beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfrecords.errors import UserError

if TYPE_CHECKING:
    from tfreid.serving.formats.card import ModelCard

RESIZING = ("bilinear, half-pixel centres, the kernel widened where the image shrinks, aspect "
            "ratio not kept; see tfreid.serving.formats.images")
_TRACKERS_CROPS = ("by the tracker: edges rounded and clipped to the frame, bilinear without "
                   "widening the kernel, aspect ratio not kept; see tfreid.TrainedModel.embed")
# ImageNet's mean and deviation of colours in 0-255, which BoxMOT subtracts and divides by.
_MEAN = tuple(255 * value for value in (0.485, 0.456, 0.406))
_DEVIATION = tuple(255 * value for value in (0.229, 0.224, 0.225))
# Models of 256x128 that every BoxMOT knows by name; its loader looks for one in the file's name.
_BOXMOT_MODELS = ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "resnet50", "resnet101")


@dataclasses.dataclass(frozen=True)
class Profile:
    """What one loader expects.

    Attributes:
        name: Value of `--profile`.
        formats: Format -> precisions that it may have; None allows all of them.
        layout: Order of the axes of images: `NHWC` or `NCHW`.
        mean: Subtracted from each colour in 0-255 by the loader.
        deviation: Then divided by, by the loader.
        dtype: The only type of images, or None if it may be chosen, as may their number.
        size: The only height and width that the loader knows, or None.
        resize: How the loader makes crops of that size.
        file: Returns a file's path in the export from the format, the graph's name and the
            backbone, without suffix.
        companion: Returns name and text of what lies beside the file, or None.
    """

    name: str
    formats: dict[str, tuple[str, ...] | None]
    layout: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    dtype: str | None
    size: tuple[int, int] | None
    resize: str
    file: Callable[[str, str, str], str]
    companion: Callable[[ModelCard], tuple[str, str]] | None

    def folder(self, name: str, precision: str) -> str:
        """Returns the name of the folder of a format in a precision."""
        start = "" if self.companion is None else f"{self.name}-"
        return f"{start}{name}-{precision}"

    def check(self, formats, precisions, rows: int | None, dtype: str | None) -> None:
        """Raises a `UserError` if the loader does not take these options of the export."""
        for name in formats:
            allowed = self.formats.get(name, ())
            wrong = [one for one in precisions if allowed is not None and one not in allowed]
            if wrong:
                taken = ", ".join(f"{name} in {' or '.join(some or ('any precision',))}"
                                  for name, some in self.formats.items())
                raise UserError(f"--profile {self.name} is not for {name} in {wrong[0]}, only for "
                                f"{taken}; leave it out of --format or --quantize.")
        if self.dtype is not None and rows is not None:
            raise UserError(f"--profile {self.name} leaves the number of images free, since frames "
                            "differ in people; leave out --batch.")
        if self.dtype is not None and dtype not in (None, self.dtype):
            raise UserError(f"--profile {self.name} takes images of {self.dtype}; leave out "
                            "--input.")

    def check_model(self, system: str, compares: bool, height: int, width: int) -> None:
        """Raises a `UserError` if the loader cannot take a model."""
        if self.companion is not None and compares:
            raise UserError(f"system: {system} compares pairs of images, and a tracker compares "
                            f"embeddings; leave out --profile {self.name}.")
        if self.size not in (None, (height, width)):
            raise UserError(
                f"the model takes images of {height}x{width} pixels, and the loader of --profile "
                f"{self.name} makes crops of {self.size[0]}x{self.size[1]}; train with "
                f"model.height={self.size[0]} model.width={self.size[1]}, or use --profile "
                "generic.")


def _boxmot_file(name: str, graph: str, backbone: str) -> str:
    known = any(model in backbone for model in _BOXMOT_MODELS)
    stem = backbone if known else f"{backbone}_like_osnet_x0_25"
    return f"{stem}_openvino_model/{stem}" if name == "openvino" else stem


def _boxmot_lines(card: ModelCard) -> tuple[str, str]:
    file = card.graphs["extract"].file
    path = file.partition("/")[0] if card.format == "openvino" else file
    return "use_in_boxmot.py", f'''from boxmot.reid.core import ReID
reid = ReID("{path}")  # or the tracker's reid_weights; the path from where Python runs
features = reid(frame, boxes)  # uint8 BGR [h, w, 3]; left, top, right, bottom [n, 4]
'''


def _deepstream_section(card: ModelCard) -> tuple[str, str]:
    graph = card.graphs["extract"]
    return "tracker_reid.yml", f"""\
# Put this section in the place of ReID in the configuration of DeepStream's tracker.
ReID:
  reidType: 2  # 1 in NvDeepSORT; 2 to join tracks again; 3 for both
  batchSize: 100
  workspaceSize: 1000  # MB
  reidFeatureSize: {graph.outputs[0].shape[-1]}
  reidHistorySize: 100
  inferDims: {graph.inputs[0].shape[1:]}
  networkMode: 0  # float32; 1 is float16, faster and of three digits
  inputOrder: 0  # NCHW
  colorFormat: 0  # RGB
  offsets: [0.0, 0.0, 0.0]  # the network subtracts the mean and divides by the deviations itself
  netScaleFactor: 1.0
  keepAspc: 0  # trained on crops whose aspect ratio is not kept
  addFeatureNormalization: {int(not card.normalized)}  # {
        'features are unit vectors already' if card.normalized else 'makes them unit vectors'}
  onnxFile: "{graph.file}"  # with its folder, unless the pipeline starts there
"""


_PLAIN = {"mean": (0.0, 0.0, 0.0), "deviation": (1.0, 1.0, 1.0)}
# The profiles by name; to add one, write its line.
PROFILES = {profile.name: profile for profile in (
    Profile("generic", {"litert": None, "onnx": None, "openvino": None}, "NHWC", **_PLAIN,
            dtype=None, size=None, resize=RESIZING, file=lambda name, graph, backbone: graph,
            companion=None),
    Profile("boxmot", {"litert": None, "onnx": None, "openvino": None}, "NCHW", _MEAN, _DEVIATION,
            dtype="float32", size=(256, 128), resize=_TRACKERS_CROPS, file=_boxmot_file,
            companion=_boxmot_lines),
    Profile("deepstream", {"onnx": ("float32",)}, "NCHW", **_PLAIN, dtype="float32", size=None,
            resize=_TRACKERS_CROPS, file=lambda name, graph, backbone: backbone,
            companion=_deepstream_section),
)}
GENERIC = PROFILES["generic"]
