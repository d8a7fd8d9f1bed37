"""Common parts of all exports: checked versions, verification of pairs, parity with training."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfrecords.checksums import find_changed_file, write_checksums
from tfrecords.errors import UserError, find_os_error
from tfrecords.files import read_json
from tfrecords.storage import AnyPath, as_path, copy_tree, is_remote
from tfrecords.writing import scratch_folder, sole_writer, write_json
from tfreid.evaluation.thresholds import Threshold
from tfreid.plain_paths import plain_path
from tfreid.records import Records, Split, decode_image
from tfreid.serving.batches import in_slices
from tfreid.serving.decoding import decode_bounded
from tfreid.weights.choice import valid_choice

# Folder inside a version that TF Serving ignores.
EXTRA_FILES = "assets.extra"
# File inside a version with the checksums of all others.
CHECKSUMS_NAME = "checksums.json"
# The signature that verifies pairs of files, and the one with the older input names.
VERIFY_PAIRS = "verify_pairs"
VERIFY_INPUTS = {VERIFY_PAIRS: ("first_image_bytes", "second_image_bytes"),
                 "verify": ("image_bytes", "other_image_bytes")}
# Largest difference, relative to the largest value, between training side and export.
TOLERANCE = 1e-4
_PARITY_IMAGES = 8
# File inside `EXTRA_FILES` with the size of the network's images.
_SIZE_NAME = "images.json"
# File beside it that says which images chose the weights, if any did.
_CHOICE_NAME = "weights.json"
_UNFINISHED = ".unfinished-"
_GRAPH_NAME = "saved_model.pb"


class ServedModel(NamedTuple):
    """A trained model, ready to serve.

    Attributes:
        module: Module with `signatures`, name -> `tf.function`.
        thresholds: Metric -> verification threshold.
    """

    module: tf.Module
    thresholds: Mapping[str, Threshold]


def write_version(served: tf.Module, signatures: dict[str, Any], output: str | Path,
                  finish: Callable[[Path], None]) -> Path:
    """Saves the next version of a SavedModel, which appears only when it is finished.

    Args:
        served: The module.
        signatures: Its signatures.
        output: Folder of versions: `output/1`, then `output/2`, ...
        finish: Checks the unfinished version's folder and adds files; if it fails, no version
            appears.

    Returns:
        The version's folder.

    Raises:
        UserError: If another process is exporting into `output`, or that is a file.
        OSError: If the folder cannot be written.
    """
    output = as_path(output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; name a folder for the versions of the export.")
    if is_remote(output):
        with scratch_folder("export") as folder:
            made = write_version(served, signatures, folder, finish)
            version = _next_version(output)
            copy_tree(made, version, last=_GRAPH_NAME)  # without which there is no version
            return version
    with sole_writer(output, "exporting"):
        for left in output.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)
        version = _next_version(output)
        unfinished = output / f"{_UNFINISHED}{version.name}"
        try:
            tf.saved_model.save(served, str(unfinished), signatures=signatures)
            finish(unfinished)
            write_checksums(unfinished / CHECKSUMS_NAME,
                            sorted(path for path in unfinished.rglob("*") if path.is_file()))
            unfinished.rename(version)
        except (OSError, tf.errors.OpError) as error:
            found = find_os_error(error)
            if found is None:
                raise
            raise OSError(found.errno, found.strerror, str(version)) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return version


def _next_version(output: AnyPath) -> AnyPath:
    folders = output.iterdir() if output.exists() else ()
    numbers = (int(path.name) for path in folders if path.name.isdecimal())
    return output / str(1 + max(numbers, default=0))


def load_signatures(version: Path) -> Mapping[str, Callable[..., Any]]:
    """Loads the signatures of a SavedModel, name -> concrete function.

    Exports of before there were checksums are read unchecked.

    Raises:
        UserError: If a file has changed since the export, or this is not a whole SavedModel.
    """
    fix = "copy the whole folder again, or export again"
    changed = find_changed_file(version / CHECKSUMS_NAME)
    if changed is not None:
        raise UserError(f"{changed} is not the file that was exported; {fix}.")
    try:
        with plain_path(version) as readable:
            return tf.saved_model.load(str(readable)).signatures
    # TensorFlow raises whatever its parsers stumble over.
    except Exception as error:
        raise UserError(f"{version} is not a whole SavedModel ({type(error).__name__}); "
                        f"{fix}.") from error


def write_size(version: Path, size: tuple[int, int] | None) -> None:
    """Writes the height and width that a version resizes images to, None if it keeps their aspect.

    `tfreid.load` cuts the boxes of a frame to this size.
    """
    height, width = size or (None, None)
    (version / EXTRA_FILES).mkdir(exist_ok=True)
    write_json(version / EXTRA_FILES / _SIZE_NAME, {"height": height, "width": width})


def exported_size(version: Path) -> tuple[int, int] | None:
    """Returns what `write_size` wrote.

    Raises:
        UserError: If nothing did, as in versions of before it.
    """
    path = version / EXTRA_FILES / _SIZE_NAME
    if not path.exists():
        raise UserError(f"{version} does not say to which size it resizes images; export the model "
                        "again to embed the boxes of a frame.")
    found = read_json(path, "export again")
    sides = [found.get(name) for name in ("height", "width")]
    return None if None in sides else tuple(sides)


def write_choice(version: Path, chosen_on: str | None) -> None:
    """Writes which images chose the weights of a version, `validation` or `test`; None: none."""
    if chosen_on is not None:
        write_json(version / EXTRA_FILES / _CHOICE_NAME, {"chosen_on": chosen_on})


def exported_choice(version: Path) -> str | None:
    """Returns what `write_choice` was told."""
    path = version / EXTRA_FILES / _CHOICE_NAME
    found = read_json(path, "export again") if path.exists() else {}
    return valid_choice(found.get("chosen_on"))


def served_weights(model: keras.Model) -> list[tf.Variable]:
    """Returns a model's weights as TensorFlow variables, for a `tf.Module` to track."""
    return [weight if isinstance(weight, tf.Variable) else getattr(weight, "value", weight)
            for weight in model.weights]


