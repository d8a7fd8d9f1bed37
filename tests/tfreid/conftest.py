"""What tests of evaluations share: indices made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tfreid.records import SplitIndex


@pytest.fixture(scope="session")
def make_index():
    """Returns a function that makes an index of images `0.jpg`, `1.jpg` ... of some people."""

    def make(ids, cameras, tracklets=None):
        count = len(ids)
        return SplitIndex(
            np.array(ids), np.full(count, -1), np.array(cameras),
            np.array([f"{place}.jpg" for place in range(count)]),
            np.full(count, -1) if tracklets is None else np.array(tracklets),
            np.full(count, 32), np.full(count, 16),
        )

    return make
