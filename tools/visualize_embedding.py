"""Draws what an embedding looks at, by Grad-CAM, and what it ranks first."""

from tfreid.commands.visualize_embedding import main

if __name__ == "__main__":
    raise SystemExit(main())
