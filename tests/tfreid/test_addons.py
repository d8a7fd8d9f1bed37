"""What is taken from TensorFlow Addons, where it is installed and where it is not."""

from __future__ import annotations

import importlib
import sys
import warnings

import pytest

from tfrecords.errors import UserError
from tfreid import addons

requires_addons = pytest.mark.skipif(not addons.available(),
                                     reason="TensorFlow Addons is not installed")


@pytest.fixture
def replaced_addons(tmp_path, monkeypatch):
    """Puts a package of the given source in the place of Addons."""

    def replace(source):
        (tmp_path / "tensorflow_addons").mkdir()
        (tmp_path / "tensorflow_addons" / "__init__.py").write_text(source)
        loaded = [n for n in sys.modules if n.split(".")[0] == "tensorflow_addons"]
        for name in loaded:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.invalidate_caches()

    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "tensorflow_addons"}
    yield replace
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorflow_addons"]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.parametrize("source", [
    "raise ModuleNotFoundError('No module named keras.src.engine')",
    "import tensorflow as tf; tf.no_such_attribute",
])
def test_absent_or_unusable_addons(replaced_addons, source):
    replaced_addons(source)
    assert not addons.available()
    with pytest.raises(UserError) as caught:
        addons.require("loss.miner=addons")
    message = str(caught.value)
    for part in ("loss.miner=addons needs TensorFlow Addons", "Python 3.9-3.11",
                 "TensorFlow 2.15 only", "requirements.txt"):
        assert part in message
    assert "\n" not in message


def test_only_the_end_of_life_notice_is_silenced(replaced_addons):
    notice = "\\n\\nTensorFlow Addons (TFA) has ended development and introduction of new features."
    replaced_addons(f"import warnings\nwarnings.warn('{notice}', UserWarning)\n"
                    "warnings.warn('TensorFlow Addons (TFA) wants attention', UserWarning)\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert addons.available()
    messages = [str(warning.message) for warning in caught]
    assert messages == ["TensorFlow Addons (TFA) wants attention"]


@requires_addons
def test_the_installed_notice_is_the_one_silenced():
    notice = importlib.import_module("tensorflow_addons.utils.tfa_eol_msg")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=addons._END_OF_LIFE, category=UserWarning)
        notice._print_eol_warning()
    assert caught == []


@requires_addons
def test_require_returns_the_module():
    assert hasattr(addons.require("the test").losses, "TripletHardLoss")
