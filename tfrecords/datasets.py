"""The datasets that can be built.

To add one, write a file that ends in `DATASET = Dataset(...)` and name its module in `DATASETS`.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from tfrecords.scan import Scan

DATASETS = {
    "market1501": "tfrecords.market1501",
    "market1501_500k": "tfrecords.market1501_500k",
    "dukemtmc": "tfrecords.dukemtmc",
    "msmt17": "tfrecords.msmt17",
    "cuhk03": "tfrecords.cuhk03",
    "cuhk01": "tfrecords.cuhk01",
    "viper": "tfrecords.viper",
    "mars": "tfrecords.mars",
    "person_search": "tfrecords.person_search",
    "last": "tfrecords.last",
    "csv": "tfrecords.csv_table",
    "folder": "tfrecords.folder",
    "synthetic": "tfrecords.rendered",
}
_OF_RENDERERS = ("workers", "progress")


@dataclass(frozen=True)
class Dataset:
    """A dataset's builder.

    Attributes:
        scan: Function `scan(root, **options)` that lists the images. Its keyword arguments are the
            options, and their defaults are those of the command line.
        summary: One line for `--help`.
        layout: The folders that the builder expects and the protocol, for `--help`.
        add_options: Adds a flag for each option to a parser.
        renders: Whether `scan` makes the images itself; it then takes `workers` and `progress` too.
    """

    scan: Callable[..., Scan]
    summary: str
    layout: str | None = None
    add_options: Callable[[argparse.ArgumentParser], None] | None = None
    renders: bool = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the dataset's own flags to a parser, with the defaults of `scan`."""
        if self.add_options is not None:
            self.add_options(parser)
        options = inspect.signature(self.scan).parameters.values()
        parser.set_defaults(**{
            option.name: option.default for option in options
            if option.kind is option.KEYWORD_ONLY and option.name not in _OF_RENDERERS})


def load_dataset(name: str) -> Dataset:
    """Imports the builder of one of `DATASETS`."""
    return importlib.import_module(DATASETS[name]).DATASET
