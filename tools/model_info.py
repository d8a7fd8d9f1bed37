"""Prints a model's size and cost as one JSON object."""

from tfreid.commands.info import main

if __name__ == "__main__":
    raise SystemExit(main())
