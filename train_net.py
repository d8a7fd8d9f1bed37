"""Trains a re-identification model: settings from a recipe, everything it makes in one folder."""

from tfreid.commands.train import main

if __name__ == "__main__":
    raise SystemExit(main())