def verify_signatures(verify: Callable[[tf.Tensor, tf.Tensor], Any]) -> dict[str, Any]:
    """Returns the signatures that verify pairs of files, with present and older input names.

    `verify` takes two tensors [n] of JPEG or PNG files, n at most `batches.SLICE`, and returns the
    outputs. The signatures take any number of pairs.
    """
    # Both call one graph, so that the model is traced once.
    judged = tf.function(lambda first, second: in_slices(verify, first, second),
                         input_signature=2 * [tf.TensorSpec([None], tf.string)])
    return {
        signature: tf.function(lambda first, second: judged(first, second), input_signature=[
            tf.TensorSpec([None], tf.string, name=name) for name in names])
        for signature, names in VERIFY_INPUTS.items()
    }


def ask_verify(signatures: Any, first: list[bytes],
               second: list[bytes]) -> dict[str, dict[str, tf.Tensor]]:
    """Returns the outputs of each of a SavedModel's `verify_signatures`, by name."""
    return {signature: signatures[signature](
                **dict(zip(names, (tf.constant(first), tf.constant(second)))))
            for signature, names in VERIFY_INPUTS.items()}


def parity_images(records: Records, max_pixels: int) -> tuple[Split, np.ndarray]:
    """Returns the split and positions of the images that an export is checked with.

    Images that an export would decode to other pixels than training are passed over: older builders
    kept them, with their EXIF tag or transparent.

    Raises:
        UserError: If none is left, or none has at most `max_pixels`.
    """
    split = records["gallery" if "gallery" in records else records.splits[0]]
    heights, widths = split.index.sizes(np.arange(len(split)))
    served = np.flatnonzero(heights.astype(np.int64) * widths <= max_pixels)
    if not served.size:
        raise UserError(f"every image of {split.name} has more than export.max_pixels={max_pixels} "
                        "pixels; raise that.")
    alike = (place for place in served.tolist() if np.array_equal(
        decode_image(split.encoded[place]), decode_bounded(split.encoded[place], max_pixels)))
    positions = np.array(list(itertools.islice(alike, _PARITY_IMAGES)), int)
    if not positions.size:
        raise UserError(f"every image of {split.name} is turned by an EXIF tag or transparent, as "
                        "builders no longer store them; build the records again.")
    return split, positions


def parity_files(records: Records, max_pixels: int) -> list[bytes]:
    """Returns the image files that an export is checked with; see `parity_images`."""
    split, positions = parity_images(records, max_pixels)
    return [split.encoded[position] for position in positions]


def round_alike() -> None:
    """Disables TensorFloat-32 on GPUs, whose rounding depends on the batch size."""
    tf.config.experimental.enable_tensor_float_32_execution(False)


def check_alike(signature: str, found: np.ndarray, expected: np.ndarray, scale: float) -> None:
    """Compares the outputs of a signature with those of the trained model.

    Raises:
        UserError: If they differ by more than `TOLERANCE` of the scale.
    """
    difference = np.abs(found - expected).max() / scale
    if not difference <= TOLERANCE:
        raise UserError(f"signature {signature} differs from the trained model by {difference:.2g} "
                        f"of the largest value (at most {TOLERANCE} is accepted); nothing was "
                        "exported.")
