"""Asking for embeddings: of a SavedModel on disk, or of TF Serving over REST."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid.evaluation.threshold import Threshold, load_threshold
from tfreid.serving.export import EXPORTED_THRESHOLD


def embed_with_saved_model(directory: str | Path, images: Sequence[bytes]) -> np.ndarray:
    """Embeds image files with a SavedModel.

    Args:
        directory: A version's folder, or the folder of versions, whose highest is taken.
        images: JPEG or PNG files, of any sizes.

    Returns:
        float32 embeddings [n, d].

    Raises:
        UserError: There is no SavedModel, or an image cannot be decoded.
    """
    loaded = tf.saved_model.load(str(_version(directory)))
    try:
        result = loaded.signatures["serving_default"](image_bytes=tf.constant(list(images)))
    except tf.errors.InvalidArgumentError:
        raise UserError("an image cannot be decoded; give whole JPEG or PNG files.") from None
    return result["embedding"].numpy()


def exported_threshold(directory: str | Path) -> Threshold | None:
    """Returns the threshold in a SavedModel's folder, or None where it was exported without.

    Raises:
        UserError: There is no SavedModel, or its threshold is broken.
    """
    path = _version(directory) / EXPORTED_THRESHOLD
    return load_threshold(path) if path.exists() else None


def embed_with_server(url: str, images: Sequence[bytes], timeout: float = 30.0) -> np.ndarray:
    """Embeds image files with a running TF Serving.

    Args:
        url: Of the model, such as `http://localhost:8501/v1/models/reid`.
        images: JPEG or PNG files, of any sizes.
        timeout: Seconds to wait for the answer.

    Returns:
        float32 embeddings [n, d].

    Raises:
        UserError: No server answers there, or it answers with an error.
    """
    instances = [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images]
    body = json.dumps({"instances": instances}).encode()
    request = urllib.request.Request(
        f"{url.rstrip('/')}:predict", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return np.array(json.load(response)["predictions"], np.float32)
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace")[:300]
        raise UserError(f"{url}: the server refused the images ({reason}).") from None
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        raise UserError(
            f"{url}: something answered, but not TF Serving's REST port (usually 8501)."
        ) from None
    except OSError as error:
        raise UserError(f"{url}: no answer ({error}); check that TF Serving runs there.") from None


def _version(directory: str | Path) -> Path:
    """Returns the folder of a SavedModel: this one, or the highest version in it."""
    directory = Path(directory)
    versions = [path for path in directory.glob("[0-9]*") if path.name.isdigit()]
    if versions:
        directory = max(versions, key=lambda path: int(path.name))
    if not (directory / "saved_model.pb").exists():
        raise UserError(f"{directory}: no SavedModel there; make one with tools/export_model.py.")
    return directory
