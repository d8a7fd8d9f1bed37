"""Asks an exported model about image files: how far apart they are, and who is the same person."""

from tfrecords.errors import command

main = command("tfreid.commands.query")

if __name__ == "__main__":
    raise SystemExit(main())
