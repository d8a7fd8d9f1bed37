"""Heat maps over images."""

from __future__ import annotations

import cv2
import matplotlib
import numpy as np
from matplotlib.colors import Normalize

from tfreid.visualization.images import fit_image
from tfreid.visualization.page import Page

# Perceptually uniform: its lightness grows with the value, also in print and for the colour-blind.
HEAT_COLORS = "inferno"

# Share of the heat in what is seen, the rest being the image in grey.
_HEAT_SHARE = 0.62
# Stands under an image whose class activation map is zero everywhere.
NO_EVIDENCE = "no evidence in this image"
# Pixels of an inch of a page: images are enlarged to them before heat is laid over.
_DENSITY = 160


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
    """Lays a class activation map over an image, bright where it is highest.

    Every cell of the map has the same share of the image.

    Args:
        image: uint8 RGB [height, width, 3].
        cam: [h, w], 0 or above, of any scale.

    Returns:
        uint8 RGB [height, width, 3]; the image itself where the map is zero everywhere.
    """
    peak = float(np.max(cam))
    if peak <= 0.0:
        return image
    height, width = image.shape[:2]
    heat = cv2.resize(np.asarray(cam / peak, np.float32), (width, height))
    return lay_over(image, heat)


def fit_inches(image: np.ndarray, height: float, width: float) -> np.ndarray:
    """Fits an image into a space given in inches, fine enough for a smooth heat map over it."""
    return fit_image(image, round(_DENSITY * height), round(_DENSITY * width))


def inches(fitted: np.ndarray) -> tuple[float, float]:
    """Returns height and width that an image of `fit_inches` has on the page."""
    return fitted.shape[0] / _DENSITY, fitted.shape[1] / _DENSITY


def add_cam_scale(page: Page, left: float, top: float, height: float) -> None:
    """Shows the scale of class activation maps, each of which has its own maximum."""
    page.scale(Normalize(0.0, 1.0), HEAT_COLORS, "share of the map's own maximum", left, top, 0.12,
               height)
