"""Finds a person in a gallery of images: adds, searches, numbers people, serves a page, removes."""

from tfrecords.errors import command

main = command("tfreid.commands.gallery")

if __name__ == "__main__":
    raise SystemExit(main())
