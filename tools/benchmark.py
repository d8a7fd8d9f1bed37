"""Measures speed and memory on this machine and prints one JSON object."""

from tfreid.commands.benchmark import main

if __name__ == "__main__":
    raise SystemExit(main())
