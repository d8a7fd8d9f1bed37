"""Finds the distance up to which two images count as one person, and keeps it for serving."""

from tfreid.commands.calibrate import main

if __name__ == "__main__":
    raise SystemExit(main())
