"""Draws what a recipe makes of training images: crops, flips, noise, and how the cut-out grows."""

from tfrecords.errors import command

main = command("tfreid.commands.visualize_augmentation")

if __name__ == "__main__":
    raise SystemExit(main())
