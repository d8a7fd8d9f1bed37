"""Prints a model's size and cost as one JSON object."""

import sys

from tfreid.commands.info import main

if __name__ == "__main__":
    sys.exit(main())
