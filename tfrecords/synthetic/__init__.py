"""Synthetic pedestrians in Market-1501's folder layout, drawn with OpenCV and NumPy alone."""

from tfrecords.synthetic.crop import DISTRACTOR, JUNK, render_crop
from tfrecords.synthetic.dataset import SyntheticOptions, render_dataset
from tfrecords.synthetic.sheet import contact_sheet

__all__ = [
    "DISTRACTOR",
    "JUNK",
    "SyntheticOptions",
    "contact_sheet",
    "render_crop",
    "render_dataset",
]
