"""Draws what an embedding looks at, by Grad-CAM, and what it ranks first."""

import sys

from tfreid.commands.visualize_embedding import main

if __name__ == "__main__":
    sys.exit(main())
