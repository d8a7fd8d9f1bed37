"""Asks an exported model about image files: how far apart they are, and who is the same person."""

from tfreid.commands.query import main

if __name__ == "__main__":
    raise SystemExit(main())
