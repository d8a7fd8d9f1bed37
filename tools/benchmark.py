"""Measures speed and memory on this machine and prints one JSON object."""

from tfrecords.errors import command

main = command("tfreid.commands.benchmark")

if __name__ == "__main__":
    raise SystemExit(main())
