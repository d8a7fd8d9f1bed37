"""Finds the distance up to which two images count as one person, and keeps it for serving."""

from tfrecords.errors import command

main = command("tfreid.commands.calibrate")

if __name__ == "__main__":
    raise SystemExit(main())
