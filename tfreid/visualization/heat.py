"""Heat maps over images."""

from __future__ import annotations

import cv2
import matplotlib
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.offsetbox import OffsetBox

from tfreid.visualization.page import column, scale, text

# Perceptually uniform: lightness grows with the value, also in print and for the colour-blind.
HEAT_COLORS = "inferno"

# Caption of an image whose class activation map is zero everywhere.
NO_EVIDENCE = "no evidence in this image"
# Weight of the heat in the mixture with the grey image.
_HEAT_SHARE = 0.62


def lay_over(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lays a heat map over an image in grey.

    Args:
        image: uint8 RGB [h, w, 3].
        heat: [h, w], from 0 (dark) to 1 (bright).

    Returns:
        uint8 RGB [h, w, 3].
    """
    colors = matplotlib.colormaps[HEAT_COLORS](heat)[..., :3]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    return np.rint(255.0 * _HEAT_SHARE * colors + (1.0 - _HEAT_SHARE) * grey).astype(np.uint8)


def overlay_cam(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Lays a class activation map over an image, brightest at its maximum.

    Every cell of the map covers the same share of the image.

    Args:
        image: uint8 RGB [height, width, 3].
        cam: [h, w], 0 or above, of any scale.

    Returns:
        uint8 RGB [height, width, 3]; the image itself if the map is zero everywhere.
    """
    peak = float(np.max(cam))
    if peak <= 0.0:
        return image
    height, width = image.shape[:2]
    heat = cv2.resize(np.asarray(cam / peak, np.float32), (width, height))
    return lay_over(image, heat)


def cam_scale(length: int) -> OffsetBox:
    """Returns the scale of class activation maps, each of which has its own maximum."""
    return column(scale(Normalize(0.0, 1.0), HEAT_COLORS, length),
                  text("share of\nthe map's\nown maximum", 7.5))
