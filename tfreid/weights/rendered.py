"""Weights in this package, trained on rendered people alone; docs/model_card.md says how."""

from __future__ import annotations

from pathlib import Path

from tfrecords.errors import UserError
from tfreid.weights.files import read_arrays, save_arrays

NAME = "rendered"
_FOLDER = Path(__file__).parent / "shipped"
_ENDING = ".weights.h5"


def rendered_backbones() -> list[str]:
    """Returns the backbones that have such weights."""
    return sorted(path.name.removesuffix(_ENDING) for path in _FOLDER.glob("*" + _ENDING))


def find_weights(weights: str | Path, backbone: str) -> str | Path:
    """Returns the file of the weights `rendered` of a backbone, and any other weights as they are.

    Raises:
        UserError: If the backbone has none.
    """
    if str(weights) != NAME:
        return weights
    if backbone not in rendered_backbones():
        raise UserError(f"the weights `{NAME}` exist for {', '.join(rendered_backbones())} only, "
                        f"not for {backbone}; set model.backbone to it, or give a .weights.h5 "
                        "file.")
    return str(_FOLDER / (backbone + _ENDING))


def ship_weights(trained: str | Path, backbone: str) -> Path:
    """Puts a run's weights into the package, without the classifier of its identities.

    Args:
        trained: Its `.weights.h5` file.
        backbone: Of which they are.

    Returns:
        The file.
    """
    kept = {key: array for key, array in read_arrays(str(trained)).items()
            if not key.startswith("classifier/")}
    path = _FOLDER / (backbone + _ENDING)
    save_arrays(kept, str(path), backbone)
    return path
