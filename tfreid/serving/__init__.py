"""Exports of a trained model: the SavedModel that TF Serving loads, and device formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfreid.serving.client import SavedModelClient
    from tfreid.serving.formats.reader import DeviceModel


def load_export(path: str | Path, threads: int | None = None) -> DeviceModel | SavedModelClient:
    """Opens what `tfreid export` wrote, in any format; device formats need no TensorFlow.

    Args:
        path: Folder of a device format, or of a SavedModel or its versions.
        threads: Threads of a device format's runtime. Defaults to those of the machine.

    Returns:
        A model whose `embed(images)` takes paths, bytes of image files or uint8 RGB arrays
        [h, w, 3], and returns float32 embeddings [n, d]. Its `extract`, `compare` and `compare_all`
        serve systems that compare pairs.

    Raises:
        UserError: If there is no whole export, or its runtime is not installed.

    Example:
        >>> model = load_export("runs/first/export")
        >>> model.embed(["images/a.jpg", "images/b.jpg"]).shape[0]
        2
    """
    from tfreid.serving.formats.reader import DeviceModel, is_device_export

    if is_device_export(path):
        return DeviceModel(path, threads)

    from tfreid.serving.client import SavedModelClient

    return SavedModelClient(path)
