"""Draws what a recipe makes of training images: crops, flips, noise, and how the cut-out grows."""

from tfreid.commands.visualize_augmentation import main

if __name__ == "__main__":
    raise SystemExit(main())
