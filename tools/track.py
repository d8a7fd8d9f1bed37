"""Numbers the people in a film: boxes of a detector in, tracks out."""

from tfrecords.errors import command

main = command("tfreid.commands.track")

if __name__ == "__main__":
    raise SystemExit(main())
