"""Draws what a CSN looks at in pairs of images, and how alike it finds them at every level."""

from tfreid.commands.visualize_csn import main

if __name__ == "__main__":
    raise SystemExit(main())
