"""Export of a trained model in device formats: converted, compared with the model, and measured."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrecords.checksums import write_checksums
from tfrecords.errors import UserError
from tfrecords.storage import AnyPath, as_path, copy_tree, is_remote
from tfrecords.writing import scratch_folder, sole_writer
from tfreid.config import Config
from tfreid.evaluation.results import percent, ruled_table
from tfreid.evaluation.thresholds import weights_fingerprint
from tfreid.models.embedding import input_size
from tfreid.records import Split, open_first
from tfreid.records.images import spread_positions
from tfreid.serving.formats.card import CARD_NAME, GraphCard, ModelCard, write_card
from tfreid.serving.formats.freezing import freeze
from tfreid.serving.formats.images import as_input
from tfreid.serving.formats.profiles import GENERIC, Profile
from tfreid.serving.formats.reader import CHECKSUMS_NAME, DeviceModel
from tfreid.serving.formats.registry import FORMATS, convert
from tfreid.serving.interface import Client, Outputs, joined, sided
from tfreid.serving.saved_model import ServedModel, round_alike
from tfreid.systems.exported import embedding_metric, make_exported_evaluator
from tfreid.systems.exporting import Graph, make_client
from tfreid.weights.choice import warning

# Largest accepted difference to the trained model; quantised formats are measured by the ranking.
_TOLERANCES = {"float32": 1e-4, "float16": 1e-2}
# Loss of mAP, or of rank-1 where there is none, from which on the table speaks of it.
_NOTED_LOSS = 0.01
_UNKNOWN_LICENSE = "that of the images that it was trained on; set export.license to name it"
# Identities of each trial on which a quantised CSN is compared, pair by pair.
_COMPARED = 50
# Images that go through the trained model together.
_ROWS = 16


class DeviceOptions(NamedTuple):
    """What `tfreid export` writes beside, or instead of, a SavedModel.

    Attributes:
        formats: Names of formats.
        precisions: `float32`, `float16`, `int8` or `int16x8`, all of which every format gets that
            has them.
        rows: Images of every call, or None to leave their number free.
        dtype: Type of the images, `uint8` or `float32`; None for the usual one of the profile.
        profile: What the loader of the files expects.
    """

    formats: Sequence[str]
    precisions: Sequence[str]
    rows: int | None
    dtype: str | None
    profile: Profile = GENERIC

    def check(self) -> None:
        """Raises a `UserError` if a format lacks a precision, or the loader takes no such file."""
        for name in self.formats:
            for precision in self.precisions:
                if precision not in FORMATS[name].PRECISIONS:
                    raise UserError(f"{name} has no {precision} here, only "
                                    f"{', '.join(FORMATS[name].PRECISIONS)}; leave one out of "
                                    "--format or --quantize.")
        self.profile.check(self.formats, self.precisions, self.rows, self.dtype)


class Written(NamedTuple):
    """One export that was written: its folder and its `model.json`."""

    folder: AnyPath
    card: ModelCard


class DeviceExporter:
    """Writes a trained model in device formats, each into its folder `OUTPUT/FORMAT-PRECISION`.

    The name of a profile stands before it, such as `boxmot-onnx-float32`.

    Args:
        model: The model with trained weights.
        config: Its settings; `data.records`, the first of several, has the images for calibration
            and comparison.
        served: What `System.serve` made of it.
        options: Formats, precisions, and the type and number of the images.

    Raises:
        UserError: If the model takes images of many sizes, or there are no records.
    """

    def __init__(self, model: keras.Model, config: Config, served: ServedModel,
                 options: DeviceOptions):
        options.check()
        round_alike()
        self._config, self._options, self._served = config, options, served
        self._records = open_first(config.data)
        self._size = input_size(config.model)
        self._dtype = options.dtype or options.profile.dtype or "uint8"
        self._graphs: dict[str, Graph] = served.module.graphs(options.rows, self._dtype)
        options.profile.check_model(config.system, "compare" in self._graphs,
                                    self._size.height, self._size.width)
        self._fingerprint = weights_fingerprint(model)
        self._frozen = {name: freeze(*_as_the_loader_sends(graph, options.profile))
                        for name, graph in self._graphs.items()}
        self._extract = tf.function(self._graphs["extract"].function)
        self._reference: tuple[np.ndarray, Outputs, Outputs] | None = None
        self._model_figures: dict[str, float] | None = None
        if any(precision.startswith("int") for precision in options.precisions):
            self._check_calibration()

    def write(self, output: str | Path) -> list[Written]:
        """Writes every format in every precision that was asked for.

        Args:
            output: Folder for the folders. On this machine one of the same name is replaced when
                its successor is whole; at a URL its files are overwritten, `model.json` last.

        Raises:
            UserError: If a converter or runtime is missing, or refuses an operation, or outputs
                differ from those of the model.
        """
        output, written = as_path(output), []
        if output.exists() and not output.is_dir():
            raise UserError(f"{output} is a file; name a folder for the exports.")
        with scratch_folder("device-export") as scratch:
            for name in self._options.formats:
                for precision in self._options.precisions:
                    folder = scratch / self._options.profile.folder(name, precision)
                    card = self._write_one(folder, name, precision)
                    written.append(Written(_move(folder, output), card))
        return written

    def _cost(self, model: DeviceModel) -> dict[str, Any]:
        """Returns the figures of the `model` and of its quantised `export`, if there are any."""
        if self._model_figures is None:
            self._model_figures = self._figures(make_client(self._served)) or {}
        if not self._model_figures:
            return {}
        return {"model": self._model_figures, "export": self._figures(model)}

    def _figures(self, client: Client) -> dict[str, float] | None:
        """Evaluates what is served on the test images, of a CSN on some.

        Returns:
            The figures, or None if there are no test images, or a CSN has too many pairs of them.
        """
        evaluator = make_exported_evaluator(client, self._config, self._records)
        if evaluator is None:
            return None
        most = _COMPARED if self._config.system == "csn" else None
        return evaluator.evaluate(max_queries=most).progress()

    def _write_one(self, folder: Path, name: str, precision: str) -> ModelCard:
        folder.mkdir()
        graphs, profile = {}, self._options.profile
        for graph, frozen in self._frozen.items():
            path = profile.file(name, graph, self._config.model.backbone) + FORMATS[name].SUFFIX
            file = folder / path
            file.parent.mkdir(exist_ok=True)
            samples = self._samples(graph) if precision.startswith("int") else ()
            convert(name, frozen, file, precision, samples)
            graphs[graph] = GraphCard(path, frozen.inputs, frozen.outputs)
        card = self._card(name, precision, graphs)
        write_card(card, folder)
        if profile.companion is not None:
            beside, text = profile.companion(card)
            (folder / beside).write_text(text)
        model = DeviceModel(folder)
        measured: dict[str, Any] = self._compare(model)
        if precision.startswith("int"):
            measured.update(self._cost(model))
        card = dataclasses.replace(card, measured=measured)
        write_card(card, folder)
        write_checksums(folder / CHECKSUMS_NAME, _files(folder))
        return card

    def _card(self, name: str, precision: str, graphs: Mapping[str, GraphCard]) -> ModelCard:
        config, export, profile = self._config, self._config.export, self._options.profile
        return ModelCard(
            format=name, precision=precision, name=config.name, system=config.system,
            backbone=config.model.backbone, height=self._size.height, width=self._size.width,
            colors="RGB", values=[0, 255], resize=profile.resize, max_pixels=export.max_pixels,
            normalized=export.normalize and config.system in ("embedding", "triplet"),
            graphs=dict(graphs), thresholds={
                metric: dataclasses.asdict(one)
                for metric, one in self._served.thresholds.items()},
            weights=self._fingerprint, measured={},
            weights_chosen_on=self._served.module.chosen_on,
            metric=embedding_metric(config), license=export.license or _UNKNOWN_LICENSE,
            profile=profile.name, layout=profile.layout, mean=list(profile.mean),
            deviation=list(profile.deviation))

    def _samples(self, graph: str) -> Iterator[dict[str, np.ndarray]]:
        """Yields inputs of a graph, one row each, to measure ranges on."""
        export = self._config.export
        split = self._records[export.calibration_split]
        rows = self._frozen[graph].inputs[0].shape[0] or 1
        images = self._crops(split, spread_positions(len(split), export.calibration_images))
        images = images if self._dtype == "float32" else np.rint(images).astype(np.uint8)
        profile = self._options.profile
        inputs = {"images": as_input(images, profile.layout, profile.mean, profile.deviation)}
        if graph == "compare":
            features = self._features(images)
            inputs = sided(first=features, second={
                name: np.roll(values, 1, 0) for name, values in features.items()})
        for place in range(len(images)):
            yield {name: np.repeat(values[place : place + 1], rows, 0)
                   for name, values in inputs.items()}

    def _check_calibration(self) -> None:
        wanted = self._config.export.calibration_split
        if wanted not in self._records:
            raise UserError(f"{self._records.directory} has no split {wanted}; set "
                            "export.calibration_split to one of "
                            f"{', '.join(self._records.splits)}.")

    def _crops(self, split: Split, positions: np.ndarray) -> np.ndarray:
        """Returns images as training sees them, float32 [n, height, width, 3]."""
        return np.concatenate([images for _, images in split.batches(
            self._size, self._config.data.eval_batch_size, positions=positions)])

    def _features(self, images: np.ndarray) -> Outputs:
        """Computes the features of the trained model."""
        return joined({name: x.numpy() for name, x in self._extract(
            images=tf.constant(images[start : start + _ROWS], tf.float32)).items()}
            for start in range(0, len(images), _ROWS))

    def _compare(self, model: DeviceModel) -> dict[str, float]:
        """Returns the largest differences to the trained model on test images.

        `difference` is that on the same crops, a cosine distance of features and an absolute one of
        probabilities; `difference_from_files` that of reading files too, whose crops training does
        not round to whole levels.
        """
        if self._reference is None:
            self._reference = self._features_of_test_images(model)
        crops, expected, unrounded = self._reference
        found = model.extract_crops(crops)
        differences = [_furthest(found, expected)]
        if model.compares:
            second = {name: np.roll(values, 1, 0) for name, values in expected.items()}
            judged = self._graphs["compare"].function(
                **{name: tf.constant(x) for name, x in sided(
                    first=expected, second=second).items()})["probability"]
            answer = model.compare(expected, second)["probability"]
            differences.append(np.abs(answer - judged.numpy()).max())
        worst, card = float(np.max(differences)), model.card  # of NaN, NaN
        most = _TOLERANCES.get(card.precision, np.inf)
        if not worst <= most:
            raise UserError(f"{card.format} in {card.precision} differs from the trained model by "
                            f"{worst:.2g} (at most {most:g} is accepted); it was not written.")
        return {"difference": worst, "difference_from_files": _furthest(found, unrounded),
                "compared_images": len(crops)}

    def _features_of_test_images(self, model: DeviceModel) -> tuple[np.ndarray, Outputs, Outputs]:
        """Returns crops for the graph, their features, and those of the crops as training sees."""
        split = self._records["gallery" if "gallery" in self._records else self._records.splits[0]]
        positions = spread_positions(len(split), self._config.export.parity_images)
        crops = model.prepare([split.encoded[place] for place in positions])
        return crops, self._features(crops), self._features(self._crops(split, positions))


def describe(written: Sequence[Written]) -> str:
    """Returns a table of what was written, and a sentence for each precision that costs much."""
    rows, notes = [], []
    for folder, card in written:
        figures = card.measured.get("export", {})
        size = sum(path.stat().st_size for path in _files(folder))
        rows.append((f"{card.format} {card.precision}", f"{size / 1e6:.2f} MB",
                     f"{card.measured['difference']:.1e}",
                     f"{card.measured['difference_from_files']:.1e}",
                     *(_beside(card.measured, figure) for figure in ("rank_1", "mean_ap"))))
        figure = "mean_ap" if "mean_ap" in figures else "rank_1"
        lost = card.measured["model"][figure] - figures[figure] if figures else 0.0
        if lost > _NOTED_LOSS and card.precision == "int8":
            notes.append(
                f"{card.format} in {card.precision} loses {100 * lost:.1f} points of "
                f"{'mAP' if figure == 'mean_ap' else 'rank-1'}; --quantize int16x8 (int8 weights, "
                "16-bit activations; litert and onnx) or float16 lose less, and more "
                "export.calibration_images may help.")
    notes += filter(None, {warning(card.weights_chosen_on) for _, card in written})
    head = ("", "size", "difference", "from files", "rank-1 (model)", "mAP (model)")
    return "\n".join([ruled_table([[head], rows]), *notes])


def _as_the_loader_sends(graph: Graph, profile: Profile) -> Graph:
    """Returns a graph that takes images as the loader of a profile sends them.

    They are turned back into [n, height, width, 3] in 0-255, which is exact but for rounding and
    right for every network, however it normalises.
    """
    if profile.layout == "NHWC":
        return graph
    spec = graph.inputs["images"]
    rows, height, width, _ = spec.shape

    def extract(images):
        images = tf.transpose(images, [0, 2, 3, 1])
        if any(profile.mean):
            images = images * tf.constant(profile.deviation) + tf.constant(profile.mean)
        return graph.function(images=images)

    return Graph(extract, {"images": tf.TensorSpec([rows, 3, height, width], spec.dtype)})


def _files(folder: AnyPath) -> list[AnyPath]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _beside(measured: Mapping[str, Any], figure: str) -> str:
    if figure not in measured.get("export", {}):
        return "-"
    return f"{percent(measured['export'][figure])} ({percent(measured['model'][figure])})"


def _furthest(found: Outputs, expected: Outputs) -> float:
    """Returns the largest cosine distance of rows of the same feature."""
    distances = []
    for name, values in expected.items():
        first, second = (x.reshape(len(x), -1).astype(np.float64) for x in (found[name], values))
        lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        distances.append(1.0 - (first * second).sum(1) / np.maximum(lengths, 1e-12))
    return float(np.max(distances))


def _move(folder: Path, output: AnyPath) -> AnyPath:
    """Puts a finished folder into `output`, in place of one of the same name."""
    target = output / folder.name
    if is_remote(output):
        copy_tree(folder, target, last=CARD_NAME)
        return target
    with sole_writer(output, "exporting"):
        arriving, leaving = (output / f".{what}-{folder.name}" for what in ("new", "old"))
        for left in (arriving, leaving):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(folder, arriving)
        if target.exists():
            target.rename(leaving)
        arriving.rename(target)
        shutil.rmtree(leaving, ignore_errors=True)
    return target
