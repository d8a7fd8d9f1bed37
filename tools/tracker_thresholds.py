"""Prints the appearance threshold to give each tracker."""

from tfrecords.errors import command

main = command("tfreid.commands.tracker_thresholds")

if __name__ == "__main__":
    raise SystemExit(main())
