"""Draws what a CSN looks at in pairs of images, and how alike it finds them at every level."""

from tfrecords.errors import command

main = command("tfreid.commands.visualize_csn")

if __name__ == "__main__":
    raise SystemExit(main())
