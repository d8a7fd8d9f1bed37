"""Prints a model's size and cost as one JSON object."""

from tfrecords.errors import command

main = command("tfreid.commands.info")

if __name__ == "__main__":
    raise SystemExit(main())
