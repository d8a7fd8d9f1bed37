"""Converts a checkpoint of a PyTorch toolbox to .weights.h5, without PyTorch."""

from tfrecords.errors import command

main = command("tfreid.commands.convert")

if __name__ == "__main__":
    raise SystemExit(main())
