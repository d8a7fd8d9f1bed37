"""Which images chose weights among those of several evaluations, to be said beside every figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfrecords.storage import as_path
from tfreid.config import load_config
from tfreid.weights.files import read_chosen_on

VALIDATION, TEST = "validation", "test"
BEST_NAME = "best.weights.h5"
CHOSEN = {VALIDATION: "chosen on validation images", TEST: "CHOSEN ON TEST IMAGES"}


def find_chosen_on(weights: str | Path) -> str | None:
    """Returns the images that chose the weights, `validation` or `test`; None if none did.

    Raises:
        UserError: If the file exists and is not a weight file.
    """
    path = as_path(weights)
    known = read_chosen_on(path) if path.is_file() else None
    return valid_choice(known) or assume_chosen_on(path)


def valid_choice(value: Any) -> str | None:
    """Returns what a file says of the choice of weights, None for anything unknown."""
    return value if value in (VALIDATION, TEST) else None


def assume_chosen_on(weights: str | Path) -> str | None:
    """Returns what chose weights from before the files said so: of the best ones the test images.

    Only Siamese networks held images out then.
    """
    path = as_path(weights)
    if path.name != BEST_NAME:
        return None
    config = path.parent.parent / "config.yaml"
    return VALIDATION if config.is_file() and load_config(config).data.subset.validation else TEST


def describe_weights(weights: str | Path, chosen_on: str | None) -> str:
    """Describes weights in a table of their figures."""
    return ", ".join(filter(None, [Path(weights).name, CHOSEN.get(chosen_on)]))


def warning(chosen_on: str | None) -> str:
    """Returns a sentence for a picture if the weights were chosen on test images, or ""."""
    return f"The weights were {CHOSEN[TEST]}." if chosen_on == TEST else ""


def marked(name: str, chosen_on: str | None) -> str:
    """Returns a name for a plot, marked if the weights were chosen on test images."""
    return f"{name}, {CHOSEN[TEST]}" if chosen_on == TEST else name
