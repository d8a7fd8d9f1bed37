"""What is taken from TensorFlow Addons, where it is installed and where it is not."""

from __future__ import annotations

import importlib
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.errors import UserError
from tfreid import addons

requires_addons = pytest.mark.skipif(not addons.available(),
                                     reason="TensorFlow Addons is not installed")

# The NTSC matrix that turns RGB into YIQ, rounded as usual.
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


def some_images():
    return np.random.default_rng(0).uniform(80, 160, (2, 5, 4, 3)).astype(np.float32)


def expected(images, hue, saturation, value):
    cosine, sine = np.cos(hue), np.sin(hue)
    change = np.array([[1, 0, 0], [0, saturation * cosine, -saturation * sine],
                       [0, saturation * sine, saturation * cosine]])
    matrix = value * np.linalg.inv(TO_YIQ) @ change @ TO_YIQ
    return np.clip(np.float64(images) @ matrix.T, 0, 255)


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
        addons.require("data.color_space=yiq")
    message = str(caught.value)
    for part in ("data.color_space=yiq needs TensorFlow Addons", "Python 3.9-3.11",
                 "TensorFlow 2.15 only", "requirements.txt"):
        assert part in message
    assert "\n" not in message
    with pytest.raises(UserError, match="TensorFlow Addons"):
        addons.adjust_hsv_in_yiq(some_images())


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


@requires_addons
@pytest.mark.parametrize("change", [(0.0, 1.0, 1.0), (0.3, 1.0, 1.0), (0.0, 1.4, 0.8),
                                    (-0.5, 0.7, 1.2), (2.0, 3.0, 1.5)])
def test_colours_match_numpy(change):
    adjusted = addons.adjust_hsv_in_yiq(some_images(), *change)
    assert adjusted.dtype == tf.float32
    np.testing.assert_allclose(adjusted, expected(some_images(), *change), atol=0.5)


@requires_addons
def test_grey_stays_grey_and_black_stays_black():
    grey = np.full((1, 2, 2, 3), 100, np.float32)
    np.testing.assert_allclose(addons.adjust_hsv_in_yiq(grey, 1.0, 2.0), grey, atol=0.2)
    np.testing.assert_allclose(addons.adjust_hsv_in_yiq(grey, 0.0, 0.0, 1.1), 1.1 * grey, atol=0.2)
    np.testing.assert_array_equal(addons.adjust_hsv_in_yiq(0 * grey, 1.0, 2.0, 3.0), 0 * grey)


@requires_addons
def test_result_is_clipped():
    adjusted = addons.adjust_hsv_in_yiq(some_images(), 0.5, 5.0, 2.0).numpy()
    assert adjusted.max() == 255 and adjusted.min() == 0


@requires_addons
def test_bytes_keep_their_range():
    images = some_images().astype(np.uint8)
    np.testing.assert_allclose(addons.adjust_hsv_in_yiq(images, 0.3),
                               expected(images, 0.3, 1, 1), atol=0.5)


@requires_addons
@pytest.mark.parametrize("batched", [False, True])
def test_runs_inside_a_pipeline(batched):
    images = some_images() if batched else some_images()[0]
    dataset = tf.data.Dataset.from_tensors(images).map(
        lambda x: addons.adjust_hsv_in_yiq(x, tf.constant(0.3), tf.constant(1.2)))
    np.testing.assert_allclose(next(iter(dataset)), expected(images, 0.3, 1.2, 1), atol=0.5)
