"""Clients of an export: a SavedModel on disk, or TF Serving over REST."""

from __future__ import annotations

import base64
import functools
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfrecords.storage import as_path
from tfreid.evaluation.thresholds import (
    Threshold,
    find_thresholds,
    load_thresholds,
    parse_thresholds,
)
from tfreid.serving.batches import UNEQUAL_ROWS
from tfreid.serving.formats.card import CARD_NAME, FIX, read_card
from tfreid.serving.formats.images import Image, stored_file
from tfreid.serving.formats.reader import is_device_export
from tfreid.serving.interface import VALID, Outputs, RefusedImages, embedding_of, sided
from tfreid.serving.saved_model import (
    EXTRA_FILES,
    VERIFY_INPUTS,
    VERIFY_PAIRS,
    exported_choice,
    exported_size,
    load_signatures,
)

_BAD_REQUEST = 400


class SignatureClient:
    """Calls signatures, concrete functions with named inputs, in this process.

    Args:
        signatures: Name -> function.
        owner: Object that keeps the functions' weights alive, if they do not do so themselves.
        size: Height and width that the model resizes images to, or None if it keeps their aspect.
    """

    def __init__(self, signatures: Mapping[str, Callable[..., Any]], owner: Any = None,
                 size: tuple[int, int] | None = None):
        self._signatures, self._owner, self._size = signatures, owner, size

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are resized to, or None if their aspect ratio is kept."""
        return self._size

    @property
    def compares(self) -> bool:
        """Whether the model compares features of pairs of images."""
        return "compare" in self._signatures

    @property
    def judges(self) -> bool:
        """Whether the model gives the probability that two files show the same identity."""
        verify = self._signatures.get("verify")
        return verify is not None and "probability" in verify.structured_outputs

    def extract(self, images: Sequence[bytes]) -> Outputs:
        """See `Client`."""
        return self._ask_about_files("serving_default", image_bytes=list(images))

    def extract_images(self, images: np.ndarray) -> Outputs:
        """Sends uint8 RGB images [n, h, w, 3] to the signature that takes arrays."""
        name = "images" if "images" in self._signatures else "extract_images"
        return self._ask(name, {"images": images})

    def compare(self, first: Outputs, second: Outputs) -> Outputs:
        """Compares features of n first and n second images, pair by pair."""
        return self._ask("compare", sided(first=first, second=second))

    def verify(self, first: Sequence[bytes], second: Sequence[bytes]) -> Outputs:
        """Verifies pairs of image files, also with older exports.

        Raises:
            UserError: If an image cannot be decoded.
        """
        signature = VERIFY_PAIRS if VERIFY_PAIRS in self._signatures else "verify"
        names = VERIFY_INPUTS[signature]
        return self._ask_about_files(signature, **dict(zip(names, (list(first), list(second)))))

    def compare_all(self, queries: Outputs, gallery: Outputs) -> Outputs:
        """See `Client`."""
        return self._ask("compare_all", sided(query=queries, gallery=gallery))

    def _ask_about_files(self, signature, **files):
        encoded = {name: tf.constant(values, tf.string) for name, values in files.items()}
        try:
            return _all_valid(self._ask(signature, encoded))
        except tf.errors.InvalidArgumentError:
            if not all(files.values()):
                raise UserError("this export takes no empty batch; give at least one "
                                "image.") from None
            raise _refused("an image") from None

    def _ask(self, signature, inputs):
        if signature not in self._signatures:
            raise UserError(f"the model has no signature {signature!r}, only "
                            f"{', '.join(sorted(self._signatures)) or 'none'}; give an export of "
                            "`tfreid export`.")
        constants = {name: tf.constant(values) for name, values in inputs.items()}
        try:
            found = self._signatures[signature](**constants)
        except tf.errors.InvalidArgumentError as error:
            if UNEQUAL_ROWS in error.message:
                raise UserError(f"{signature} takes as many first as second images; give "
                                "pairs.") from None
            raise
        return {name: x.numpy() for name, x in found.items()}


class SavedModelClient(SignatureClient):
    """Calls the signatures of a SavedModel, in a version's folder or the highest of several.

    Attributes:
        directory: The version's folder.

    Raises:
        UserError: If there is no SavedModel, or its files are damaged.
    """

    def __init__(self, directory: str | Path):
        self.directory = find_version(directory)
        super().__init__(load_signatures(self.directory))

    @functools.cached_property
    def size(self) -> tuple[int, int] | None:
        """See `SignatureClient`.

        Raises:
            UserError: If the export does not say, as those of before it did.
        """
        return exported_size(self.directory)

    def embed(self, images: Sequence[Image]) -> np.ndarray:
        """Embeds images: paths, bytes of image files, or uint8 RGB arrays [h, w, 3].

        Returns:
            float32 array [n, d].

        Raises:
            ValueError: If an array is not uint8 RGB.
            UserError: If a file cannot be read, or the model compares images and has no embedding
                of one (`system: csn`).
        """
        return embedding_of(self.extract([stored_file(image) for image in images]))


class ServerClient:
    """Calls a model in TF Serving; see `Client`.

    Args:
        url: URL of the model, for example `http://localhost:8501/v1/models/reid`.
        timeout: Seconds to wait for an answer.

    Raises:
        UserError: If the URL does not begin with `http://` or `https://`.
    """

    def __init__(self, url: str, timeout: float = 30.0):
        if not re.match(r"https?://[^/]", url):
            raise UserError(f"{url} is not a URL of TF Serving; give one such as "
                            "http://localhost:8501/v1/models/reid.")
        self._url = url
        self._timeout = timeout

    def extract(self, images: Sequence[bytes]) -> Outputs:
        """See `Client`."""
        if not images:
            raise UserError("there is no image to send; give at least one.")
        rows = [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images]
        return _all_valid(self._ask({"instances": rows}, "predictions", _from_rows))

    def compare_all(self, queries: Outputs, gallery: Outputs) -> Outputs:
        """See `Client`."""
        sides = sided(query=queries, gallery=gallery)
        inputs = {name: values.tolist() for name, values in sides.items()}
        return self._ask({"signature_name": "compare_all", "inputs": inputs}, "outputs", _as_arrays)

    def _ask(self, body, key, convert):
        request = urllib.request.Request(
            f"{self._url.rstrip('/')}:predict", json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return convert(json.load(response)[key])
        except urllib.error.HTTPError as error:
            reason = error.read().decode(errors="replace")[:300]
            refusal = RefusedImages if error.code == _BAD_REQUEST else UserError
            raise refusal(f"{self._url}: the server refused the request ({reason}).") from None
        except (http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError,
                RecursionError):
            raise UserError(f"{self._url}: something answered, but not TF Serving's REST port "
                            "(usually 8501).") from None
        except OSError as error:
            raise UserError(f"{self._url}: no answer ({error}); check that TF Serving runs "
                            "there.") from None


def exported_thresholds(directory: str | Path) -> dict[str, Threshold]:
    """Returns metric -> threshold of an export, empty if it was exported without.

    Raises:
        UserError: If there is no export, or its thresholds are broken.
    """
    if is_device_export(directory):
        found = read_card(directory).thresholds
        return parse_thresholds(found, as_path(directory) / CARD_NAME, FIX) if found else {}
    path = find_thresholds(find_version(directory) / EXTRA_FILES)
    return load_thresholds(path) if path else {}


def exported_chosen_on(directory: str | Path) -> str | None:
    """Returns which images chose the weights of an export, `validation` or `test`, or None.

    Raises:
        UserError: If there is no export, or it is broken.
    """
    if is_device_export(directory):
        return read_card(directory).weights_chosen_on
    return exported_choice(find_version(directory))


def _all_valid(outputs: Outputs) -> Outputs:
    """Returns outputs without `valid`, if all rows are; exports of before it fail instead."""
    valid = np.asarray(outputs.pop(VALID, True), bool)
    if not valid.all():
        places = np.flatnonzero(~valid)
        raise _refused(f"image {places[0] + 1} of {valid.size}" + (
            f" (and {len(places) - 1} more)" if len(places) > 1 else ""))
    return outputs


def _refused(what: str) -> RefusedImages:
    return RefusedImages(f"{what} cannot be decoded or has more pixels than export.max_pixels; "
                         "give whole JPEG or PNG files.")


def _from_rows(rows: list) -> Outputs:
    """Converts rows of outputs, or of values of the single output."""
    if not isinstance(rows[0], dict):
        rows = [{"embedding": row} for row in rows]
    return _as_arrays({name: [row[name] for row in rows] for name in rows[0]})


def _as_arrays(outputs: dict) -> Outputs:
    return {name: np.array(values, np.float32) for name, values in outputs.items()}


def holds_export(directory: str | Path) -> bool:
    """Returns whether a folder is an export, or contains versions of a SavedModel."""
    return is_device_export(directory) or any((folder / "saved_model.pb").exists()
               for folder in (as_path(directory), *as_path(directory).glob("[0-9]*")))


def find_version(directory: str | Path) -> Path:
    """Returns a folder's highest version of a SavedModel, or the folder itself.

    Raises:
        UserError: If there is none.
    """
    directory = as_path(directory)
    versions = [path for path in directory.glob("[0-9]*") if path.name.isdigit()]
    if versions:
        directory = max(versions, key=lambda path: int(path.name))
    if not (directory / "saved_model.pb").exists():
        others = sorted(path.parent.name for path in directory.glob(f"*/{CARD_NAME}"))
        raise UserError(f"{directory}: no SavedModel there; " + (
            f"name one of its folders {', '.join(others)}." if others else
            "make one with `tfreid export`."))
    return directory
