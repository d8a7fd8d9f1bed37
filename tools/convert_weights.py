"""Converts a checkpoint of a PyTorch toolbox to .weights.h5, without PyTorch."""

from tfreid.commands.convert import main

if __name__ == "__main__":
    raise SystemExit(main())
