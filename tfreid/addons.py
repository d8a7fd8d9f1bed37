"""All that comes from TensorFlow Addons, and the one clear error where it is not installed."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from tfrecords.errors import UserError

# The start of the notice that Addons gives, as a UserWarning, whenever it is imported.
_END_OF_LIFE = r"\s*TensorFlow Addons \(TFA\) has ended development"


def available() -> bool:
    """Tells whether TensorFlow Addons is installed and can be imported here."""
    return _module() is not None


def require(feature: str) -> ModuleType:
    """Returns the `tensorflow_addons` module, for a feature that cannot do without it.

    Args:
        feature: what the user asked for, as the setting that named it.

    Raises:
        UserError: Addons is not installed, or does not work with this TensorFlow.
    """
    module = _module()
    if module is None:
        raise UserError(
            f"{feature} needs TensorFlow Addons, which exists for Python 3.9-3.11 with TensorFlow "
            f"2.15 only; choose another setting for {feature} or install requirements.txt on such "
            "a Python.")
    return module


def _module() -> ModuleType | None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_END_OF_LIFE, category=UserWarning)
        try:
            return importlib.import_module("tensorflow_addons")
        except (ImportError, AttributeError):
            # AttributeError: a copy of Addons beside a TensorFlow that it does not know.
            return None
