"""Synthetic pedestrians in Market-1501's folder layout, drawn with OpenCV and NumPy."""

from tfrecords.synthetic.crop import DISTRACTOR, JUNK, STYLES, render_crop
from tfrecords.synthetic.dataset import SyntheticOptions, render_dataset

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "STYLES",
    "SyntheticOptions",
    "render_crop",
    "render_dataset",
]
