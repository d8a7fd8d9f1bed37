"""Trains a re-identification model: settings from a recipe, everything it makes in one folder."""

from tfrecords.errors import command

main = command("tfreid.commands.train")

if __name__ == "__main__":
    raise SystemExit(main())
