"""What TF Serving reads beside a SavedModel: requests that warm it up, and its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecords.storage import AnyPath
from tfrecords.writing import write_whole

WARM_UP_NAME = "tf_serving_warmup_requests"
BATCHING_NAME, MODELS_NAME = "batching.config", "models.config"
# Fields of TF Serving's messages, by their numbers in its files predict.proto, model.proto and
# prediction_log.proto; the package with the classes would be needed for nothing else.
_PREDICT_LOG, _REQUEST = 6, 1
_MODEL_SPEC, _SIGNATURE_NAME, _INPUTS, _KEY, _VALUE = 1, 3, 2, 1, 2
_BATCHING = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file=FILE: joins the requests
# of many clients. A batch goes through the network in slices of 64 rows, so larger ones gain
# nothing. Requests to `images` are joined only if their images have one size.
max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
# As many as the server has processors.
num_batch_threads { value: 4 }
"""
_MODELS = """\
# For tensorflow_model_server --model_config_file=FILE, at the first start together with
# --allow_version_labels_for_unavailable_models: serves two versions, and names them, so that
# clients ask for `stable` while `canary` is tried.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ specific {{ {versions} }} }}
    version_labels {{ key: "stable" value: {stable} }}
    version_labels {{ key: "canary" value: {canary} }}
  }}
}}
"""


def write_warm_up(folder: Path, requests: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Writes requests that TF Serving runs before a version answers anybody.

    Args:
        folder: The version's folder `assets.extra`.
        requests: Signatures, with their inputs by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / WARM_UP_NAME)) as writer:
        for signature, inputs in requests:
            writer.write(_prediction_log(signature, inputs))


def write_server_settings(output: AnyPath, version: AnyPath, batches: bool) -> None:
    """Writes examples of TF Serving's settings beside the versions; those that are there stay.

    Args:
        output: The folder of versions.
        version: The newest one.
        batches: Whether requests can be joined, which comparisons of all with all cannot.
    """
    newest = int(version.name)
    before = max(newest - 1, 1)
    versions = " ".join(f"versions: {number}" for number in sorted({before, newest}))
    texts = {MODELS_NAME: _MODELS.format(name=output.absolute().name, versions=versions,
                                         stable=before, canary=newest)}
    if batches:
        texts[BATCHING_NAME] = _BATCHING
    for name, text in texts.items():
        if not (output / name).exists():
            write_whole(output / name, text.encode())


def _prediction_log(signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Serialises a `PredictionLog` of one `PredictRequest`."""
    entries = b"".join(
        _field(_INPUTS, _field(_KEY, name.encode())
               + _field(_VALUE, tf.make_tensor_proto(values).SerializeToString()))
        for name, values in inputs.items())
    spec = _field(_MODEL_SPEC, _field(_SIGNATURE_NAME, signature.encode()))
    return _field(_PREDICT_LOG, _field(_REQUEST, spec + entries))


def _field(number: int, content: bytes) -> bytes:
    """Serialises a field of bytes, text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
