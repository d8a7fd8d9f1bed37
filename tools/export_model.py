"""Exports a trained run as a SavedModel for TF Serving, after checking that it works alike."""

from tfrecords.errors import command

main = command("tfreid.commands.export")

if __name__ == "__main__":
    raise SystemExit(main())
